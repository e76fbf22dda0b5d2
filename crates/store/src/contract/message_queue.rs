//! The contract of [`MessageQueue`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_types::Code;
use tokio::time::timeout;

use crate::{Channel, ChannelKind, Delivery, Message, MessageQueue, TopicSubscription};

/// The time for which a receiver waits where a message must come.
const LONG: Duration = Duration::from_secs(30);
/// The time for which a receiver waits where none may come.
const SHORT: Duration = Duration::from_millis(200);
/// The time for which messages are kept, milliseconds.
const KEPT_MS: i64 = 3_600_000;
/// The time for which a message is kept that nobody gets.
const SHORTLY_KEPT: Duration = Duration::from_secs(1);

/// Checks the contract of [`MessageQueue`] with two ports over the same data, as two server nodes have them. `channel` makes one that
/// nobody has used; `now_ms` is the time of the ports.
///
/// # Panics
/// If the ports break the contract.
pub async fn message_queue(
    [one, other]: [Arc<dyn MessageQueue>; 2],
    channel: impl Fn(ChannelKind, &str) -> Channel,
    now_ms: impl Fn() -> i64,
) {
    let queue = |name: &str| channel(ChannelKind::Queue, name);
    let message = |body: &str| Message {
        from: "https://unit.example/c/".to_owned(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        sent_ms: now_ms(),
        expires_ms: now_ms() + KEPT_MS,
    };
    let ports = Ports { one, other };
    ports.in_order(&queue("in-order"), &message).await;
    ports.again(&queue("again"), &message).await;
    ports.once(&queue("once"), &message).await;
    ports.waits(&queue("waits"), &message).await;
    ports.expires(&queue("expires"), &message, now_ms()).await;
    ports.apart(&queue("a"), &queue("b"), &message).await;
    let topic = channel(ChannelKind::Topic, "in-order");
    ports.topics(&topic, &message).await;
}

/// Checks what [`MessageQueue`] keeps when the process with a port dies, or the broker behind it. `crash` lets it die and returns a port
/// over the same data.
///
/// # Panics
/// If the ports break the contract.
pub async fn message_queue_after_crash(
    port: Arc<dyn MessageQueue>,
    channel: impl Fn(ChannelKind, &str) -> Channel,
    now_ms: impl Fn() -> i64,
    crash: impl AsyncFnOnce(Arc<dyn MessageQueue>) -> Arc<dyn MessageQueue>,
) {
    let (queue, short) = (
        channel(ChannelKind::Queue, "crash"),
        channel(ChannelKind::Queue, "short"),
    );
    let topic = channel(ChannelKind::Topic, "crash");
    let message = |body: &'static str, kept_ms: i64| Message {
        from: "https://unit.example/c/".to_owned(),
        body: Bytes::from_static(body.as_bytes()),
        sent_ms: now_ms(),
        expires_ms: now_ms() + kept_ms,
    };
    for body in ["1", "2", "3", "4"] {
        port.send(&queue, message(body, KEPT_MS)).await.unwrap();
    }
    let held = next(&*port, &queue).await;
    let done = next(&*port, &queue).await;
    assert!(port.acknowledge(&queue, &done.receipt).await.unwrap());
    let kept_ms = i64::try_from(SHORTLY_KEPT.as_millis()).unwrap();
    port.send(&short, message("short", kept_ms)).await.unwrap();
    let mut subscription = port.subscribe(&topic, None).await.unwrap();
    port.send(&topic, message("a", KEPT_MS)).await.unwrap();
    assert_eq!(received(&mut *subscription, 1).await, ["a"]);
    let position = subscription.position();
    port.send(&topic, message("b", KEPT_MS)).await.unwrap();
    drop(subscription);

    let port = crash(port).await;
    // What the dead process had delivered comes again. Others may come before it, as long as nobody knows of its death.
    let mut again = Vec::new();
    while again.len() < 3 {
        let delivery = next(&*port, &queue).await;
        if delivery.message.body == held.message.body {
            assert_eq!(delivery.message, held.message);
            assert!(!port.acknowledge(&queue, &held.receipt).await.unwrap());
            assert!(!port.release(&queue, &held.receipt).await.unwrap());
        }
        assert!(port.acknowledge(&queue, &delivery.receipt).await.unwrap());
        again.push(delivery.message.body);
    }
    let others = again.iter().filter(|body| **body != held.message.body);
    assert_eq!(others.collect::<Vec<_>>(), ["3", "4"], "{again:?}");
    nothing(&*port, &queue).await;
    tokio::time::sleep(SHORTLY_KEPT).await;
    nothing(&*port, &short).await;

    let resumed = port.subscribe(&topic, Some(&position)).await;
    if position.is_empty() {
        let missed = resumed.err().map(|error| error.code());
        assert_eq!(missed, Some(Code::MessagesMissed));
    } else {
        assert_eq!(received(&mut *resumed.unwrap(), 1).await, ["b"]);
    }
    let mut subscription = port.subscribe(&topic, None).await.unwrap();
    port.send(&topic, message("c", KEPT_MS)).await.unwrap();
    assert_eq!(received(&mut *subscription, 1).await, ["c"]);
}

