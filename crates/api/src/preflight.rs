//! Responses to OPTIONS.

use http::header::HeaderName;
use http::{StatusCode, header};

use crate::response::{self, Response, WithHeader};

/// Every method that some resource of a unit supports.
const METHODS: &str =
    "OPTIONS, GET, POST, PUT, DELETE, HEAD, MERGE, MKCOL, MOVE, PROPFIND, PROPPATCH, ACL";

/// The classes of WebDAV (RFC 4918, section 18): no locks, and no COPY either, for which there is no class.
const WEBDAV_CLASSES: &str = "1, 3";

/// The response to OPTIONS without credentials. It does not depend on what exists, only on whether the URL is one of WebDAV.
#[must_use]
pub fn anonymous_options(is_webdav: bool) -> Response {
    match is_webdav {
        true => allow_webdav(METHODS),
        false => allow(METHODS),
    }
}

/// The response to OPTIONS of a resource of WebDAV with these methods, separated by `, `.
#[must_use]
pub fn allow_webdav(methods: &str) -> Response {
    allow(methods)
        .with_header(HeaderName::from_static("dav"), WEBDAV_CLASSES)
        .with_header(HeaderName::from_static("ms-author-via"), "DAV")
}

/// The response to OPTIONS with these methods, separated by `, `.
#[must_use]
pub fn allow(methods: &str) -> Response {
    response::status(StatusCode::OK)
        .with_header(header::ALLOW, methods)
        .with_header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
}
