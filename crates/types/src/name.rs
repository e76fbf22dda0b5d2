//! Names of cells, boxes and members of collections in URLs. Their types guarantee that they are valid.

use std::fmt;
use std::str::FromStr;

/// The text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid name")]
pub struct ParseNameError;

/// Whether the text consists of 1 to 128 ASCII letters, digits, `-` or `_` and begins with a letter or digit.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(ParseNameError) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a cell: 1 to 128 ASCII letters, digits, `-` or `_`, beginning with a letter or digit.
    CellName, is_name
}
name! {
    /// The name of a box: `__` for the main box, otherwise as [`CellName`].
    BoxName, |text| text == "__" || is_name(text)
}

name! {
    /// The name of a file or collection below a box: a path segment after percent-decoding.
    ///
    /// It has 1 to 255 UTF-16 code units, none of ``\\ / : * ? " < > |``, no control character, and neither U+FFFE nor U+FFFF, which no XML can
    /// have. It is neither `.` nor `..`, which clients resolve before they send a URL, and has no space at its end.
    MemberName, is_member_name
}

/// The maximum length of the name of a member in UTF-16 code units.
const MEMBER_NAME_MAX_UTF16_UNITS: usize = 255;

fn is_member_name(text: &str) -> bool {
    let refused = |c: char| {
        c.is_control()
            || matches!(c, '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
            // Answers to PROPFIND and archives could not show them (XML 1.0, section 2.2).
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    !text.is_empty()
        && !is_dot_segment(text)
        && !text.ends_with(' ')
        && text
            .encode_utf16()
            .nth(MEMBER_NAME_MAX_UTF16_UNITS)
            .is_none()
        && !text.contains(refused)
}

/// Whether a path segment after percent-decoding is `.` or `..` (RFC 3986, section 3.3): it names no resource, but a step in
/// the hierarchy.
#[must_use]
pub fn is_dot_segment(text: &str) -> bool {
    text == "." || text == ".."
}

impl BoxName {
    /// The name of the main box. Every cell has one.
    pub const MAIN: &'static str = "__";

    /// Whether this is the main box.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.0 == Self::MAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_validated() {
        for good in ["a", "Cell-1_x", &"a".repeat(128)] {
            assert!(good.parse::<CellName>().is_ok(), "{good}");
        }
        for bad in ["", "_a", "-a", "a b", "é", "a/b", "__", &"a".repeat(129)] {
            assert!(bad.parse::<CellName>().is_err(), "{bad}");
        }
        assert!("__".parse::<BoxName>().is_ok_and(|n| n.is_main()));
        assert!("__x".parse::<BoxName>().is_err());
    }

    #[test]
    fn length_of_member_names_is_measured_in_utf16_units() {
        let is_name = |text: &str| text.parse::<MemberName>().is_ok();
        assert!(!is_name("") && is_name("a"));
        assert!(is_name(&"a".repeat(255)) && !is_name(&"a".repeat(256)));
        assert!(is_name(&"\u{3042}".repeat(255)) && !is_name(&"\u{3042}".repeat(256)));
        assert!(is_name(&"\u{1f600}".repeat(127)) && !is_name(&"\u{1f600}".repeat(128)));
    }

    #[test]
    fn member_names_with_reserved_characters_or_of_dots_are_refused() {
        for c in "\\/:*?\"<>|\t\n\r\0\u{7f}\u{85}\u{9f}\u{fffe}\u{ffff}".chars() {
            assert!(format!("a{c}b").parse::<MemberName>().is_err(), "{c:?}");
        }
        for name in [".", "..", " ", "a ", "a  "] {
            assert!(name.parse::<MemberName>().is_err(), "{name:?}");
        }
        for name in [
            "a%b",
            "a'b",
            "...",
            "..a",
            "a..",
            ".a",
            ". .",
            "__src",
            "a;b",
            "a&b",
            "My Documents",
            " a",
            "a  b",
            "\u{3000}",
            "\u{e9}+~$!()",
            "\u{1f600} \u{65e5}\u{672c}",
            "\u{fffd}\u{1fffe}",
            "#",
            "%2e%2e",
        ] {
            assert!(name.parse::<MemberName>().is_ok(), "{name:?}");
        }
    }
}
