//! The C library that the tarball brings with it, because other systems have another version or another kind.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{output_of, tree};
use crate::TaskResult;

/// The folder of the libraries.
const FOLDER: &str = "/usr/lib/personium";

/// The Debian packages that the libraries are of, with the files that the program may need. The loader is one of the first.
const PACKAGES: [(&str, &[&str]); 2] = [
    ("libc6", &["libc.so.6", "libm.so.6"]),
    ("libgcc-s1", &["libgcc_s.so.1"]),
];

/// The begin of the name of the loader.
const LOADER: &str = "ld-linux";

/// Copies the libraries that a program in the tree needs into it, and lets the program use them.
///
/// # Errors
/// A message if it needs another library, or a file cannot be read or written.
pub(super) fn bring(root: &Path, program: &Path) -> TaskResult {
    let listed = output_of(Command::new("ldd").arg(program))?;
    let libraries = needed(&listed)?;
    let mut loader = None;
    for library in &libraries {
        let name = library.file_name().unwrap_or_default();
        let to = root.join(FOLDER.trim_start_matches('/')).join(name);
        let is_loader = name.to_string_lossy().starts_with(LOADER);
        tree::install(library, &to, if is_loader { 0o755 } else { 0o644 })?;
        if is_loader {
            loader = Some(Path::new(FOLDER).join(name));
        }
    }
    let loader = loader.ok_or("the program has no loader: ldd does not list one")?;
    output_of(
        Command::new("patchelf")
            .arg("--set-interpreter")
            .arg(loader)
            .args(["--set-rpath", FOLDER])
            .arg(program),
    )?;
    let docs = root.join("usr/share/doc/personium");
    let mut text = format!(
        "The files in {FOLDER} are those of these packages of Debian, unchanged. Their source is that of Debian.\n\n"
    );
    for (package, _) in PACKAGES {
        let format = "${Package} ${Version}, source ${source:Package} ${source:Version}";
        let version = output_of(Command::new("dpkg-query").args(["-W", "-f", format, package]))?;
        text.push_str(&version);
        text.push('\n');
        let licence = format!("/usr/share/doc/{package}/copyright");
        let to = docs.join(format!("{package}.copyright"));
        tree::install(Path::new(&licence), &to, 0o644)?;
    }
    tree::write(&docs.join("LIBRARIES"), &text, 0o644)
}

/// The files in a list of `ldd`.
///
/// # Errors
/// A message if one is missing or is not of these packages.
fn needed(listed: &str) -> TaskResult<Vec<PathBuf>> {
    let mut files = Vec::new();
    for line in listed.lines().map(str::trim) {
        let (name, path) = line.split_once(" => ").unwrap_or((line, line));
        let path = path.split(" (").next().unwrap_or_default();
        let file = Path::new(path).file_name().unwrap_or_default();
        let file = file.to_string_lossy();
        let is_known = PACKAGES.iter().any(|(_, files)| files.contains(&&*file));
        // The kernel gives it to each process.
        if name.starts_with("linux-vdso") {
            continue;
        }
        if !path.starts_with('/') || !(is_known || file.starts_with(LOADER)) {
            return Err(format!("the tarball has no library for: {line}"));
        }
        files.push(PathBuf::from(path));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_the_c_library_are_found_and_others_refused() {
        let known = "\tlinux-vdso.so.1 (0x00007f)\n\tlibgcc_s.so.1 => /lib/x/libgcc_s.so.1 (0x1)\n\
                     \tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let found = needed(known).unwrap();
        let expected = [
            "/lib/x/libgcc_s.so.1",
            "/lib/x/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        for other in [
            "\tlibssl.so.3 => /lib/x/libssl.so.3 (0x1)",
            "\tlibm.so.6 => not found",
            "\tstatically linked",
        ] {
            assert!(needed(other).is_err(), "{other}");
        }
    }
}
