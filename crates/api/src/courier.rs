//! The way of the requests that rules send: to this unit without the network, to others over it.

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use personium_event::{Courier, Reply};

use crate::inside::{self, Origin};
use crate::outside::Chosen;
use crate::service::Service;

/// Bytes of an answer that are read: more than an entity may have.
const ANSWER_MAX: usize = 8 << 20;

#[async_trait]
impl Courier for Service {
    async fn send(&self, request: Request<Bytes>) -> Option<Reply> {
        let (unit, outside) = self.parts();
        let url = request.uri().to_string();
        let answer = if inside::is_own(&unit, &url) {
            let origin = Origin {
                unit: &unit,
                outside: &outside,
                depth: 0,
            };
            inside::ask(origin, request, ANSWER_MAX).await.ok()
        } else {
            let asked = outside.ask(request, Chosen::ByOwner, ANSWER_MAX).await;
            asked
                .inspect_err(|error| tracing::debug!("a rule could not ask {url}: {error}"))
                .ok()
        };
        answer.map(|answer| Reply {
            status: answer.status,
            body: answer.body,
        })
    }
}
