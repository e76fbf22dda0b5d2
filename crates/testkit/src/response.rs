//! The response of a unit.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// The status of a response and, of a refusal, the error code without its first part: `(403, "AU-0002")`.
pub type Outcome = (u16, String);

/// The outcome of a refusal.
#[must_use]
pub fn refused(status: u16, code: &str) -> Outcome {
    (status, code.to_owned())
}

/// The outcome of a success.
#[must_use]
pub fn success(status: u16) -> Outcome {
    (status, String::new())
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct TestResponse {
    /// Method and URL of the request, for messages.
    pub request: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl TestResponse {
    /// Returns the response if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}: {:?}\n{}",
            self.request,
            self.headers,
            self.text()
        );
        self
    }

    /// Returns the response if its status is a 2xx.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(
            self.status.is_success(),
            "{}: {} {}",
            self.request,
            self.status,
            self.text()
        );
        self
    }

    /// Returns the response if it has this status and this error code, as in [`Outcome`].
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        assert_eq!(
            self.outcome(),
            refused(status, code),
            "{}: {}",
            self.request,
            self.text()
        );
        self
    }

    /// Asserts that all placeholders in the message of an error were replaced.
    pub(crate) fn assert_complete_message(&self) {
        let is_error = self.status.is_client_error() || self.status.is_server_error();
        let text = self.text();
        assert!(
            !is_error || !(text.contains("{0}") || text.contains("{1}")),
            "{}: the error lacks a message parameter: {text}",
            self.request
        );
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as text, the lines joined without their indentation: indented XML becomes compact.
    #[must_use]
    pub fn joined_lines(&self) -> String {
        self.text().lines().map(str::trim_start).collect()
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", self.request, self.text()))
    }

    /// The entity or the entities of an OData response in JSON.
    #[track_caller]
    #[must_use]
    pub fn results(&self) -> Value {
        self.json()["d"]["results"].clone()
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The status and, of a refusal, the error code.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let code = match serde_json::from_slice::<Value>(&self.body) {
            // The second form is that of OData.
            Ok(body) if !self.status.is_success() => [&body["code"], &body["error"]["code"]]
                .into_iter()
                .find_map(Value::as_str)
                .and_then(|code| code.get(6..))
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        };
        (self.status.as_u16(), code)
    }
}
