//! Validation of the names of entries.

use crate::error::{BarError, printable_name};

/// Returns the name if it is a relative path of segments that are separated by `/`.
///
/// Empty segments, `.`, `..`, backslashes and control characters are refused, and drive letters, which some programs treat
/// as a root. One trailing `/` is allowed; it marks a folder.
pub(crate) fn check(raw: &[u8]) -> Result<&str, BarError> {
    match std::str::from_utf8(raw) {
        Ok(name) if is_safe(name) => Ok(name),
        _ => Err(BarError::UnsafeName(printable_name(
            &String::from_utf8_lossy(raw),
        ))),
    }
}

fn is_safe(name: &str) -> bool {
    let is_drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    let path = name.strip_suffix('/').unwrap_or(name);
    !is_drive
        && !name.contains(|c: char| c == '\\' || c.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_accepted() {
        for name in [
            "a",
            "a/",
            "bar/90_contents/col1/00_$metadata.xml",
            "..a/b../...",
            "日本/語.txt",
            " ",
            "aa:b",
            "a/C:",
        ] {
            assert_eq!(check(name.as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn unsafe_names_are_refused_with_a_printable_name() {
        for name in [
            "", "/", "//", "/a", "a//", "a//b", ".", "..", "./a", "a/.", "a/..", "a/../b", "../a",
            "a\\b", "..\\a", "C:", "c:/a", "C:a", "a\0", "a\nb", "a\u{7f}", "a\u{85}", "a/\r",
        ] {
            let Err(BarError::UnsafeName(shown)) = check(name.as_bytes()) else {
                panic!("{name:?}");
            };
            assert!(!shown.contains(char::is_control), "{name:?}");
        }
        for raw in [
            &b"\xff"[..],
            b"a/\x95s\x90\xb3.json",
            b"a/\xc0\xaf",
            b"\xed\xa0\x80",
        ] {
            assert!(
                matches!(check(raw), Err(BarError::UnsafeName(_))),
                "{raw:?}"
            );
        }
        let Err(BarError::UnsafeName(shown)) = check(format!("/{}", "x".repeat(60_000)).as_bytes())
        else {
            panic!("accepted");
        };
        assert_eq!(shown.len(), 200);
    }
}
