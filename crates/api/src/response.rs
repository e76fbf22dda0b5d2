//! Construction of responses.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::body::{self, Body};

/// The value of `Cache-Control` for what may change: caches must ask whether it is still current. By its time of modification
/// alone they would guess how long it is.
pub const REVALIDATE: &str = "no-cache";

/// The number of headers that the answer to a read usually has.
const HEADERS_EXPECTED: usize = 12;

/// A response of the server.
pub type Response = http::Response<Body>;

/// A response without a body.
#[must_use]
pub fn status(status: StatusCode) -> Response {
    with_body(status, body::empty())
}

/// A response with a body and its media type.
#[must_use]
pub fn content(code: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    with_media_type(code, media_type, body::full(bytes))
}

/// A response with this body and its media type.
#[must_use]
pub fn with_media_type(code: StatusCode, media_type: &'static str, body: Body) -> Response {
    let mut response = with_body(code, body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A response with a JSON body.
#[must_use]
pub fn json(code: StatusCode, value: &serde_json::Value) -> Response {
    content(code, "application/json", value.to_string())
}

/// The response with the headers that keep caches from storing it (RFC 6749 section 5.1).
#[must_use]
pub fn not_stored(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A response with this body.
#[must_use]
pub fn with_body(code: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS_EXPECTED);
    response
}

/// Adds headers to a response.
pub trait WithHeader {
    /// Sets a header. A value that is not a valid header value is left out.
    #[must_use]
    fn with_header(self, name: HeaderName, value: &str) -> Self;

    /// Appends a header; others of this name stay. A value that is not a valid header value is left out.
    #[must_use]
    fn append_header(self, name: HeaderName, value: &str) -> Self;
}

impl WithHeader for Response {
    fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers_mut().insert(name, value);
        }
        self
    }

    fn append_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers_mut().append(name, value);
        }
        self
    }
}
