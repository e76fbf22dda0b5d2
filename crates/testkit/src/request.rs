//! A request, built step by step.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::form::encode_form;
use crate::response::TestResponse;
use crate::transport::{Body, BoxError, Transport, boxed};

/// The time that a response over the network may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// A request to a unit.
#[must_use = "a request is sent by `send`"]
pub struct TestRequest {
    transport: Transport,
    token: Option<String>,
    request: http::Request<Body>,
}

impl TestRequest {
    pub(crate) fn new(transport: Transport, method: &str, url: &str, token: Option<&str>) -> Self {
        let request = http::Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(url)
            .body(boxed(Full::default()))
            .unwrap_or_else(|e| panic!("{method} {url}: {e}"));
        Self {
            transport,
            token: token.map(str::to_owned),
            request,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.headers_mut().append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        self
    }

    /// Adds headers.
    pub fn headers(self, headers: &[(&str, &str)]) -> Self {
        headers
            .iter()
            .fold(self, |request, (name, value)| request.header(name, value))
    }

    /// Sends a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends these bytes as the body, with their length.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        let body = Bytes::copy_from_slice(body.as_ref());
        self.request
            .headers_mut()
            .insert(CONTENT_LENGTH, body.len().into());
        *self.request.body_mut() = boxed(Full::new(body));
        self
    }

    /// Sends JSON as the body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sends a form as the body.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded")
            .body(encode_form(fields))
    }

    /// Sends a body of unknown length.
    pub fn stream(mut self, body: Body) -> Self {
        self.request
            .headers_mut()
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        *self.request.body_mut() = body;
        self
    }

    /// Sends the request; returns the response with a body that is still to be read.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send_streaming(mut self) -> Result<http::Response<Body>, BoxError> {
        if let Some(token) = &self.token
            && !self.request.headers().contains_key(AUTHORIZATION)
        {
            let value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            self.request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.transport.send(self.request).await
    }

    /// Sends the request; returns the whole response.
    ///
    /// # Errors
    /// If the connection breaks before the end of the response, or the response takes too long.
    pub async fn try_send(self) -> Result<TestResponse, BoxError> {
        let in_memory = self.transport.is_in_memory();
        let response = self.receive();
        if in_memory {
            // Tests may pause the clock of the runtime.
            return response.await;
        }
        tokio::time::timeout(RESPONSE_TIMEOUT, response).await?
    }

    async fn receive(self) -> Result<TestResponse, BoxError> {
        let request = format!("{} {}", self.request.method(), self.request.uri());
        let (head, body) = self.send_streaming().await?.into_parts();
        let response = TestResponse {
            request,
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        };
        response.assert_complete_message();
        Ok(response)
    }

    /// Sends the request; returns the whole response.
    pub async fn send(self) -> TestResponse {
        let request = format!("{} {}", self.request.method(), self.request.uri());
        self.try_send()
            .await
            .unwrap_or_else(|e| panic!("{request}: {e}"))
    }
}
