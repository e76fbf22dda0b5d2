//! A request, built step by step.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::Answer;
use crate::unit::MASTER_TOKEN;

/// Sends requests over connections that are kept.
pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A new client.
pub(crate) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A request to a unit.
#[derive(Debug)]
pub struct Request {
    client: HttpClient,
    request: http::Request<Full<Bytes>>,
}

impl Request {
    pub(crate) fn new(client: &HttpClient, method: &str, url: &str) -> Self {
        let request = http::Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(url)
            .body(Full::default())
            .expect("a URL");
        Self {
            client: client.clone(),
            request,
        }
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.request.headers_mut().append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
        );
        self
    }

    /// Sends a bearer token along.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends the master token along.
    #[must_use]
    pub fn admin(self) -> Self {
        self.bearer(MASTER_TOKEN)
    }

    /// Sends these bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    /// Sends JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sends a form.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect();
        self.header("content-type", "application/x-www-form-urlencoded")
            .body(fields.join("&"))
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Answer {
        let shown = format!("{} {}", self.request.method(), self.request.uri());
        let answer = self
            .client
            .request(self.request)
            .await
            .unwrap_or_else(|e| panic!("{shown}: {e}"));
        let (parts, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .unwrap_or_else(|e| panic!("{shown}: {e}"))
            .to_bytes();
        Answer {
            request: shown,
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

/// Escapes everything in a value that could mean something in a form.
fn escape(value: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn form_values_are_escaped() {
        assert_eq!(super::escape("a&b=c d+é"), "a%26b%3Dc%20d%2B%C3%A9");
    }
}
