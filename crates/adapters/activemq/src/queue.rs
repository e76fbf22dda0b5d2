//! Queues and topics at the broker.
//!
//! A message is a text with the headers `personium-from` (the URL of the cell that sent it) and `personium-sent` (when it was sent,
//! milliseconds since 1970). Messages are persistent, and the broker removes them when they have expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use personium_store::{
    Channel, ChannelKind, Delivery, Message, MessageQueue, SubscriptionEnd, TopicMessage,
    TopicSubscription,
};
use personium_types::error::chain;
use personium_types::{Clock, Code, Random, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::frame::Frame;
use crate::message::{COLLECTION, FROM, SENT, is_expired, is_of_another, message_of};
use crate::pool::{BrokerState, ConnectionPool, FirstUse};
use crate::settings::BrokerSettings;

/// The messages that are sent at the same time.
const SENDING_MAX: usize = 64;
/// The connections of receivers and subscribers, and of messages that are not acknowledged.
const RECEIVING_MAX: usize = 4_000;
/// The shortest time for which a receiver waits: the broker needs some to deliver what is there.
const WAIT_MIN: Duration = Duration::from_millis(250);

/// Queues and topics at the broker.
pub struct ActiveMqQueue {
    pool: ConnectionPool,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    sending: Semaphore,
    receiving: Arc<Semaphore>,
    /// The messages in the hands of receivers, by their receipts.
    deliveries: Mutex<HashMap<String, HeldMessage>>,
}

/// A message in the hands of a receiver.
struct HeldMessage {
    queue: Channel,
    receiver: Receiver,
    acknowledgement: String,
}

/// A connection with a subscription.
struct Receiver {
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl ActiveMqQueue {
    /// The queues and topics of a broker. It is connected to when something is sent or received.
    #[must_use]
    pub fn new(settings: BrokerSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            pool: ConnectionPool::new(settings, Arc::clone(&clock)),
            clock,
            random,
            sending: Semaphore::new(SENDING_MAX),
            receiving: Arc::new(Semaphore::new(RECEIVING_MAX)),
            deliveries: Mutex::default(),
        }
    }

    /// The state of the broker.
    #[must_use]
    pub fn state(&self) -> BrokerState {
        self.pool.state()
    }

    /// Connects to the broker. Returns what it says about itself.
    ///
    /// # Errors
    /// [`Code::BrokerDown`]
    pub async fn check(&self) -> Result<String> {
        self.pool.check().await
    }

    async fn subscribe_to(&self, channel: &Channel) -> Result<Receiver> {
        let permit = Arc::clone(&self.receiving).try_acquire_owned();
        let permit = permit.map_err(|_| Code::ServerBusy)?;
        let mode = match channel.kind {
            ChannelKind::Queue => "client-individual",
            ChannelKind::Topic => "auto",
        };
        let first = FirstUse::Subscribe(destination(channel), mode);
        Ok(Receiver {
            connection: self.pool.open(&first).await?,
            _permit: permit,
        })
    }

    /// Ends a subscription. What was delivered and not acknowledged can be delivered again then.
    async fn end(&self, mut receiver: Receiver) -> Result<()> {
        self.pool.noted(receiver.connection.unsubscribe().await)?;
        self.pool.keep(receiver.connection);
        Ok(())
    }

    /// Gives back what was delivered and not acknowledged.
    async fn give_back(&self, receiver: Receiver) {
        if let Err(error) = self.end(receiver).await {
            // The broker delivers it again when it finds that the connection is closed.
            tracing::debug!(error = %chain(&error), "a subscription was not ended");
        }
    }

    /// Waits for a message that can be delivered. Others are removed, or put into the queue of dead letters of the broker.
    async fn next_delivery(
        &self,
        queue: &Channel,
        receiver: &mut Receiver,
    ) -> Result<(Message, String)> {
        loop {
            let frame = receiver.connection.next_message().await?;
            let acknowledgement = frame.header("ack").unwrap_or_default().to_owned();
            let refusal = match () {
                () if frame.is_cut => Some("it is larger than stream.message.maxBytes"),
                () if std::str::from_utf8(&frame.body).is_err() => Some("it is no text in UTF-8"),
                () => None,
            };
            let message = message_of(&frame);
            let verdict = match refusal {
                None if is_of_another(&frame, queue) || is_expired(&message, &*self.clock) => "ACK",
                None => return Ok((message, acknowledgement)),
                Some(reason) => {
                    let message_id = frame.header("message-id");
                    tracing::warn!(
                        queue = %queue.address, message.id = message_id, reason,
                        "a message of the broker was put into its queue of dead letters"
                    );
                    self.pool.note_set_aside();
                    "NACK"
                }
            };
            let verdict = Frame::new(verdict).with("id", acknowledgement);
            receiver.connection.request(vec![verdict]).await?;
        }
    }

    /// Takes a message from the hands of its receiver.
    fn take_held(&self, queue: &Channel, receipt: &str) -> Option<HeldMessage> {
        let mut deliveries = self.deliveries.lock();
        let is_of_queue = deliveries.get(receipt).is_some_and(|it| it.queue == *queue);
        is_of_queue.then(|| deliveries.remove(receipt)).flatten()
    }
}

#[async_trait]
impl MessageQueue for ActiveMqQueue {
    async fn send(&self, channel: &Channel, message: Message) -> Result<()> {
        let mut frame = Frame::new("SEND")
            .with("destination", destination(channel))
            .with("persistent", "true")
            .with("expires", message.expires_ms.to_string())
            .with("content-type", "text/plain;charset=utf-8")
            .with(COLLECTION, channel.collection.to_string())
            .with(FROM, message.from)
            .with(SENT, message.sent_ms.to_string());
        if !message.body.contains(&0) {
            // Other clients get a text. In one with the byte 0, the broker would lose what follows.
            frame.add("amq-msg-type", "text");
        }
        let _permit = self.sending.acquire().await;
        self.pool.send(vec![frame.body(message.body)]).await
    }

    async fn receive(&self, queue: &Channel, wait: Duration) -> Result<Option<Delivery>> {
        let mut receiver = self.subscribe_to(queue).await?;
        let receiving = self.next_delivery(queue, &mut receiver);
        let Ok(received) = timeout(wait.max(WAIT_MIN), receiving).await else {
            self.give_back(receiver).await;
            return Ok(None);
        };
        let (message, acknowledgement) = self.pool.noted(received)?;
        let receipt = self.random.uuid().simple().to_string();
        let held = HeldMessage {
            queue: queue.clone(),
            receiver,
            acknowledgement,
        };
        self.deliveries.lock().insert(receipt.clone(), held);
        Ok(Some(Delivery { message, receipt }))
    }

    async fn acknowledge(&self, queue: &Channel, receipt: &str) -> Result<bool> {
        let Some(mut held) = self.take_held(queue, receipt) else {
            return Ok(false);
        };
        let acknowledge = Frame::new("ACK").with("id", held.acknowledgement);
        let acknowledged = held.receiver.connection.request(vec![acknowledge]).await;
        if let Err(error) = self.pool.noted(acknowledged) {
            // The connection has ended, so the message is delivered again, or was removed.
            tracing::debug!(error = %chain(&error), "a message was not acknowledged");
            return Ok(false);
        }
        // The broker may have delivered the next message to the same subscription.
        self.give_back(held.receiver).await;
        Ok(true)
    }

    async fn release(&self, queue: &Channel, receipt: &str) -> Result<bool> {
        let Some(held) = self.take_held(queue, receipt) else {
            return Ok(false);
        };
        self.give_back(held.receiver).await;
        Ok(true)
    }

    async fn subscribe(
        &self,
        topic: &Channel,
        after: Option<&str>,
    ) -> Result<Box<dyn TopicSubscription>> {
        if after.is_some() {
            // The broker keeps no messages of topics.
            return Err(Code::MessagesMissed.into());
        }
        let receiver = self.subscribe_to(topic).await?;
        Ok(Box::new(BrokerSubscription {
            topic: topic.clone(),
            receiver,
            clock: Arc::clone(&self.clock),
        }))
    }
}

/// A subscription to a topic at the broker.
struct BrokerSubscription {
    topic: Channel,
    receiver: Receiver,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl TopicSubscription for BrokerSubscription {
    async fn next(&mut self) -> std::result::Result<TopicMessage, SubscriptionEnd> {
        loop {
            match self.receiver.connection.next_message().await {
                Ok(frame) => {
                    let message = message_of(&frame);
                    let is_of_another = is_of_another(&frame, &self.topic);
                    if !is_of_another && !is_expired(&message, &*self.clock) {
                        let position = String::new();
                        return Ok(TopicMessage { position, message });
                    }
                }
                // Whoever subscribes again has missed what was sent meanwhile.
                Err(_) => return Err(SubscriptionEnd::Missed),
            }
        }
    }

    fn position(&self) -> String {
        String::new()
    }
}

fn destination(channel: &Channel) -> String {
    format!("/{}/{}", channel.kind.as_str(), channel.address)
}
