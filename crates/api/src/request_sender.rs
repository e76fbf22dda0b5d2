//! The transport of the requests that rules send, and of messages.

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use personium_event::{NoResponse, ReceivedResponse, RequestSender};
use personium_types::error::chain;

use crate::http_client::{FetchError, HttpClient, UrlTrust};
use crate::service::ApiService;

/// The largest body of a response in bytes: more than an entity or the longest message may have.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

#[async_trait]
impl RequestSender for ApiService {
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        self.http_client().send_of_owner(request).await
    }
}

#[async_trait]
impl RequestSender for HttpClient {
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        self.send_of_owner(request).await
    }
}

impl HttpClient {
    /// Sends a request to a URL that the owner of a cell has chosen.
    async fn send_of_owner(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        let url = request.uri().to_string();
        let sent = Self::send(self, request, UrlTrust::CellOwner, MAX_RESPONSE_BYTES).await;
        match sent {
            Ok(response) => Ok(ReceivedResponse {
                status: response.status,
                body: response.body,
            }),
            Err(error) => {
                let reason = chain(&error).to_string();
                tracing::debug!(%url, error = reason, "failed to send a request of a cell");
                Err(NoResponse {
                    is_temporary: is_temporary(&error),
                    reason: public_reason(&error).to_owned(),
                })
            }
        }
    }
}

/// Whether another attempt may help.
fn is_temporary(error: &FetchError) -> bool {
    match error {
        FetchError::Url | FetchError::Address | FetchError::LoopbackDepth => false,
        FetchError::Tls
        | FetchError::Connect(_)
        | FetchError::Response(_)
        | FetchError::Timeout => true,
    }
}

/// The reason that the owner of the cell sees. It says nothing about the network of the unit.
fn public_reason(error: &FetchError) -> &'static str {
    match error {
        FetchError::Url => "The URL is not permitted.",
        FetchError::Address => "The address is not permitted.",
        FetchError::LoopbackDepth => "The request was caused by too many others.",
        FetchError::Tls => "The unit cannot use TLS.",
        FetchError::Connect(_) => "No connection was established.",
        FetchError::Response(_) => "The response was broken off or too large.",
        FetchError::Timeout => "There was no response in time.",
    }
}
