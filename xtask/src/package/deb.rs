//! The Debian package, made by `dpkg-deb`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Release, output_of, source_time, tree};
use crate::TaskResult;

/// The description: a short one, and a long one that is indented.
const DESCRIPTION: &str = "Personium unit server
 A server for personal data stores: cells with accounts, roles and boxes, which hold files (WebDAV) and data (OData),
 reached over HTTP. It keeps its data in a folder, or in PostgreSQL and an object store.";

/// Makes the package of the files in `tree`. Returns its file name.
///
/// # Errors
/// A message if a file cannot be written or a program fails.
pub(super) fn make(tree: &Path, release: &Release) -> TaskResult<String> {
    let (version, architecture) = (&release.version, &release.architecture);
    let control = tree.join("DEBIAN");
    for name in tree::SCRIPTS {
        tree::write(&control.join(name), &tree::script(name, release)?, 0o755)?;
    }
    let settings = "/etc/personium/personium-unit-config.properties\n/etc/logrotate.d/personium\n";
    tree::write(&control.join("conffiles"), settings, 0o644)?;
    let size = output_of(
        Command::new("du")
            .args(["-sk", "--exclude=DEBIAN"])
            .arg(tree),
    )?;
    let kilobytes = size.split_whitespace().next().unwrap_or("0");
    let program = fs::read(&release.program)
        .map_err(|error| format!("cannot read {}: {error}", release.program.display()))?;
    let libc = newest_libc(&program).unwrap_or_else(|| "2.17".to_owned());
    let text = format!(
        "Package: personium\nVersion: {version}\nArchitecture: {architecture}\nSection: web\nPriority: optional\n\
         Maintainer: Personium contributors <nobody@localhost>\nInstalled-Size: {kilobytes}\n\
         Depends: libc6 (>= {libc}), libgcc-s1, systemd\nRecommends: ca-certificates, nginx\n\
         Suggests: postgresql, memcached, logrotate\nDescription: {DESCRIPTION}\n"
    );
    tree::write(&control.join("control"), &text, 0o644)?;
    let name = file_name(version, architecture);
    output_of(
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", source_time())
            .args(["--root-owner-group", "-Zgzip", "--build"])
            .arg(tree)
            .arg(release.output.join(&name)),
    )?;
    Ok(name)
}

/// The file name of the package.
pub(super) fn file_name(version: &str, architecture: &str) -> String {
    format!("personium_{version}_{architecture}.deb")
}

/// The newest version of the C library whose symbols a program uses.
fn newest_libc(program: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let minor_at = |at: usize| {
        let digits = program.get(at + MARK.len()..)?;
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
    };
    let starts = program.windows(MARK.len()).enumerate();
    let newest: u32 = starts
        .filter(|(_, window)| *window == MARK)
        .filter_map(|(at, _)| minor_at(at))
        .max()?;
    Some(format!("2.{newest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_of_the_c_library_is_found() {
        let program = b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(newest_libc(program).as_deref(), Some("2.34"));
        assert_eq!(newest_libc(b"nothing"), None);
    }
}
