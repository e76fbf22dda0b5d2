//! Events for other systems: from a unit through an ActiveMQ broker to a subscriber, and the same messages of a bare client.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_testkit::ActiveMq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::EventsBench;
use super::arrivals::{self, ArrivedEvents};
use super::posting::post_events;
use crate::BenchResult;
use crate::load::{self, Measurement};
use crate::unit::{BenchCell, BenchUnit, UnitSetup};

/// The program of the broker.
const BROKER: &str = "/usr/share/activemq/bin/activemq.jar";
/// The messages that the bare client sends before it waits for their receipts: as many as a unit publishes at once.
const BATCH: u64 = 32;
/// The part of the events after which the rate is known: how many were posted during the warm-up is not.
pub(super) const MEASURED_PART: f64 = 0.9;
/// The number of events that may wait: more than are posted.
const WAITING_MAX: u32 = 10_000_000;
const CELL: &str = "bus";
/// The size of the pieces in which a connection is read.
const PIECE_BYTES: usize = 64 << 10;

/// A broker as the settings of a unit name it.
pub(super) struct Bus {
    /// Its kind.
    pub(super) name: &'static str,
    /// Its address.
    pub(super) address: String,
}

impl Bus {
    /// The topic that the unit publishes to.
    pub(super) const TOPIC: &str = "bench";
    /// The connections that post events.
    pub(super) const CONNECTIONS: usize = 32;
}

impl EventsBench<'_> {
    /// Starts a unit that publishes its events, with a cell.
    pub(super) async fn unit_with(&self, bus: &Bus) -> BenchResult<(BenchUnit, BenchCell)> {
        let settings = format!(
            "io.personium.core.eventbus.mq={}\nio.personium.core.eventbus.broker={}\n\
             io.personium.core.eventbus.topic.all={}\nio.personium.core.eventbus.broker.timeoutInSec=2\n\
             io.personium.core.eventbus.waiting.max={WAITING_MAX}\n",
            bus.name,
            bus.address,
            Bus::TOPIC
        );
        let mut unit = BenchUnit::start_with(UnitSetup {
            program: &self.context.options.server,
            folder: &self.context.scratch.join(format!("{}-unit", bus.name)),
            host: "localhost",
            settings: &settings,
        })
        .await?;
        let cell = unit.create_cell(CELL).await?;
        unit.grant_events(CELL).await?;
        Ok((unit, cell))
    }

    /// Posts events, which wait while the broker is stuck.
    pub(super) async fn post_waiting(
        &self,
        unit: &BenchUnit,
        cell: &BenchCell,
    ) -> BenchResult<Measurement> {
        let profile = self.context.profile(Bus::CONNECTIONS);
        load::run(unit.target(), profile, &post_events(cell, None)).await
    }

    /// Measures how fast events that wait for a broker reach a subscriber of it, and as many messages of a bare client.
    pub(super) async fn broker(&mut self) -> BenchResult {
        if !Path::new(BROKER).exists() {
            let note = "not compared with a broker: ActiveMQ is not installed";
            self.section.note(note);
            return Ok(());
        }
        let broker = ActiveMq::start();
        let bus = Bus {
            name: "activemq",
            address: broker.url(),
        };
        let (unit, cell) = self.unit_with(&bus).await?;
        let address = broker.url().replace("tcp://", "");
        let subscriber = Subscriber::start(&address).await?;
        // The events wait until all were posted.
        broker.pause();
        let posted = self.post_waiting(&unit, &cell).await?;
        broker.resume();
        let seconds = self.context.profile(Bus::CONNECTIONS).duration;
        let due = posted.per_second * seconds.as_secs_f64();
        let published = arrivals::rate(&subscriber, due * MEASURED_PART).await?;
        let message = subscriber.last.lock().clone();
        drop((subscriber, unit));
        let bare = bare_rate(&address, &message, seconds).await?;
        self.section
            .measured("events of 1 KB while the broker is away", posted);
        self.section
            .measured_rate("those events of one cell to a subscriber", published);
        let name = format!("baseline: bare STOMP client, {BATCH} of those messages at once");
        self.section.measured_rate(name, bare);
        self.section.note(format!(
            "events of one cell pass the broker at {:.2} times the rate of its own",
            published / bare
        ));
        Ok(())
    }
}

