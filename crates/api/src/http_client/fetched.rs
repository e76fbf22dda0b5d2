//! The outcome of a request that the unit sent.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};

use personium_model::AnswerShare;

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

/// The limit of a response.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimit<'a> {
    /// Its largest body in bytes.
    pub max_bytes: usize,
    /// The memory budget for it; `None` does not count it.
    pub memory: Option<&'a AnswerShare>,
}

/// The reason why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an absolute `http(s)` URL, or one with user information.
    #[error("URL not allowed")]
    Url,
    /// The owner of a cell has chosen an address that is not public.
    #[error("address not allowed")]
    Address,
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
    /// [`FetchError::Response`] if it is broken off, is larger than the limit, or has no memory.
    pub(super) async fn read(
        head: response::Parts,
        body: Body,
        limit: FetchLimit<'_>,
    ) -> Result<Self, FetchError> {
        let body = match limit.memory {
            Some(memory) => body::read_for_answer(body, limit.max_bytes, memory).await,
            None => body::read_all(body, limit.max_bytes).await,
        };
        let body = body.map_err(|e| FetchError::Response(e.into()))?;
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}
