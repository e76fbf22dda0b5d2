//! Queues and topics in the records of cells: the version of the port [`MessageQueue`] that needs no broker.

mod counts;
mod expiry;
mod expiry_index;
mod queue;
mod stored;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use personium_store::{Channel, ChannelKind, Delivery, Message, MessageQueue, TopicSubscription};
use personium_types::{CellId, Code, Result};
use tokio::time::timeout;

pub use self::expiry::{remove_due, remove_when_expired};
use crate::Unit;
use crate::records::Records;

/// The time between two looks for messages that belongs to this process alone.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two looks while other processes tell their news.
const POLL_INTERVAL_WITH_NEWS: Duration = Duration::from_secs(2);
/// The time between two looks without news.
const POLL_INTERVAL_WITHOUT_NEWS: Duration = Duration::from_millis(250);

/// Queues and topics in the records of cells.
pub struct RecordMessageQueue {
    unit: Arc<Unit>,
}

impl RecordMessageQueue {
    /// The queues and topics of a unit.
    #[must_use]
    pub fn new(unit: &Unit) -> Self {
        Self { unit: unit.share() }
    }
}

#[async_trait]
impl MessageQueue for RecordMessageQueue {
    async fn send(&self, channel: &Channel, message: Message) -> Result<()> {
        match channel.kind {
            ChannelKind::Queue => queue::send(&self.unit, channel, &message).await,
            ChannelKind::Topic => topic::send(&self.unit, channel, &message).await,
        }
    }

    async fn receive(&self, queue: &Channel, wait: Duration) -> Result<Option<Delivery>> {
        let unit = &self.unit;
        if wait.is_zero() {
            return queue::try_receive(unit, queue).await;
        }
        let interest = unit.message_news().wait_in(queue.cell);
        let mut interest = interest.ok_or(Code::ServerBusy)?;
        let begin = unit.monotonic();
        loop {
            interest.news.borrow_and_update();
            if let Some(delivery) = queue::try_receive(unit, queue).await? {
                return Ok(Some(delivery));
            }
            let waited = unit.monotonic().saturating_duration_since(begin);
            let rest = wait.saturating_sub(waited);
            if rest.is_zero() {
                return Ok(None);
            }
            let pause = rest.min(poll_interval(unit));
            let _ = timeout(pause, interest.news.changed()).await;
        }
    }

    async fn acknowledge(&self, queue: &Channel, receipt: &str) -> Result<bool> {
        queue::acknowledge(&self.unit, queue, receipt).await
    }

    async fn release(&self, queue: &Channel, receipt: &str) -> Result<bool> {
        queue::release(&self.unit, queue, receipt).await
    }

    async fn subscribe(
        &self,
        topic: &Channel,
        after: Option<&str>,
    ) -> Result<Box<dyn TopicSubscription>> {
        let begun = topic::Subscription::begin(&self.unit, topic, after).await?;
        let begun = begun.ok_or(Code::MessagesMissed)?;
        Ok(Box::new(begun))
    }
}

/// The records of a cell, which its quotas limit.
async fn limited_records(unit: &Unit, cell: &CellId) -> Result<Records> {
    if unit.is_unlimited() {
        return Ok(unit.cell_records(cell));
    }
    let found = unit.find_cell_by_id(cell).await?.ok_or(Code::NoSuchCell)?;
    Ok(unit.limited_records(found.cell()))
}

/// The time after which whoever waits looks for messages without having been woken.
fn poll_interval(unit: &Unit) -> Duration {
    let store = unit.store();
    match (store.is_shared(), store.has_news()) {
        (false, _) => POLL_INTERVAL,
        (true, true) => POLL_INTERVAL_WITH_NEWS,
        (true, false) => POLL_INTERVAL_WITHOUT_NEWS,
    }
}