struct Ports {
    one: Arc<dyn MessageQueue>,
    other: Arc<dyn MessageQueue>,
}

async fn next(port: &dyn MessageQueue, queue: &Channel) -> Delivery {
    let delivery = port.receive(queue, LONG).await.unwrap();
    delivery.unwrap_or_else(|| panic!("no message in {}", queue.name))
}

async fn nothing(port: &dyn MessageQueue, queue: &Channel) {
    let delivery = port.receive(queue, SHORT).await.unwrap();
    assert_eq!(delivery, None, "{}", queue.name);
}

impl Ports {
    fn each(&self, number: usize) -> &Arc<dyn MessageQueue> {
        match number % 2 {
            0 => &self.one,
            _ => &self.other,
        }
    }

    /// Messages come in the order in which they were sent, whichever node sends and receives.
    async fn in_order(&self, queue: &Channel, message: &impl Fn(&str) -> Message) {
        nothing(&*self.one, queue).await;
        let sent: Vec<Message> = (0..20).map(|n| message(&format!("é {n}"))).collect();
        for (number, message) in sent.iter().enumerate() {
            let sender = self.each(number);
            sender.send(queue, message.clone()).await.unwrap();
        }
        for (number, message) in sent.iter().enumerate() {
            let receiver = self.each(number / 3);
            let delivery = next(&**receiver, queue).await;
            assert_eq!(delivery.message.body, message.body);
            assert_eq!(delivery.message.from, message.from);
            let receipt = &delivery.receipt;
            assert!(receiver.acknowledge(queue, receipt).await.unwrap());
            assert!(!receiver.acknowledge(queue, receipt).await.unwrap());
            assert!(!receiver.release(queue, receipt).await.unwrap());
        }
        nothing(&*self.other, queue).await;
    }

    /// A message that is not acknowledged is delivered again, before those after it.
    async fn again(&self, queue: &Channel, message: &impl Fn(&str) -> Message) {
        for body in ["1", "2"] {
            self.one.send(queue, message(body)).await.unwrap();
        }
        let first = next(&*self.one, queue).await;
        assert_eq!(&first.message.body[..], b"1");
        assert!(self.one.release(queue, &first.receipt).await.unwrap());
        let again = next(&*self.other, queue).await;
        assert_eq!(&again.message.body[..], b"1");
        assert_ne!(again.receipt, first.receipt);
        // That delivery is over.
        assert!(!self.one.acknowledge(queue, &first.receipt).await.unwrap());
        let second = next(&*self.one, queue).await;
        assert_eq!(&second.message.body[..], b"2");
        assert!(self.other.acknowledge(queue, &again.receipt).await.unwrap());
        assert!(self.one.acknowledge(queue, &second.receipt).await.unwrap());
        for receipt in ["", "x", "1-2", "é", &"9".repeat(1_000)] {
            assert!(!self.one.acknowledge(queue, receipt).await.unwrap());
            assert!(!self.one.release(queue, receipt).await.unwrap());
        }
        nothing(&*self.one, queue).await;
    }

