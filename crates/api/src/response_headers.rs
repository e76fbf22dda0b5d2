//! The headers that every response has.

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::headers::{REQUEST_KEY, VERSION};
use crate::response::Response;

/// The headers that scripts of other origins may read, besides those that CORS always shows: every header of a response that
/// says something about its resource or its request.
const EXPOSED: &str = "X-Personium-Version, X-Personium-RequestKey, X-Personium-Receipt, X-Personium-Upload, ETag, Location, Content-Length, Content-Range, \
    Content-Encoding, Content-Disposition, Accept-Ranges, Last-Modified, Retry-After, WWW-Authenticate, Allow, DAV, \
    MS-Author-Via, DataServiceVersion, Link, Date";

/// The methods that scripts of other origins may send. What a resource does not support it refuses itself.
const PREFLIGHT_METHODS: &str = "OPTIONS, GET, POST, PUT, DELETE, HEAD, MERGE, PATCH, MKCOL, MOVE, PROPFIND, PROPPATCH, \
    ACL, REPORT";

/// Adds the headers that every response has: the API version, the request key, that browsers take the media type as it is, and
/// those of CORS if the request names an origin.
pub fn add(request: &HeaderMap, response: &mut Response, request_key: &str) {
    let headers = response.headers_mut();
    headers.insert(&VERSION, HeaderValue::from_static(crate::API_VERSION));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(value) = HeaderValue::from_str(request_key) {
        headers.insert(&REQUEST_KEY, value);
    }
    // Without an origin too: a cache may have to choose between this response and one with the headers below.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    if request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(PREFLIGHT_METHODS),
        );
    }
    if let Some(requested) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
}
