//! Entity tags of files, collections and entities (RFC 9110, section 8.8.3).

use std::fmt;

/// The entity tag of one state of a resource: its version and the time of its last change.
///
/// ```
/// use personium_types::ETag;
///
/// let tag = ETag { version: 3, updated_ms: 1_706_692_530_123 };
/// assert_eq!(tag.strong().to_string(), "\"3-1706692530123\"");
/// assert_eq!(tag.weak().to_string(), "W/\"3-1706692530123\"");
/// assert_eq!(ETag::parse_weak("W/\"3-1706692530123\""), Ok(tag));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    /// The number of the version, from 1. Every change increments it.
    pub version: u64,
    /// The time of the last change, in milliseconds since 1970-01-01 UTC.
    pub updated_ms: i64,
}

/// The text is not a weak entity tag of the form `W/"{version}-{milliseconds}"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a weak entity tag of the form version-milliseconds")]
pub struct ParseETagError;

impl ETag {
    /// The strong form, quotes included, for files and collections.
    #[must_use]
    pub const fn strong(self) -> impl fmt::Display + Copy {
        PrintedETag {
            tag: self,
            prefix: "",
        }
    }

    /// The weak form, quotes included, for entities.
    #[must_use]
    pub const fn weak(self) -> impl fmt::Display + Copy {
        PrintedETag {
            tag: self,
            prefix: "W/",
        }
    }

    /// Parses the weak form.
    ///
    /// # Errors
    /// [`ParseETagError`] for strong tags, lists of tags, `*` and every other text.
    pub fn parse_weak(text: &str) -> Result<Self, ParseETagError> {
        let inside = text
            .strip_prefix("W/\"")
            .and_then(|rest| rest.strip_suffix('"'))
            .ok_or(ParseETagError)?;
        let (version, updated_ms) = inside.split_once('-').ok_or(ParseETagError)?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(version) || !is_number(updated_ms) {
            return Err(ParseETagError);
        }
        match (version.parse(), updated_ms.parse()) {
            (Ok(version), Ok(updated_ms)) => Ok(Self {
                version,
                updated_ms,
            }),
            _ => Err(ParseETagError),
        }
    }
}

#[derive(Clone, Copy)]
struct PrintedETag {
    tag: ETag,
    prefix: &'static str,
}

impl fmt::Display for PrintedETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ETag {
            version,
            updated_ms,
        } = self.tag;
        write!(f, "{}\"{version}-{updated_ms}\"", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parse_weak_accepts_only_the_weak_form_of_two_numbers() {
        let tag = ETag {
            version: 1,
            updated_ms: 1_420_589_956_172,
        };
        assert_eq!(ETag::parse_weak("W/\"1-1420589956172\""), Ok(tag));
        for bad in [
            "",
            "*",
            "\"1-1\"",
            "W/\"1\"",
            "W/\"1-\"",
            "W/\"-1\"",
            "W/\"1-a\"",
            "W/1-1",
            "w/\"1-1\"",
            "W/\"+1-1\"",
            "W/\"1-1\" ",
            "1-1",
            "W/\"1-1-1\"",
            "W/\"99999999999999999999-1\"",
        ] {
            assert_eq!(ETag::parse_weak(bad), Err(ParseETagError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn printed_weak_tags_parse_to_the_same_tag(version in any::<u64>(), updated_ms in 0..i64::MAX) {
            let tag = ETag { version, updated_ms };
            prop_assert_eq!(ETag::parse_weak(&tag.weak().to_string()), Ok(tag));
        }

        #[test]
        fn parse_weak_never_panics(text in "\\PC*") {
            let _ = ETag::parse_weak(&text);
        }
    }
}
