//! Signs of browsers in requests (Fetch Metadata, Fetch standard section 3.1). Pages cannot change these headers.

use http::HeaderMap;
use http::header::ORIGIN;

/// The headers that browsers add to requests.
const ADDED: [&str; 3] = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];

/// Whether a browser sent the request. Browsers send `Origin` with every request but GET and HEAD.
pub(crate) fn is_of_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || ADDED.iter().any(|name| headers.contains_key(*name))
}

/// Whether a GET can be a navigation: a browser shows the response to a person, and no page reads it. With `in_window`, only one
/// of a whole window counts: a frame can be read by a page of the same origin.
///
/// Clients that say nothing about themselves are no browsers.
pub(crate) fn is_navigation(headers: &HeaderMap, in_window: bool) -> bool {
    let is = |name: &str, expected: &[&str]| {
        headers.get(name).is_none_or(|value| {
            let value = value.as_bytes();
            expected.iter().any(|e| e.as_bytes() == value)
        })
    };
    let destinations: &[&str] = match in_window {
        true => &["document"],
        false => &["document", "iframe", "frame"],
    };
    // A GET with an origin is a request of a script.
    !headers.contains_key(ORIGIN)
        && is("sec-fetch-mode", &["navigate"])
        && is("sec-fetch-dest", destinations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn navigations_are_told_from_requests_of_scripts_and_frames() {
        let (mode, dest) = ("sec-fetch-mode", "sec-fetch-dest");
        for (pairs, in_window, in_frame) in [
            (&[][..], true, true),
            (&[(mode, "navigate"), (dest, "document")], true, true),
            (&[(mode, "navigate"), (dest, "iframe")], false, true),
            (&[(mode, "navigate"), (dest, "object")], false, false),
            (&[(mode, "cors"), (dest, "empty")], false, false),
            (&[(mode, "same-origin"), (dest, "empty")], false, false),
            (&[(mode, "no-cors"), (dest, "script")], false, false),
            (&[("origin", "null")], false, false),
        ] {
            let headers = headers(pairs);
            assert_eq!(is_navigation(&headers, true), in_window, "{pairs:?}");
            assert_eq!(is_navigation(&headers, false), in_frame, "{pairs:?}");
            assert_eq!(is_of_browser(&headers), !pairs.is_empty(), "{pairs:?}");
        }
    }
}
