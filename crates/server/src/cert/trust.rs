//! Adding a certificate to the trusted roots in the settings file.

use std::path::{Path, PathBuf};

use personium_token::trust::{CertificateDetails, TrustRoots};

use super::{CertError, description, files};
use crate::config::properties::{self, Property};
use crate::config::{LoadedConfig, PREFIX};
use crate::key_files;
use crate::system;

/// The key of the trusted roots, without prefix.
const KEY: &str = "x509.root";

/// Adds the certificates in a file to `x509.root` in the settings file, which is made if it does not exist. Returns what was
/// done. A running unit takes them over when its settings are reloaded.
///
/// # Errors
/// [`CertError`] if a certificate is not usable as a root, the setting is given elsewhere than in the file, or a file cannot be
/// read or written.
pub fn trust(
    loaded: &LoadedConfig,
    settings_file: &Path,
    certificate: &Path,
) -> Result<String, CertError> {
    let certificate = std::path::absolute(certificate).map_err(|source| CertError::File {
        path: certificate.to_owned(),
        source,
    })?;
    let path = path_in_list(&certificate)?;
    let roots = &loaded.config.certificates.roots;
    if roots.contains(&certificate) {
        return Ok(format!("{} is trusted already\n", certificate.display()));
    }
    check_roots(loaded, roots, &certificate)?;
    let is_new = !files::exists(settings_file)?;
    let before = match is_new {
        true => String::new(),
        false => files::read_text(settings_file).map_err(|_| by_hand(settings_file, &path))?,
    };
    let given = loaded.values.get(&format!("{PREFIX}{KEY}"));
    let given = given
        .map(|value| value.reveal().as_str())
        .unwrap_or_default();
    let after = with_root(&before, given, &path).ok_or_else(|| by_hand(settings_file, &path))?;
    match is_new {
        true => files::write_new(settings_file, &after, files::PRIVATE_MODE)?,
        false => files::replace(settings_file, &after)?,
    }
    let pem = files::read_text(&certificate).unwrap_or_default();
    Ok(format!(
        "{}trusted by {}; a running unit takes it over by SIGHUP\n",
        description(&certificate, &pem),
        settings_file.display()
    ))
}

fn by_hand(settings_file: &Path, path: &str) -> CertError {
    CertError::Refused(format!(
        "{} cannot be edited safely, or x509.root is given elsewhere: add {path} to x509.root by hand",
        settings_file.display()
    ))
}

/// The path as a word of the list in the settings.
fn path_in_list(path: &Path) -> Result<String, CertError> {
    let text = path.to_str().filter(|text| {
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '\\';
        text.chars().all(is_plain)
    });
    text.map(str::to_owned).ok_or_else(|| {
        CertError::Refused(format!(
            "{} has characters that a list of paths cannot have: rename it",
            path.display()
        ))
    })
}

/// Checks that the unit can use the certificates together with the roots that it has.
fn check_roots(
    loaded: &LoadedConfig,
    roots: &[PathBuf],
    certificate: &Path,
) -> Result<(), CertError> {
    let all: Vec<Vec<u8>> = roots
        .iter()
        .map(PathBuf::as_path)
        .chain([certificate])
        .map(files::read)
        .collect::<Result<_, _>>()?;
    let own = key_files::key_and_certificate(&loaded.config).1;
    let own = match files::exists(&own)? {
        true => Some(files::read(&own)?),
        false => None,
    };
    let first = |bytes: &[u8]| CertificateDetails::list_of_file(bytes)?.into_iter().next();
    let own = own.as_deref().and_then(first);
    let is_own = |bytes: &[u8]| own.is_some() && own == first(bytes);
    if all.last().is_some_and(|bytes| is_own(bytes)) {
        return Err(CertError::Refused(format!(
            "{} is the certificate of this unit, which it trusts always",
            certificate.display()
        )));
    }
    let slices: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    match TrustRoots::load(&slices, system::clock().now_ms()) {
        Ok(_) => Ok(()),
        Err(error) => Err(CertError::Refused(format!(
            "{} cannot be trusted: {error}",
            certificate.display()
        ))),
    }
}

/// Returns the text of a settings file with one more root. `None` if it cannot be edited line by line, or the value that counts
/// is not the one in the file.
fn with_root(before: &str, given: &str, path: &str) -> Option<String> {
    let is_root_key = |property: &&Property| {
        let name = property.key.strip_prefix("io.personium.");
        let name =
            name.and_then(|name| name.strip_prefix("core.").or(name.strip_prefix("engine.")));
        name == Some(KEY)
    };
    let found = properties::parse(before.as_bytes()).ok()?;
    let of_roots: Vec<&Property> = found.iter().filter(is_root_key).collect();
    let last = of_roots.last();
    let value = last
        .map(|property| property.value.trim())
        .unwrap_or_default();
    let has_lone_return = before.replace("\r\n", "").contains('\r');
    if value != given.trim() || has_lone_return || value.contains('\\') {
        return None;
    }
    let line = match value.is_empty() {
        true => format!("{PREFIX}{KEY}={path}"),
        false => format!("{PREFIX}{KEY}={value} {path}"),
    };
    let is_replaced = |number: usize| {
        let mut all = of_roots.iter();
        all.any(|property| (property.line..=property.last_line).contains(&number))
    };
    let mut lines: Vec<&str> = Vec::new();
    let kept = before.strip_suffix('\n').unwrap_or(before);
    for (text, number) in kept.split('\n').zip(1..) {
        if last.is_some_and(|property| property.line == number) {
            lines.push(&line);
        } else if !is_replaced(number) {
            lines.push(text);
        }
    }
    if last.is_none() {
        lines.retain(|text| !(before.is_empty() && text.is_empty()));
        // A line that is continued would swallow the new one.
        if lines.last().is_some_and(|text| text.ends_with('\\')) {
            return None;
        }
        lines.push(&line);
    }
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_LINE: &str = "io.personium.core.x509.root=";

    #[test]
    fn root_is_added_to_the_line_that_counts_and_all_else_stays() {
        for (before, given, after) in [
            ("", "", format!("{KEY_LINE}/c.crt\n")),
            ("# a\nb=1", "", format!("# a\nb=1\n{KEY_LINE}/c.crt\n")),
            (
                "a=1\nio.personium.core.x509.root : /a.crt \\\n  b.crt\n# end\n",
                "/a.crt b.crt",
                format!("a=1\n{KEY_LINE}/a.crt b.crt /c.crt\n# end\n"),
            ),
            (
                "io.personium.core.x509.root=/a.crt\r\nx=1\r\nio.personium.core.x509.root=/b.crt\r\n",
                "/b.crt",
                format!("x=1\r\n{KEY_LINE}/b.crt /c.crt\n"),
            ),
            (
                "io.personium.core.x509.root=\n",
                "",
                format!("{KEY_LINE}/c.crt\n"),
            ),
        ] {
            assert_eq!(with_root(before, given, "/c.crt"), Some(after), "{before}");
        }
    }

    #[test]
    fn file_that_does_not_have_the_value_in_use_is_not_edited() {
        for (before, given) in [
            ("io.personium.core.x509.root=/a.crt\n", "/b.crt"),
            ("a=1\n", "/b.crt"),
            ("a=1\rb=2\n", ""),
            ("a=1\\\n", ""),
            ("a=\\uzz\n", ""),
        ] {
            assert_eq!(with_root(before, given, "/c.crt"), None, "{before}");
        }
    }
}
