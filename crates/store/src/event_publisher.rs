//! Events for other systems, at a message broker.

use async_trait::async_trait;
use bytes::Bytes;

/// An event as other systems get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingEvent {
    /// Its id: the same whenever it is published again. ASCII letters, digits and `-`.
    pub id: String,
    /// The URL of the cell.
    pub cell: String,
    /// The type; empty if it has none.
    pub kind: String,
    /// The event as JSON.
    pub body: Bytes,
}

/// The reason why events were not published, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker has refused one of them.
    #[error("the broker has refused an event: {0}")]
    Refused(String),
    /// The broker cannot be reached, or does not answer.
    #[error("{0}")]
    Down(String),
}

/// A publisher of the events of a unit.
#[async_trait]
pub trait EventPublisher: Send + Sync {
    /// Publishes events in this order. When this returns, the broker has stored them.
    ///
    /// # Errors
    /// [`PublishError`]; then some of them may be published.
    async fn publish(&self, events: &[OutgoingEvent]) -> Result<(), PublishError>;
}
