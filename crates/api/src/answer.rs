//! Answers, built step by step.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::body::{self, Body};

/// An answer of the server.
pub type Answer = Response<Body>;

/// An answer without a body.
#[must_use]
pub fn status(status: StatusCode) -> Answer {
    with_body(status, body::empty())
}

/// An answer with a body and its media type.
#[must_use]
pub fn content(code: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = with_body(code, body::full(bytes));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// An answer with a JSON body.
#[must_use]
pub fn json(code: StatusCode, value: &serde_json::Value) -> Answer {
    content(code, "application/json", value.to_string())
}

/// An answer with this body.
#[must_use]
pub fn with_body(code: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer
}

/// Adds headers to an answer.
pub trait WithHeader {
    /// Sets a header; a value that cannot stand in a header is left out.
    #[must_use]
    fn with(self, name: HeaderName, value: &str) -> Self;

    /// Adds one more header of this name.
    #[must_use]
    fn and(self, name: HeaderName, value: &str) -> Self;
}

impl WithHeader for Answer {
    fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers_mut().insert(name, value);
        }
        self
    }

    fn and(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers_mut().append(name, value);
        }
        self
    }
}
