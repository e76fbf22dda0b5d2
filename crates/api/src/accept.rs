//! The `Accept` header.

use http::{HeaderMap, header};
use personium_types::{Code, Error, Result};

/// The media type of JSON.
const JSON: &str = "application/json";

/// Refuses a header with other than ASCII characters.
///
/// # Errors
/// [`Code::HeaderIllegal`]
pub(crate) fn check_ascii(headers: &HeaderMap) -> Result<()> {
    for value in headers.get_all(header::ACCEPT) {
        if !value.as_bytes().is_ascii() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            return Err(Error::new(Code::HeaderIllegal).with("Accept").with(value));
        }
    }
    Ok(())
}

/// Whether a media type is listed as it is. Wildcards and entries with parameters do not match.
pub(crate) fn lists(headers: &HeaderMap, media_type: &str) -> bool {
    entries(headers).any(|entry| entry.eq_ignore_ascii_case(media_type))
}

/// Whether a media type is listed, with or without parameters, unless its weight is zero. Wildcards do not match.
pub(crate) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    entries(headers).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let is_refused = parts
            .filter_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")))
            .any(|weight| weight.trim().parse() == Ok(0.0));
        essence.eq_ignore_ascii_case(media_type) && !is_refused
    })
}

/// Whether a media type is acceptable: it, or a wildcard that includes it, is listed, or nothing is. Parameters do not
/// count.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut ranges = entries(headers)
        .map(|entry| entry.split(';').next().unwrap_or_default().trim())
        .filter(|range| !range.is_empty())
        .peekable();
    let main_type = media_type.split('/').next().unwrap_or_default();
    ranges.peek().is_none()
        || ranges.any(|range| {
            range == "*/*"
                || range.eq_ignore_ascii_case(media_type)
                || range
                    .strip_suffix("/*")
                    .is_some_and(|range| range.eq_ignore_ascii_case(main_type))
        })
}

/// The media type of a JSON document that has none of its own: clients that do not ask for JSON get it as text.
pub(crate) fn json_or_text(headers: &HeaderMap) -> &'static str {
    if lists(headers, JSON) {
        JSON
    } else {
        "text/plain"
    }
}

fn entries(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|v| (header::ACCEPT, v.parse().unwrap()));
        values.collect()
    }

    #[test]
    fn listed_types_match_without_wildcards_and_parameters() {
        assert!(lists(&accept(&["text/html, Application/JSON"]), JSON));
        assert!(lists(&accept(&["text/html", JSON]), JSON));
        for other in ["*/*", "application/*", "application/json;q=1", ""] {
            assert!(!lists(&accept(&[other]), JSON), "{other}");
        }
        assert_eq!(json_or_text(&accept(&["*/*"])), "text/plain");
    }

    #[test]
    fn acceptable_types_match_wildcards_and_absent_headers() {
        let jose = "application/jose";
        for good in [
            "",
            ",",
            "*/*",
            "application/*;q=0.1",
            "text/html, application/jose;q=0.5",
        ] {
            assert!(accepts(&accept(&[good]), jose), "{good}");
        }
        assert!(accepts(&HeaderMap::new(), jose));
        for bad in ["text/html", "text/*", "application/json"] {
            assert!(!accepts(&accept(&[bad]), jose), "{bad}");
        }
    }

    #[test]
    fn other_than_ascii_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, "text/html".parse().unwrap());
        assert!(check_ascii(&headers).is_ok());
        let bytes = header::HeaderValue::from_bytes("é".as_bytes()).unwrap();
        headers.append(header::ACCEPT, bytes);
        assert_eq!(
            check_ascii(&headers).unwrap_err().code(),
            Code::HeaderIllegal
        );
    }
}
