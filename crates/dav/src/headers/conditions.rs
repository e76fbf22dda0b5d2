//! The conditional request headers `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

use personium_types::ETag;

/// Whether `If-Match` allows a change of a resource whose entity tag is `current`.
///
/// An absent header and `*` allow it, and the current tag in its strong or weak form. Lists of tags are not supported and
/// do not match; neither does an empty value.
///
/// ```
/// use personium_dav::headers::allows_change;
/// use personium_types::ETag;
///
/// let current = ETag { version: 3, updated_ms: 17 };
/// assert!(allows_change(None, current));
/// assert!(allows_change(Some("\"3-17\""), current));
/// assert!(!allows_change(Some("\"2-17\""), current));
/// ```
#[must_use]
pub fn allows_change(if_match: Option<&str>, current: ETag) -> bool {
    match if_match {
        None | Some("*") => true,
        Some(value) => is_tag(value, current),
    }
}

/// Whether `If-None-Match` is the entity tag `current`, so that GET is answered with "not modified".
///
/// `*` and malformed values have no effect.
#[must_use]
pub fn is_not_modified(if_none_match: Option<&str>, current: ETag) -> bool {
    if_none_match.is_some_and(|value| is_tag(value, current))
}

fn is_tag(value: &str, tag: ETag) -> bool {
    value.strip_prefix("W/").unwrap_or(value) == tag.strong().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: ETag = ETag {
        version: 3,
        updated_ms: 1_706_692_530_123,
    };

    #[test]
    fn strong_and_weak_form_match_and_other_values_do_not() {
        for value in ["\"3-1706692530123\"", "W/\"3-1706692530123\""] {
            assert!(
                allows_change(Some(value), TAG) && is_not_modified(Some(value), TAG),
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
                !allows_change(Some(value), TAG) && !is_not_modified(Some(value), TAG),
                "{value}"
            );
        }
    }

    #[test]
    fn star_allows_change_and_does_not_mean_not_modified() {
        assert!(allows_change(None, TAG) && allows_change(Some("*"), TAG));
        assert!(!is_not_modified(None, TAG) && !is_not_modified(Some("*"), TAG));
    }
}
