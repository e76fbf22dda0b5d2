//! ActiveMQ as the bus, read by another system over STOMP.

use std::time::Duration;

use personium_activemq::frame::{Frame, FrameReader};
use personium_testkit::{ActiveMq, OnFullStore, ProcessUnitBuilder};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::BusEvent;
use super::broker::{Broker, WAITING_MAX, published};
use super::full_broker::FullBroker;

const WAIT: Duration = Duration::from_secs(120);
/// The name of a topic that ActiveMQ gives to each consumer as a queue of its own.
pub(crate) const TOPIC: &str = "VirtualTopic.personium";
const CONSUMER: &str = "/queue/Consumer.test.VirtualTopic.personium";
/// The option by which the broker refuses large messages.
const LIMIT: &str = "?wireFormat.maxDataLength=32768";
/// The size of a store that becomes full.
const STORE_MIB: u32 = 4;

/// Another system: it reads the events from its queue.
pub(crate) struct Consumer {
    stream: TcpStream,
    reader: FrameReader,
}

impl Consumer {
    pub(crate) async fn connect(broker: &ActiveMq) -> Self {
        let address = broker.url().replace("tcp://", "");
        let mut consumer = Self {
            stream: TcpStream::connect(address).await.unwrap(),
            reader: FrameReader::new(1 << 20),
        };
        let connect = Frame::new("CONNECT").with("accept-version", "1.2");
        consumer.write(&connect.with("host", "localhost")).await;
        assert_eq!(consumer.read().await.unwrap().command, "CONNECTED");
        let subscribe = Frame::new("SUBSCRIBE").with("id", "1");
        let subscribe = subscribe.with("destination", CONSUMER).with("receipt", "1");
        // The broker keeps the group to itself; a selector sees it.
        let subscribe = subscribe.with("selector", "JMSXGroupID LIKE 'http%'");
        // What the broker has sent but nobody has read must come again after it was killed.
        consumer
            .write(&subscribe.with("ack", "client-individual"))
            .await;
        assert_eq!(consumer.read().await.unwrap().command, "RECEIPT");
        consumer
    }

    async fn write(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.encode()).await.unwrap();
    }

    /// The next frame; `None` if the broker is gone.
    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.take().unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(self.reader.buffer()).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next event, and its frame.
    pub(crate) async fn next(&mut self) -> (Value, Frame) {
        self.try_next().await.unwrap()
    }

    /// As [`Self::next`]; `None` if the broker is gone.
    async fn try_next(&mut self) -> Option<(Value, Frame)> {
        let frame = timeout(WAIT, self.read()).await.unwrap()?;
        assert_eq!(frame.command, "MESSAGE");
        let acknowledged = Frame::new("ACK").with("id", frame.header("ack").unwrap());
        // If the broker is gone, it sends it again.
        let _ = self.stream.write_all(&acknowledged.encode()).await;
        Some((serde_json::from_slice(&frame.body).unwrap(), frame))
    }
}

/// A broker, with a consumer.
pub(super) struct ActiveMqBus {
    broker: ActiveMq,
    consumer: Option<Consumer>,
}

impl ActiveMqBus {
    pub(super) fn start() -> Self {
        Self {
            broker: ActiveMq::start_with_options(LIMIT, ""),
            consumer: None,
        }
    }
}

impl ActiveMqBus {
    /// A broker whose store is full after a few large events.
    pub(super) fn with_small_store(on_full: OnFullStore) -> Self {
        Self {
            broker: ActiveMq::start_with_store_limit(STORE_MIB, on_full),
            consumer: None,
        }
    }
}

impl FullBroker for ActiveMqBus {
    /// Nobody consumes, so the broker must store.
    fn fill(&mut self) {
        self.consumer = None;
    }

    /// Whoever reads the next event consumes again.
    fn make_room(&mut self) {}
}

impl Broker for ActiveMqBus {
    fn configure(&self, unit: ProcessUnitBuilder) -> ProcessUnitBuilder {
        unit.setting("io.personium.core.eventbus.mq", "activemq")
            .setting("io.personium.core.eventbus.broker", self.broker.url())
            .setting("io.personium.core.eventbus.broker.timeoutInSec", 2)
            .setting("io.personium.core.eventbus.waiting.max", WAITING_MAX)
            .setting("io.personium.core.eventbus.topic.all", TOPIC)
    }

    async fn listen(&mut self) {
        self.consumer = Some(Consumer::connect(&self.broker).await);
    }

    async fn next(&mut self) -> BusEvent {
        loop {
            let mut consumer = match self.consumer.take() {
                Some(consumer) => consumer,
                None => Consumer::connect(&self.broker).await,
            };
            let Some((event, frame)) = consumer.try_next().await else {
                continue;
            };
            self.consumer = Some(consumer);
            for (header, member) in [
                ("personium-id", "Id"),
                ("personium-cell", "Cell"),
                ("personium-type", "Type"),
            ] {
                assert_eq!(frame.header(header).unwrap_or_default(), event[member]);
            }
            return published(&event);
        }
    }

    fn kill(&mut self) {
        self.broker.kill();
    }

    fn start_again(&mut self) {
        self.broker.start_again();
    }

    fn pause(&self) {
        self.broker.pause();
    }

    fn resume(&self) {
        self.broker.resume();
    }

    fn refusal(&self) -> &'static str {
        "length"
    }
}
