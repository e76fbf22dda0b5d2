//! Names of resources below a box.

/// The maximum length of a resource name in UTF-16 code units.
pub const MAX_UTF16_UNITS: usize = 255;

/// Whether `name`, a path segment after percent-decoding, is a valid name for a file or collection.
///
/// A name has 1 to [`MAX_UTF16_UNITS`] UTF-16 code units, none of ``\ / : * ? " < > |``, no space and no control character.
#[must_use]
pub fn is_resource_name(name: &str) -> bool {
    let refused = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | ' '
            )
    };
    !name.is_empty()
        && name.encode_utf16().nth(MAX_UTF16_UNITS).is_none()
        && !name.contains(refused)
}

#[cfg(test)]
mod tests {
    use super::is_resource_name;

    #[test]
    fn length_is_measured_in_utf16_units() {
        assert!(!is_resource_name(""));
        assert!(is_resource_name("a"));
        assert!(is_resource_name(&"a".repeat(255)));
        assert!(!is_resource_name(&"a".repeat(256)));
        assert!(is_resource_name(&"\u{3042}".repeat(255)));
        assert!(is_resource_name(&"\u{1f600}".repeat(127)));
        assert!(!is_resource_name(&"\u{1f600}".repeat(128)));
    }

    #[test]
    fn reserved_characters_are_refused() {
        for c in "\\/:*?\"<>| \t\n\r\0\u{7f}\u{85}\u{9f}".chars() {
            assert!(!is_resource_name(&format!("a{c}b")), "{c:?}");
        }
        for name in [
            "a%b",
            "a'b",
            "..a",
            "__src",
            "a;b",
            "a&b",
            "\u{3000}",
            "\u{e9}+~$!()",
        ] {
            assert!(is_resource_name(name), "{name}");
        }
    }
}
