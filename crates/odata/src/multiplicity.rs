//! The multiplicity of an association end.

use std::fmt;

/// The number of entities that one end of an association may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Multiplicity {
    /// `0..1`
    ZeroOrOne,
    /// `1`. An entity without a link is accepted too.
    One,
    /// `*`
    Many,
}

impl Multiplicity {
    /// Parses `0..1`, `1` or `*`; `None` for other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "0..1" => Self::ZeroOrOne,
            "1" => Self::One,
            "*" => Self::Many,
            _ => return None,
        })
    }

    /// The text that [`Multiplicity::parse`] accepts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ZeroOrOne => "0..1",
            Self::One => "1",
            Self::Many => "*",
        }
    }

    /// Returns true for `*`.
    #[must_use]
    pub fn is_many(self) -> bool {
        self == Self::Many
    }
}

impl fmt::Display for Multiplicity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
