//! Entity tags of resources, and the conditions that compare them.

use std::fmt;

/// The tag of one state of a resource. Prints as `"{version}-{milliseconds}"`, quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    /// Number of the metadata's version, beginning at 1.
    pub version: u64,
    /// Last change, milliseconds since 1970-01-01 UTC.
    pub updated_ms: i64,
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}-{}\"", self.version, self.updated_ms)
    }
}

impl ETag {
    /// Whether `value` is this tag, as printed or marked weak (`W/` before it).
    #[must_use]
    pub fn is_named_by(&self, value: &str) -> bool {
        value.strip_prefix("W/").unwrap_or(value) == self.to_string()
    }

    /// Whether a change may go on under the request's `If-Match`: absent, `*`, or this tag.
    ///
    /// A list of tags is not understood and does not match; neither does an empty value.
    #[must_use]
    pub fn passes_if_match(&self, header: Option<&str>) -> bool {
        match header {
            None | Some("*") => true,
            Some(value) => self.is_named_by(value),
        }
    }

    /// Whether a GET is answered by 304 under the request's `If-None-Match`.
    ///
    /// `*` and malformed values have no effect.
    #[must_use]
    pub fn is_unmodified(&self, if_none_match: Option<&str>) -> bool {
        if_none_match.is_some_and(|value| self.is_named_by(value))
    }
}

#[cfg(test)]
mod tests {
    use super::ETag;

    const TAG: ETag = ETag {
        version: 3,
        updated_ms: 1_706_692_530_123,
    };

    #[test]
    fn both_forms_name_the_tag_and_nothing_else_does() {
        assert_eq!(TAG.to_string(), "\"3-1706692530123\"");
        for value in ["\"3-1706692530123\"", "W/\"3-1706692530123\""] {
            assert!(
                TAG.passes_if_match(Some(value)) && TAG.is_unmodified(Some(value)),
                "{value}"
            );
        }
        for value in [
            "",
            "3-1706692530123",
            "\"3-1706692530124\"",
            "\"2-1706692530123\"",
            "W/3-1706692530123",
            "w/\"3-1706692530123\"",
            "W/W/\"3-1706692530123\"",
            "\"03-1706692530123\"",
            "\"3-1706692530123\", \"x\"",
        ] {
            assert!(
                !TAG.passes_if_match(Some(value)) && !TAG.is_unmodified(Some(value)),
                "{value}"
            );
        }
    }

    #[test]
    fn a_star_passes_a_change_and_does_not_spare_a_read() {
        assert!(TAG.passes_if_match(None) && TAG.passes_if_match(Some("*")));
        assert!(!TAG.is_unmodified(None) && !TAG.is_unmodified(Some("*")));
    }
}
