//! Headers that replace the method or other headers of a request.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use personium_model::event::{EVENT_ID, RULE_CHAIN, RULE_CHAIN_PROOF, VIA};

use crate::forwarded;
use crate::headers::OVERRIDE;

/// The headers that replace the method of a POST, in the order of their precedence.
const METHOD_OVERRIDES: [&str; 2] = ["x-http-method-override", "x-http-method"];

/// The headers about the chain of rules, which the unit sets for its own requests: a script must not replace them.
const OF_CHAINS: [&str; 4] = [EVENT_ID, RULE_CHAIN, RULE_CHAIN_PROOF, VIA];

/// The headers that only browsers and clients of HTTP themselves set, so that the unit relies on them: pages cannot set them (Fetch
/// standard, forbidden request-header), and must not get them by `X-Override` either.
const OF_CLIENTS: [&str; 18] = [
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The beginnings of the names of further such headers.
const PREFIXES_OF_CLIENTS: [&str; 2] = ["proxy-", "sec-"];

/// Returns the method of a request, which `X-HTTP-Method-Override` or `X-HTTP-Method` replaces on POST.
#[must_use]
pub fn method(method: &Method, headers: &HeaderMap) -> Method {
    if method != Method::POST {
        return method.clone();
    }
    METHOD_OVERRIDES
        .iter()
        .find_map(|name| headers.get(*name).filter(|value| !value.is_empty()))
        .and_then(|value| Method::from_bytes(value.as_bytes()).ok())
        .unwrap_or_else(|| method.clone())
}

/// Applies `X-Override: Name: Value`, which replaces the named header unless only a proxy, the unit or the client itself may set it.
pub fn apply_to_headers(headers: &mut HeaderMap) {
    let overrides: Vec<HeaderValue> = headers.get_all(&OVERRIDE).iter().cloned().collect();
    for value in overrides {
        let Ok(text) = value.to_str() else { continue };
        let Some((name, value)) = text.split_once(':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.trim().as_bytes()),
            HeaderValue::from_str(value.trim()),
        ) && may_be_replaced(name.as_str())
        {
            headers.insert(name, value);
        }
    }
}

fn may_be_replaced(name: &str) -> bool {
    let is_of_clients = PREFIXES_OF_CLIENTS.iter().any(|p| name.starts_with(p));
    !name.starts_with(forwarded::PREFIX)
        && !OF_CHAINS.contains(&name)
        && !OF_CLIENTS.contains(&name)
        && !is_of_clients
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(overrides: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://evil.example"));
        for text in overrides {
            headers.append(&OVERRIDE, HeaderValue::from_static(text));
        }
        apply_to_headers(&mut headers);
        headers
    }

    #[test]
    fn headers_that_pages_may_set_are_replaced() {
        let headers = applied(&["Accept: text/html", "If-Match:*"]);
        assert_eq!(headers["accept"], "text/html");
        assert_eq!(headers["if-match"], "*");
    }

    #[test]
    fn headers_that_the_unit_trusts_are_not_replaced() {
        let headers = applied(&[
            "Origin: https://unit.example",
            "cookie: p_cookie=1",
            "Sec-Fetch-Site: same-origin",
            "Host: victim.example",
            "X-Forwarded-For: 127.0.0.1",
            "Proxy-Authorization: Basic eA==",
        ]);
        assert_eq!(headers["origin"], "https://evil.example");
        for name in [
            "cookie",
            "sec-fetch-site",
            "host",
            "x-forwarded-for",
            "proxy-authorization",
        ] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
}
