//! The transport of the requests that rules send.

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use personium_event::{ReceivedResponse, RequestSender};
use personium_types::error::chain;

use crate::http_client::UrlTrust;
use crate::service::ApiService;

/// The largest body of a response in bytes: more than an entity may have.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

#[async_trait]
impl RequestSender for ApiService {
    async fn send(&self, request: Request<Bytes>) -> Option<ReceivedResponse> {
        let url = request.uri().to_string();
        let sent = self
            .http_client()
            .send(request, UrlTrust::CellOwner, MAX_RESPONSE_BYTES)
            .await;
        match sent {
            Ok(response) => Some(ReceivedResponse {
                status: response.status,
                body: response.body,
            }),
            Err(error) => {
                tracing::debug!(%url, error = chain(&error), "failed to send a rule request");
                None
            }
        }
    }
}
