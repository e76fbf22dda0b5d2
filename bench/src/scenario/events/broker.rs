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
use super::posting::post_events;
use crate::BenchResult;
use crate::load;
use crate::unit::{BenchUnit, UnitSetup};

/// The program of the broker.
const BROKER: &str = "/usr/share/activemq/bin/activemq.jar";
const CONNECTIONS: usize = 32;
/// The messages that the bare client sends before it waits for their receipts: as many as a unit publishes at once.
const BATCH: u64 = 32;
/// The part of the events after which the rate is known: how many were posted during the warm-up is not.
const MEASURED_PART: f64 = 0.9;
/// The time within which they must have arrived.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(300);
/// The number of events that may wait: more than are posted.
const WAITING_MAX: u32 = 10_000_000;
const CELL: &str = "bus";
const TOPIC: &str = "bench";
/// The size of the pieces in which a connection is read.
const PIECE_BYTES: usize = 64 << 10;

impl EventsBench<'_> {
    /// Measures how fast events that wait for a broker reach a subscriber of it, and as many messages of a bare client.
    pub(super) async fn broker(&mut self) -> BenchResult {
        if !Path::new(BROKER).exists() {
            let note = "not compared with a broker: ActiveMQ is not installed";
            self.section.note(note);
            return Ok(());
        }
        let broker = ActiveMq::start();
        let settings = format!(
            "io.personium.core.eventbus.mq=activemq\nio.personium.core.eventbus.broker={}\n\
             io.personium.core.eventbus.topic.all={TOPIC}\nio.personium.core.eventbus.broker.timeoutInSec=2\n\
             io.personium.core.eventbus.waiting.max={WAITING_MAX}\n",
            broker.url()
        );
        let mut unit = BenchUnit::start_with(UnitSetup {
            program: &self.context.options.server,
            folder: &self.context.scratch.join("bus-unit"),
            host: "localhost",
            settings: &settings,
        })
        .await?;
        let cell = unit.create_cell(CELL).await?;
        unit.grant_events(CELL).await?;
        let address = broker.url().replace("tcp://", "");
        let subscriber = Subscriber::start(&address).await?;
        // The events wait until all were posted.
        broker.pause();
        let profile = self.context.profile(CONNECTIONS);
        let posted = load::run(unit.target(), profile, &post_events(&cell, None)).await?;
        broker.resume();
        let due = posted.per_second * profile.duration.as_secs_f64();
        let published = subscriber.rate(due * MEASURED_PART).await?;
        let message = subscriber.last.lock().clone();
        drop((subscriber, unit));
        let bare = bare_rate(&address, &message, profile.duration).await?;
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
            "SUBSCRIBE\nid:1\ndestination:/topic/{TOPIC}\nack:auto\nreceipt:subscribed\n\n\0"
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

    fn count(&self) -> f64 {
        self.count.load(Ordering::Relaxed) as f64
    }

    /// Waits until so many messages have come. Returns their number per second since the first one.
    async fn rate(&self, due: f64) -> BenchResult<f64> {
        let (begin, _) = self.wait_until_more(0.0).await?;
        let (end, count) = self.wait_until_more(due.max(BATCH as f64)).await?;
        Ok(count / end.duration_since(begin).as_secs_f64())
    }

    /// Waits until more messages than these have come. Returns the time, and their number.
    async fn wait_until_more(&self, than: f64) -> BenchResult<(Instant, f64)> {
        let start = Instant::now();
        loop {
            let (now, count) = (Instant::now(), self.count());
            if count > than {
                return Ok((now, count));
            }
            if self.task.is_finished() {
                return Err("the subscriber lost its connection".to_owned());
            }
            if now.duration_since(start) > ARRIVAL_LIMIT {
                return Err(format!("only {count} events have passed the broker"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
    let (end, count) = subscriber.wait_until_more(sent as f64 - 1.0).await?;
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
