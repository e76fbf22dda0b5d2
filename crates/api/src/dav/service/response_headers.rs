//! The headers of the responses of scripts.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use personium_model::Unit;

use crate::access::COOKIE;
use crate::content_policy;

/// The headers about one connection, which no script may set (RFC 9110, section 7.6.1), and the length, which the server counts.
const OF_THE_CONNECTION: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const KEEP_ALIVE: &str = "keep-alive";

/// The headers with which a server behind a reverse proxy commands it: to send a file of its own, for instance.
const OF_PROXIES: &[&str] = &["x-sendfile", "x-lighttpd-send-file", "x-reproxy-url"];
/// The beginning of the names of those that Nginx obeys.
const OF_NGINX: &str = "x-accel-";

/// The headers that change how browsers treat all of an origin. Where cells share one, a script has no say in it.
const OF_THE_ORIGIN: &[&str] = &[
    "alt-svc",
    "clear-site-data",
    "nel",
    "origin-agent-cluster",
    "report-to",
    "service-worker-allowed",
    "strict-transport-security",
];

/// Adds the headers that a script has set to its response, without those that it may not set.
pub(super) fn add(headers: &mut HeaderMap, given: &[(String, String)], unit: &Unit) {
    let is_origin_shared = content_policy::is_sandboxed(unit);
    for (name, value) in given {
        let parsed = (
            name.parse::<HeaderName>(),
            HeaderValue::from_bytes(value.as_bytes()),
        );
        let (Ok(name), Ok(value)) = parsed else {
            continue;
        };
        let is_refused = is_for_servers(&name)
            || (is_origin_shared && is_for_the_origin(&name, &value))
            // Browsers and this server could choose different ones.
            || (name == header::CONTENT_TYPE && headers.contains_key(&name));
        if !is_refused {
            headers.append(name, value);
        }
    }
}

fn is_for_servers(name: &HeaderName) -> bool {
    let text = name.as_str();
    OF_THE_CONNECTION.contains(name)
        || text == KEEP_ALIVE
        || OF_PROXIES.contains(&text)
        || text.starts_with(OF_NGINX)
}

/// Whether a header, or a cookie that is the login of the unit, has an effect on other cells.
fn is_for_the_origin(name: &HeaderName, value: &HeaderValue) -> bool {
    if *name == header::SET_COOKIE {
        let bytes = value.as_bytes();
        let end = bytes.iter().position(|byte| matches!(byte, b'=' | b';'));
        let cookie = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        return cookie.trim_ascii() == COOKIE.as_bytes();
    }
    OF_THE_ORIGIN.contains(&name.as_str())
}
