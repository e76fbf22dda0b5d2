//! The way of the requests that rules send: to this unit without the network, to others over it.

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use personium_event::{Reply, RequestSender};

use crate::http_client::UrlTrust;
use crate::loopback::{self, Origin};
use crate::service::ApiService;

/// Bytes of an answer that are read: more than an entity may have.
const ANSWER_MAX: usize = 8 << 20;

#[async_trait]
impl RequestSender for ApiService {
    async fn send(&self, request: Request<Bytes>) -> Option<Reply> {
        let (unit, http_client, installs) = self.parts();
        let url = request.uri().to_string();
        let response = if loopback::is_own(&unit, &url) {
            let origin = Origin {
                unit: &unit,
                http_client: &http_client,
                installs: &installs,
                depth: 0,
            };
            loopback::send(origin, request, ANSWER_MAX).await.ok()
        } else {
            let asked = http_client
                .ask(request, UrlTrust::CellOwner, ANSWER_MAX)
                .await;
            asked
                .inspect_err(|error| tracing::debug!("a rule could not ask {url}: {error}"))
                .ok()
        };
        response.map(|response| Reply {
            status: response.status,
            body: response.body,
        })
    }
}
