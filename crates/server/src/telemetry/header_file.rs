//! The file with the headers that a collector wants.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use personium_operator_files::read_secret;

/// The headers that belong to the message.
const RESERVED: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Reads the headers: one in a line, as `name: value`. Empty lines and those that begin with `#` are left out.
///
/// # Errors
/// A text for the operator, without a value.
pub(super) fn read(path: &Path) -> Result<HeaderMap, String> {
    let text = read_secret(path)?;
    let at = |number: usize| format!("{}, line {}", path.display(), number + 1);
    let mut headers = HeaderMap::new();
    for (number, line) in text.reveal().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let header = line.split_once(':').and_then(|(name, value)| {
            let name = name.trim().parse::<HeaderName>().ok()?;
            let mut value = value.trim().parse::<HeaderValue>().ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let (name, value) =
            header.ok_or_else(|| format!("{}: it is no header, as name: value", at(number)))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("{}: {name} is set by the unit", at(number)));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read_text(text: &str) -> Result<HeaderMap, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        read(&path)
    }

    #[test]
    fn headers_are_read_and_errors_name_the_line_but_no_value() {
        let headers =
            read_text("# for us\n\nAuthorization: Bearer a:b\nx-scope:  unit \n").unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers["x-scope"], "unit");
        assert_eq!(format!("{:?}", headers["authorization"]), "Sensitive");
        for bad in [
            "# ok\nhidden",
            "x y: hidden",
            "x: hid\u{1}den",
            "Host: hidden",
            "content-type: hidden",
        ] {
            let error = read_text(bad).unwrap_err();
            assert!(error.contains("line") && !error.contains("hid"), "{error}");
        }
    }
}
