//! Names of cells and boxes in URLs. Their types guarantee that they are valid.

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
}
