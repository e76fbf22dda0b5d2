//! A sender for the owner of an outbox.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use personium_model::Unit;
use personium_types::ServerNodeId;

use crate::{NoResponse, ReceivedResponse, RequestSender};

/// A sender that sends nothing when another server node may have taken over the outbox.
pub(crate) struct OwnerSender<'a> {
    unit: &'a Unit,
    sender: &'a dyn RequestSender,
    node: &'a ServerNodeId,
    has_refused: AtomicBool,
}

impl<'a> OwnerSender<'a> {
    pub(crate) fn new(
        unit: &'a Unit,
        sender: &'a dyn RequestSender,
        node: &'a ServerNodeId,
    ) -> Self {
        Self {
            unit,
            sender,
            node,
            has_refused: AtomicBool::new(false),
        }
    }

    /// Whether a request was not sent.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Acquire)
    }
}

#[async_trait]
impl RequestSender for OwnerSender<'_> {
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        // Immediately before the request: what comes before it may have taken long.
        if !matches!(self.unit.confirm_node(self.node).await, Ok(true)) {
            self.has_refused.store(true, Ordering::Release);
            return Err(NoResponse {
                reason: "another server node may send it".to_owned(),
                is_temporary: true,
            });
        }
        self.sender.send(request).await
    }
}
