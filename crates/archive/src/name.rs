//! Decoding and validation of the names of entries.

use std::borrow::Cow;

use encoding_rs::SHIFT_JIS;

use crate::error::{BarError, printable_name};

/// The encoding that the header of an entry declares for its name (APPNOTE, section 4.4.4, bit 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameEncoding {
    /// UTF-8.
    Utf8,
    /// None. Writers then use UTF-8, or the code page of their system.
    Unknown,
}

/// Decodes a name. A name without declared encoding is UTF-8, or else Windows code page 932, in which Japanese systems write
/// archives. Returns `None` if it is neither.
pub(crate) fn decode(raw: &[u8], encoding: NameEncoding) -> Option<Cow<'_, str>> {
    if let Ok(name) = std::str::from_utf8(raw) {
        return Some(Cow::Borrowed(name));
    }
    match encoding {
        NameEncoding::Utf8 => None,
        NameEncoding::Unknown => SHIFT_JIS.decode_without_bom_handling_and_without_replacement(raw),
    }
}

/// Returns the decoded name if it is a relative path of segments that are separated by `/`.
///
/// Empty segments, `.`, `..`, backslashes and control characters are refused, and drive letters, which some programs treat
/// as a root. One trailing `/` is allowed; it marks a folder.
pub(crate) fn check(raw: &[u8], encoding: NameEncoding) -> Result<Cow<'_, str>, BarError> {
    match decode(raw, encoding) {
        Some(name) if is_safe(&name) => Ok(name),
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

    fn check(raw: &[u8]) -> Result<Cow<'_, str>, BarError> {
        super::check(raw, NameEncoding::Unknown)
    }

    #[test]
    fn names_without_declared_encoding_are_utf_8_or_code_page_932() {
        for (raw, name) in [
            (&b"\x8fd\x94\xa0\x82\xcc\x8b\xf7.txt"[..], "重箱の隅.txt"),
            // The second byte of this character is that of a backslash.
            (b"a/\x95\x5c.txt", "a/表.txt"),
            (b"\x87\x40\xfb\xfc", "①髙"),
            (b"\xb1\xb2", "ｱｲ"),
            ("日本".as_bytes(), "日本"),
            ("か\u{3099}".as_bytes(), "か\u{3099}"),
        ] {
            assert_eq!(check(raw).unwrap(), name);
        }
        for raw in [&b"\x8fd"[..], b"\xb1"] {
            assert!(super::check(raw, NameEncoding::Utf8).is_err());
        }
    }

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
            b"a/\x95",
            b"a/\x82\x2f",
            b"\xed\xa0\x80\xfd",
            b"..\x5c\x8fd",
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
