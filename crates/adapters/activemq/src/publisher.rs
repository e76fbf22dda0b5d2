//! Events for other systems, in a topic of the broker.
//!
//! Each is a text message with the headers `personium-id`, `personium-cell`, `personium-type` and `JMSXGroupID`, which is the URL of the
//! cell: consumers of one queue get the events of a cell in their order.

use std::error::Error as _;
use std::sync::Arc;

use async_trait::async_trait;
use personium_store::{EventPublisher, OutgoingEvent, PublishError};
use personium_types::Clock;
use personium_types::error::chain;

use crate::connection::BrokerRefusal;
use crate::frame::Frame;
use crate::pool::ConnectionPool;
use crate::settings::BrokerSettings;

/// The publisher of events to a topic.
pub struct ActiveMqPublisher {
    pool: ConnectionPool,
    destination: String,
}

impl ActiveMqPublisher {
    /// A publisher to the topic with this name. It connects when something is published.
    #[must_use]
    pub fn new(settings: BrokerSettings, topic: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool: ConnectionPool::new(settings, clock),
            destination: format!("/topic/{topic}"),
        }
    }

    fn frame(&self, event: &OutgoingEvent) -> Frame {
        Frame::new("SEND")
            .with("destination", self.destination.as_str())
            .with("persistent", "true")
            .with("amq-msg-type", "text")
            .with("content-type", "application/json;charset=utf-8")
            .with("JMSXGroupID", event.cell.as_str())
            .with("personium-id", event.id.as_str())
            .with("personium-cell", event.cell.as_str())
            .with("personium-type", event.kind.as_str())
            .body(event.body.clone())
    }
}

#[async_trait]
impl EventPublisher for ActiveMqPublisher {
    async fn publish(&self, events: &[OutgoingEvent]) -> Result<(), PublishError> {
        let frames = events.iter().map(|event| self.frame(event)).collect();
        let sent = self.pool.send(frames).await;
        sent.map_err(|error| {
            let refusal = error
                .source()
                .and_then(|it| it.downcast_ref::<BrokerRefusal>());
            match refusal {
                Some(refusal) if !refusal.is_for_lack_of_space() => {
                    PublishError::Refused(refusal.to_string())
                }
                _ => PublishError::Down(chain(&error).to_string()),
            }
        })
    }
}