/// A connection to the broker.
struct StompConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl StompConnection {
    async fn open(address: &str) -> BenchResult<Self> {
        let stream = TcpStream::connect(address).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let mut connection = Self {
            stream,
            received: Vec::new(),
        };
        let connect = "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0";
        connection.send(connect.as_bytes()).await?;
        connection.next_frame().await?;
        Ok(connection)
    }

    async fn send(&mut self, bytes: &[u8]) -> BenchResult {
        self.stream.write_all(bytes).await.map_err(broken)
    }

    /// Waits for the next frame: its text without the zero byte at the end. Nothing here has one in its body.
    async fn next_frame(&mut self) -> BenchResult<Vec<u8>> {
        let mut searched = 0;
        loop {
            let unread = self.received.get(searched..).unwrap_or_default();
            if let Some(end) = unread.iter().position(|byte| *byte == 0) {
                let mut frame: Vec<u8> = self.received.drain(..=searched + end).collect();
                frame.pop();
                return match frame.trim_ascii_start().starts_with(b"ERROR") {
                    false => Ok(frame),
                    true => Err(format!(
                        "the broker refused: {}",
                        String::from_utf8_lossy(&frame)
                    )),
                };
            }
            searched = self.received.len();
            self.received.reserve(PIECE_BYTES);
            let read = self.stream.read_buf(&mut self.received).await;
            // As a unit does: the broker delays what it sends until the last packet is acknowledged.
            #[cfg(target_os = "linux")]
            let _ = self.stream.set_quickack(true);
            match read {
                Ok(0) => return Err("the broker closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

fn broken(error: std::io::Error) -> String {
    format!("the broker cannot be reached: {error}")
}

/// A subscriber of the topic, which counts messages. Dropping it ends its connection.
struct Subscriber {
    count: Arc<AtomicU64>,
    /// The last message that came.
    last: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscriber {
    async fn start(address: &str) -> BenchResult<Self> {
        let mut connection = StompConnection::open(address).await?;
        let subscribe = format!(
            "SUBSCRIBE\nid:1\ndestination:/topic/{}\nack:auto\nreceipt:subscribed\n\n\0",
            Bus::TOPIC
        );
        connection.send(subscribe.as_bytes()).await?;
        connection.next_frame().await?;
        let (count, last) = (
            Arc::<AtomicU64>::default(),
            Arc::<Mutex<Vec<u8>>>::default(),
        );
        let (counted, kept) = (Arc::clone(&count), Arc::clone(&last));
        let task = tokio::spawn(async move {
            while let Ok(frame) = connection.next_frame().await {
                *kept.lock() = frame;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self { count, last, task })
    }
}

impl ArrivedEvents for Subscriber {
    fn count(&self) -> f64 {
        self.count.load(Ordering::Relaxed) as f64
    }

    fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

/// Sends copies of a message for some time, and waits until a subscriber has them. Returns their number per second.
async fn bare_rate(address: &str, message: &[u8], duration: Duration) -> BenchResult<f64> {
    let frame = copy_of(message)?;
    let subscriber = Subscriber::start(address).await?;
    let mut sender = StompConnection::open(address).await?;
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < duration {
        let mut frames = String::new();
        for _ in 0..BATCH {
            sent += 1;
            frames.push_str(&format!("SEND\nreceipt:{sent}\n{frame}\0"));
        }
        sender.send(frames.as_bytes()).await?;
        for _ in 0..BATCH {
            sender.next_frame().await?;
        }
    }
    let (end, count) = arrivals::wait_until_more(&subscriber, sent as f64 - 1.0).await?;
    Ok(count / end.duration_since(start).as_secs_f64())
}

/// The frame that sends a message as it came, without its first line: with the headers that its sender gave it.
fn copy_of(message: &[u8]) -> BenchResult<String> {
    let text = String::from_utf8_lossy(message);
    let (head, body) = text
        .split_once("\n\n")
        .ok_or("a message of the broker has no end of its headers")?;
    let is_own = |line: &&str| {
        [
            "message-id:",
            "subscription:",
            "timestamp:",
            "expires:",
            "priority:",
        ]
        .iter()
        .all(|name| !line.starts_with(name))
    };
    let headers: Vec<&str> = head.trim_start().lines().skip(1).filter(is_own).collect();
    let is_text = headers.iter().any(|line| line.starts_with("amq-msg-type:"));
    let kind = if is_text { "" } else { "amq-msg-type:text\n" };
    Ok(format!("{kind}{}\n\n{body}", headers.join("\n")))
}
