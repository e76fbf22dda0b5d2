//! Entity tags: `W/"{version}-{millis}"`, the version counting rewrites and the time of the last change.

use std::fmt;
use std::str::FromStr;

/// Version and time of the last change of one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ETag {
    /// 1 for a new entity, one more for each rewrite.
    pub version: u64,
    /// Time of the last change in milliseconds since 1970.
    pub updated: i64,
}

/// The text is no entity tag of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is no weak entity tag of the form version-time")]
pub struct ETagError;

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W/\"{}-{}\"", self.version, self.updated)
    }
}

impl FromStr for ETag {
    type Err = ETagError;

    fn from_str(text: &str) -> Result<Self, ETagError> {
        let inside = text
            .strip_prefix("W/\"")
            .and_then(|rest| rest.strip_suffix('"'))
            .ok_or(ETagError)?;
        let (version, updated) = inside.split_once('-').ok_or(ETagError)?;
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(version) || !digits(updated) {
            return Err(ETagError);
        }
        match (version.parse(), updated.parse()) {
            (Ok(version), Ok(updated)) => Ok(Self { version, updated }),
            _ => Err(ETagError),
        }
    }
}

/// What `If-Match` asks for (RFC 9110, section 13.1.1; one weak tag only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or `*`.
    Any,
    /// Exactly this state.
    Exactly(ETag),
}

impl IfMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ETagError`] for strong tags, bare tags and anything else: the precondition then fails.
    pub fn parse(header: Option<&str>) -> Result<Self, ETagError> {
        match header {
            None | Some("*") => Ok(Self::Any),
            Some(text) => text.parse().map(Self::Exactly),
        }
    }

    /// True when an entity in that state may be changed.
    #[must_use]
    pub fn allows(self, current: ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => wanted == current,
        }
    }
}

/// True when `If-None-Match` is exactly the text of the current tag, so that the answer is "not modified".
#[must_use]
pub fn is_not_modified(if_none_match: Option<&str>, current: ETag) -> bool {
    if_none_match.is_some_and(|text| text == current.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_weak_tags_of_two_numbers_are_read() {
        let tag = ETag {
            version: 1,
            updated: 1_420_589_956_172,
        };
        assert_eq!(
            IfMatch::parse(Some("W/\"1-1420589956172\"")),
            Ok(IfMatch::Exactly(tag))
        );
        assert_eq!(IfMatch::parse(Some("*")), Ok(IfMatch::Any));
        assert_eq!(IfMatch::parse(None), Ok(IfMatch::Any));
        for bad in [
            "",
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
            assert_eq!(IfMatch::parse(Some(bad)), Err(ETagError), "{bad}");
        }
        assert!(IfMatch::Any.allows(tag) && IfMatch::Exactly(tag).allows(tag));
        assert!(!IfMatch::Exactly(ETag { version: 2, ..tag }).allows(tag));
        assert!(is_not_modified(Some("W/\"1-1420589956172\""), tag));
        assert!(!is_not_modified(Some("*"), tag) && !is_not_modified(None, tag));
    }

    proptest! {
        #[test]
        fn printed_tags_are_read_back(version in any::<u64>(), updated in 0..i64::MAX) {
            let tag = ETag { version, updated };
            prop_assert_eq!(tag.to_string().parse(), Ok(tag));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let _ = text.parse::<ETag>();
        }
    }
}
