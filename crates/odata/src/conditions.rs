//! The conditional request headers of OData: `If-Match` and `If-None-Match` with one weak entity tag.

use personium_types::ETag;
use personium_types::etag::ParseETagError;

/// The condition of an `If-Match` header (RFC 9110, section 13.1.1; one weak tag only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or `*`.
    Any,
    /// The entity has this tag.
    Exactly(ETag),
}

impl IfMatch {
    /// Parses the header.
    ///
    /// # Errors
    /// [`ParseETagError`] for strong tags, bare tags and every other value; the precondition then fails.
    pub fn parse(header: Option<&str>) -> Result<Self, ParseETagError> {
        match header {
            None | Some("*") => Ok(Self::Any),
            Some(text) => ETag::parse_weak(text).map(Self::Exactly),
        }
    }

    /// Returns true if the condition allows a change of an entity whose tag is `current`.
    #[must_use]
    pub fn allows(self, current: ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(expected) => expected == current,
        }
    }
}

/// Returns true if `If-None-Match` is exactly the weak form of `current`, so that the response to GET is "not modified".
#[must_use]
pub fn is_not_modified(if_none_match: Option<&str>, current: ETag) -> bool {
    if_none_match.is_some_and(|text| text == current.weak().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: ETag = ETag {
        version: 1,
        updated_ms: 1_420_589_956_172,
    };

    #[test]
    fn if_match_accepts_one_weak_tag_or_star() {
        assert_eq!(
            IfMatch::parse(Some("W/\"1-1420589956172\"")),
            Ok(IfMatch::Exactly(TAG))
        );
        assert_eq!(IfMatch::parse(Some("*")), Ok(IfMatch::Any));
        assert_eq!(IfMatch::parse(None), Ok(IfMatch::Any));
        for bad in ["", "\"1-1\"", "1-1", "W/\"1-1\", W/\"1-2\""] {
            assert_eq!(IfMatch::parse(Some(bad)), Err(ParseETagError), "{bad}");
        }
    }

    #[test]
    fn if_match_allows_only_the_current_state() {
        assert!(IfMatch::Any.allows(TAG) && IfMatch::Exactly(TAG).allows(TAG));
        assert!(!IfMatch::Exactly(ETag { version: 2, ..TAG }).allows(TAG));
    }

    #[test]
    fn is_not_modified_needs_the_exact_weak_form() {
        assert!(is_not_modified(Some("W/\"1-1420589956172\""), TAG));
        assert!(!is_not_modified(Some("*"), TAG) && !is_not_modified(None, TAG));
    }
}
