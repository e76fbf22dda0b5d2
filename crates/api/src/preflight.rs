//! Responses to OPTIONS.

use http::{StatusCode, header};

use crate::response::{self, Response, WithHeader};

/// Every method that some resource of a unit supports.
const METHODS: &str =
    "OPTIONS, GET, POST, PUT, DELETE, HEAD, MERGE, MKCOL, MOVE, PROPFIND, PROPPATCH, ACL";

/// The response to OPTIONS without credentials, which is the same for every URL.
#[must_use]
pub fn anonymous_options() -> Response {
    allow(METHODS)
}

/// The response to OPTIONS with these methods, separated by `, `.
#[must_use]
pub fn allow(methods: &str) -> Response {
    response::status(StatusCode::OK)
        .with_header(header::ALLOW, methods)
        .with_header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
}