    /// Of many receivers at the same time, each message has one.
    async fn once(&self, queue: &Channel, message: &impl Fn(&str) -> Message) {
        const MESSAGES: usize = 60;
        for number in 0..MESSAGES {
            let sender = self.each(number);
            sender
                .send(queue, message(&number.to_string()))
                .await
                .unwrap();
        }
        let receivers = (0..6).map(|number| {
            let port = self.each(number);
            async move {
                let mut received = Vec::new();
                while let Some(delivery) = port.receive(queue, SHORT).await.unwrap() {
                    assert!(port.acknowledge(queue, &delivery.receipt).await.unwrap());
                    received.push(delivery.message.body);
                }
                received
            }
        });
        let received = futures_util::future::join_all(receivers).await;
        let all: Vec<Bytes> = received.into_iter().flatten().collect();
        let different: BTreeSet<&Bytes> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (MESSAGES, MESSAGES));
    }

    /// A receiver that waits gets what is sent meanwhile. One that is cancelled takes nothing along.
    async fn waits(&self, queue: &Channel, message: &impl Fn(&str) -> Message) {
        for round in 0..4 {
            let (receiver, sender) = (self.each(round), self.each(round / 2));
            let waiting = next(&**receiver, queue);
            let sending = async {
                tokio::time::sleep(SHORT).await;
                sender.send(queue, message("1")).await.unwrap();
            };
            let (delivery, ()) = tokio::join!(waiting, sending);
            let receipt = &delivery.receipt;
            assert!(receiver.acknowledge(queue, receipt).await.unwrap());
        }
        for _ in 0..10 {
            let cancelled = timeout(Duration::from_millis(1), self.one.receive(queue, LONG)).await;
            assert!(cancelled.is_err());
        }
        self.other.send(queue, message("2")).await.unwrap();
        let delivery = next(&*self.other, queue).await;
        let receipt = &delivery.receipt;
        assert!(self.other.acknowledge(queue, receipt).await.unwrap());
    }

    /// A message that has expired is not delivered.
    async fn expires(&self, queue: &Channel, message: &impl Fn(&str) -> Message, now_ms: i64) {
        let expired = Message {
            sent_ms: now_ms - 2_000,
            expires_ms: now_ms - 1_000,
            ..message("old")
        };
        self.one.send(queue, expired).await.unwrap();
        self.one.send(queue, message("new")).await.unwrap();
        let delivery = next(&*self.one, queue).await;
        assert_eq!(&delivery.message.body[..], b"new");
        assert!(
            self.one
                .acknowledge(queue, &delivery.receipt)
                .await
                .unwrap()
        );
        nothing(&*self.one, queue).await;
    }

    /// Queues have nothing to do with each other.
    async fn apart(&self, a: &Channel, b: &Channel, message: &impl Fn(&str) -> Message) {
        self.one.send(a, message("a")).await.unwrap();
        nothing(&*self.one, b).await;
        let delivery = next(&*self.one, a).await;
        assert!(!self.one.acknowledge(b, &delivery.receipt).await.unwrap());
        assert!(self.one.acknowledge(a, &delivery.receipt).await.unwrap());
    }

    /// Each subscriber of a topic, at any node, gets all that is sent after it has subscribed, in order.
    async fn topics(&self, topic: &Channel, message: &impl Fn(&str) -> Message) {
        const MESSAGES: usize = 50;
        let subscribe = async |port: &Arc<dyn MessageQueue>| {
            let subscription = port.subscribe(topic, None).await;
            subscription.unwrap()
        };
        self.one.send(topic, message("before")).await.unwrap();
        let mut subscriptions = vec![
            subscribe(&self.one).await,
            subscribe(&self.one).await,
            subscribe(&self.other).await,
        ];
        // Cancelled: nothing is lost.
        let waiting = subscriptions[0].next();
        assert!(timeout(SHORT, waiting).await.is_err());
        let bodies: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
        for (number, body) in bodies.iter().enumerate() {
            self.each(number).send(topic, message(body)).await.unwrap();
        }
        for subscription in &mut subscriptions {
            assert_eq!(received(&mut **subscription, MESSAGES).await, bodies);
        }
        drop(subscriptions.pop());
        self.other.send(topic, message("last")).await.unwrap();
        for subscription in &mut subscriptions {
            assert_eq!(received(&mut **subscription, 1).await, ["last"]);
        }
    }
}

async fn received(subscription: &mut dyn TopicSubscription, count: usize) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let message = timeout(LONG, subscription.next()).await.unwrap().unwrap();
        bodies.push(message.message.body);
    }
    bodies
}
