//! The response to one part of a batch.

use http::StatusCode;
use personium_types::Error;

use crate::error;

/// The response to one part of a batch.
pub(super) struct PartResponse {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

impl PartResponse {
    /// A JSON document.
    pub(super) fn json(status: StatusCode, body: String) -> Self {
        let headers = vec![json_type(), version()];
        Self {
            status,
            headers,
            body: Some(body),
        }
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            headers: vec![version()],
            body: None,
        }
    }

    /// The refusal of the part.
    pub(super) fn refused(refusal: &Error, request_key: &str) -> Self {
        Self {
            status: error::status(refusal),
            headers: vec![json_type()],
            body: Some(error::body(refusal, request_key).to_string()),
        }
    }

    /// Adds a header.
    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn json_type() -> (&'static str, String) {
    ("Content-Type", "application/json".to_owned())
}

fn version() -> (&'static str, String) {
    ("DataServiceVersion", "2.0".to_owned())
}
