//! Messages: queues, whose messages are each for one receiver, and topics, whose messages are for all subscribers.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::{CellId, NodeId, Result};

/// The kind of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// Each message is for one receiver.
    Queue,
    /// Each message is for everybody who is subscribed.
    Topic,
}

impl ChannelKind {
    /// Its name in URLs and addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
        }
    }
}

/// A queue or topic of a stream collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Channel {
    /// The cell.
    pub cell: CellId,
    /// The collection. It stays the same when the collection is moved.
    pub collection: NodeId,
    /// The kind.
    pub kind: ChannelKind,
    /// The name.
    pub name: String,
    /// The address at a broker: `{cell}.{box}.{path of the collection with dots}.{queue or topic}.{name}`.
    pub address: String,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The URL of the cell that sent it.
    pub from: String,
    /// The content: text in UTF-8.
    pub body: Bytes,
    /// When it was sent, milliseconds since 1970.
    pub sent_ms: i64,
    /// When it stops being delivered, milliseconds since 1970.
    pub expires_ms: i64,
}

/// A message of a queue that was delivered to one receiver. It is delivered again unless it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The receipt to acknowledge it with: at most 100 ASCII letters, digits and `-`.
    pub receipt: String,
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMessage {
    /// Its position, from which a subscriber can resume; empty if the engine keeps no messages.
    pub position: String,
    /// The message.
    pub message: Message,
}

/// The end of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionEnd {
    /// Messages are missing: the subscriber was too slow, or came back too late.
    Missed,
    /// The cell was removed, or the store failed.
    Stopped,
}

/// The messages of a topic for one subscriber, in the order in which they were sent.
#[async_trait]
pub trait TopicSubscription: Send {
    /// Waits for the next message. It may be cancelled; then the message comes with the next call.
    ///
    /// # Errors
    /// The end of the subscription.
    async fn next(&mut self) -> std::result::Result<TopicMessage, SubscriptionEnd>;

    /// The position of the last message that was returned, or where the subscription begins.
    fn position(&self) -> String;
}

/// Queues and topics.
///
/// What was sent is durable when [`send`](Self::send) returns. A message of a queue is delivered to one receiver at a time, in the order
/// in which the messages were sent, and again until it is acknowledged or expires: at least once. All server nodes of a unit share the
/// queues and topics.
///
/// One version of it is in the model of the unit, so its errors are those of the unit.
#[async_trait]
pub trait MessageQueue: Send + Sync {
    /// Stores a message.
    ///
    /// # Errors
    /// [`Code::QueueFull`](personium_types::Code::QueueFull) if the queue is full;
    /// [`Code::ServerBusy`](personium_types::Code::ServerBusy), or another failure of the store.
    async fn send(&self, channel: &Channel, message: Message) -> Result<()>;

    /// Waits for a message of a queue, so long at most.
    ///
    /// # Errors
    /// [`Code::ServerBusy`](personium_types::Code::ServerBusy) if too many wait; another failure of the store.
    async fn receive(&self, queue: &Channel, wait: Duration) -> Result<Option<Delivery>>;

    /// Removes a delivered message. `false` if it was removed, has expired, or was delivered again.
    ///
    /// # Errors
    /// A failure of the store.
    async fn acknowledge(&self, queue: &Channel, receipt: &str) -> Result<bool>;

    /// Lets a message be delivered again at once. `false` as with [`acknowledge`](Self::acknowledge).
    ///
    /// # Errors
    /// A failure of the store.
    async fn release(&self, queue: &Channel, receipt: &str) -> Result<bool>;

    /// Subscribes to a topic: to what is sent from now on, or to what follows a position.
    ///
    /// # Errors
    /// [`Code::ServerBusy`](personium_types::Code::ServerBusy) if too many are subscribed; another failure of the store.
    async fn subscribe(
        &self,
        topic: &Channel,
        after: Option<&str>,
    ) -> Result<Box<dyn TopicSubscription>>;
}
