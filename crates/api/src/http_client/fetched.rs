//! The outcome of a request that the unit sent.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};

use crate::body::{self, Body, BoxError};

/// The response to a request that the unit sent.
#[derive(Debug)]
pub struct FetchedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The reason why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an absolute `http(s)` URL, or one with user information.
    #[error("URL not allowed")]
    Url,
    /// TLS cannot be used on this machine.
    #[error("no usable native root certificates")]
    Tls,
    /// No connection was established.
    #[error("connection failed")]
    Connect(#[source] BoxError),
    /// The response was broken off or too large.
    #[error("invalid response")]
    Response(#[source] BoxError),
    /// The response did not come in time.
    #[error("request timed out")]
    Timeout,
    /// The request to the unit itself was caused by too many others.
    #[error("too many nested loopback requests")]
    LoopbackDepth,
}

impl FetchedResponse {
    /// Reads the body of a response.
    ///
    /// # Errors
    /// [`FetchError::Response`] if it is broken off or has more than `max_bytes`.
    pub(super) async fn read(
        head: response::Parts,
        body: Body,
        max_bytes: usize,
    ) -> Result<Self, FetchError> {
        let body = body::read_all(body, max_bytes)
            .await
            .map_err(|e| FetchError::Response(e.into()))?;
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}
