//! Messages between the nodes of a unit.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// Carries messages to every node. At most once: what must not be lost is a record as well.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to all present subscribers of the topic, on this node and others.
    async fn publish(&self, topic: &str, message: Bytes) -> Result<()>;

    /// Receives what is published on the topic from now on.
    async fn subscribe(&self, topic: &str) -> Result<Box<dyn Subscription>>;
}

/// The receiving end of a topic.
#[async_trait]
pub trait Subscription: Send {
    /// The next message; `None` when the bus is gone. A receiver that is too slow loses the oldest messages.
    async fn next(&mut self) -> Option<Bytes>;
}
