//! A connection to the broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use personium_types::{Code, Error, Result};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::frame::{Frame, FrameReader};
use crate::prompt_stream::PromptStream;
use crate::settings::{BrokerAddress, BrokerSettings};

/// The time between two signs of life of the broker that is asked for, milliseconds.
const HEART_BEAT_MS: u64 = 10_000;
/// The time without a sign of life after which the broker is dead.
const SILENCE: Duration = Duration::from_secs(30);
/// The largest size of messages that wait while an answer is waited for, bytes, unless one message may be larger. The broker delivers one
/// message at a time, of a topic as many as there are.
const WAITING_MAX_BYTES: usize = 16 << 20;
/// The beginning of what an OpenWire connector sends, after a length of four bytes and the type of the message.
const OPENWIRE: &[u8] = b"ActiveMQ";

/// The bytes to and from the broker, over TCP or TLS.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Parts of the reasons for which the broker refuses whatever comes until there is space. Those of its limits name a page about them.
const LACK_OF_SPACE: [&str; 2] = ["producer-flow-control", "No space left on device"];

/// An error frame: the broker has refused what it was sent last, and closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the broker says: {0}")]
pub(crate) struct BrokerRefusal(String);

impl BrokerRefusal {
    /// Whether the broker had no space for anything: a limit of `systemUsage` whose `sendFailIfNoSpace` is set, or a full disk.
    pub(crate) fn is_for_lack_of_space(&self) -> bool {
        let Self(reason) = self;
        LACK_OF_SPACE.iter().any(|text| reason.contains(text))
    }
}

/// A connection that is logged in.
pub(crate) struct Connection {
    /// The name and version that the broker gives itself.
    pub(crate) server: String,
    stream: Box<dyn ByteStream>,
    reader: FrameReader,
    timeout: Duration,
    /// Messages that came while an answer was waited for.
    messages: VecDeque<Frame>,
    /// The size of these messages, bytes, and the largest that it may be.
    waiting_bytes: usize,
    waiting_max_bytes: usize,
    requests: u64,
    /// The number of the subscription: a connection has one at a time.
    subscription: u64,
}

impl Connection {
    /// Connects to the first address that accepts it, and logs in.
    ///
    /// # Errors
    /// [`Code::BrokerDown`]
    pub(crate) async fn open(broker: &BrokerSettings) -> Result<Self> {
        let mut failure = broken("there is no address");
        let count = u32::try_from(broker.addresses.len()).unwrap_or(u32::MAX);
        // A silent address must not use the time of all others.
        let share = broker.timeout / count.max(1);
        for address in &broker.addresses {
            match within(share, Self::open_to(broker, address)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn open_to(broker: &BrokerSettings, address: &BrokerAddress) -> Result<Self> {
        let mut connection = Self {
            server: String::new(),
            stream: connect(broker, address).await?,
            reader: FrameReader::new(broker.message_max_bytes),
            timeout: broker.timeout,
            messages: VecDeque::new(),
            waiting_bytes: 0,
            waiting_max_bytes: WAITING_MAX_BYTES.max(broker.message_max_bytes.saturating_mul(2)),
            requests: 0,
            subscription: 0,
        };
        let mut connect = Frame::new("CONNECT")
            .with("accept-version", "1.2")
            .with("host", address.host.as_str())
            .with("heart-beat", format!("0,{HEART_BEAT_MS}"));
        if let Some((user, password)) = &broker.credentials {
            connect = connect
                .with("login", user.as_str())
                .with("passcode", password.reveal().as_str());
        }
        connection.write(&[connect]).await?;
        let answer = connection.read().await?;
        match answer.command.as_str() {
            "CONNECTED" => {
                let server = answer.header("server").unwrap_or("a STOMP server");
                server.clone_into(&mut connection.server);
                Ok(connection)
            }
            _ => Err(refused(&answer)),
        }
    }

    /// Sends frames and waits until the broker has processed all of them.
    ///
    /// # Errors
    /// [`Code::BrokerDown`], with [`BrokerRefusal`] as its source if the broker has refused one; then the connection must not be used
    /// any more.
    pub(crate) async fn request(&mut self, mut frames: Vec<Frame>) -> Result<()> {
        // Each has a receipt: without one, the broker may not have stored a message when it answers the next.
        for frame in &mut frames {
            self.requests += 1;
            frame.add("receipt", self.requests.to_string());
        }
        let last = self.requests.to_string();
        let limit = self.timeout;
        let requesting = async {
            self.write(&frames).await?;
            loop {
                let answer = self.read().await?;
                match answer.command.as_str() {
                    // The broker answers in the order of the frames.
                    "RECEIPT" if answer.header("receipt-id") == Some(&last) => return Ok(()),
                    "RECEIPT" => {}
                    "MESSAGE" if self.is_expected(&answer) => self.keep_waiting(answer)?,
                    "MESSAGE" => {}
                    _ => return Err(refused(&answer)),
                }
            }
        };
        within(limit, requesting).await
    }

    /// Subscribes to a destination with a mode of acknowledgement. The connection has no other subscription.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub(crate) async fn subscribe(&mut self, destination: &str, mode: &str) -> Result<()> {
        self.subscription += 1;
        let mut frame = Frame::new("SUBSCRIBE")
            .with("id", self.subscription.to_string())
            .with("destination", destination)
            .with("ack", mode);
        if mode != "auto" {
            // The broker keeps all but one message for other receivers.
            frame.add("activemq.prefetchSize", "1");
        }
        self.request(vec![frame]).await
    }

    /// Ends the subscription. When it returns, the broker can deliver again what was not acknowledged.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub(crate) async fn unsubscribe(&mut self) -> Result<()> {
        let id = self.subscription.to_string();
        self.request(vec![Frame::new("UNSUBSCRIBE").with("id", id)])
            .await?;
        self.messages.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Whether a message is one of the present subscription, rather than of one that has ended.
    fn is_expected(&self, message: &Frame) -> bool {
        let of = message
            .header("subscription")
            .and_then(|it| it.parse::<u64>().ok());
        of == Some(self.subscription)
    }

    /// Keeps a message until somebody waits for it.
    fn keep_waiting(&mut self, message: Frame) -> Result<()> {
        self.waiting_bytes += message.size();
        self.messages.push_back(message);
        match self.waiting_bytes <= self.waiting_max_bytes {
            true => Ok(()),
            false => Err(broken("the broker sends messages instead of an answer")),
        }
    }

    /// Waits for the next message of the subscription. It may be cancelled; then the message comes with the next call.
    ///
    /// # Errors
    /// [`Code::BrokerDown`]; then the connection must not be used any more.
    pub(crate) async fn next_message(&mut self) -> Result<Frame> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                self.waiting_bytes -= message.size();
                return Ok(message);
            }
            let frame = self.read().await?;
            match frame.command.as_str() {
                "MESSAGE" if self.is_expected(&frame) => return Ok(frame),
                "MESSAGE" | "RECEIPT" => {}
                _ => return Err(refused(&frame)),
            }
        }
    }

    async fn write(&mut self, frames: &[Frame]) -> Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        self.stream.write_all(&bytes).await.map_err(down)?;
        self.stream.flush().await.map_err(down)
    }

    async fn read(&mut self) -> Result<Frame> {
        loop {
            let taken = self.reader.take();
            if let Some(frame) = taken.map_err(|_| self.no_frame())? {
                return Ok(frame);
            }
            let buffer = self.reader.buffer();
            match timeout(SILENCE, self.stream.read_buf(buffer)).await {
                Err(_) => return Err(broken("the broker is silent")),
                Ok(Ok(0)) => return Err(broken("the broker closed the connection")),
                Ok(read) => drop(read.map_err(down)?),
            }
        }
    }

    /// The error for bytes that are no frame.
    fn no_frame(&mut self) -> Error {
        let received = self.reader.buffer();
        broken(
            match received.get(5..).is_some_and(|it| it.starts_with(OPENWIRE)) {
                true => "the address is that of an OpenWire connector: a STOMP connector is needed",
                false => "the broker sent no STOMP frame",
            },
        )
    }
}

async fn connect(broker: &BrokerSettings, address: &BrokerAddress) -> Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = PromptStream::new(stream.map_err(down)?).map_err(down)?;
    if !address.is_encrypted {
        return Ok(Box::new(stream));
    }
    let tls = broker
        .tls
        .as_ref()
        .ok_or_else(|| broken("TLS is not set up"))?;
    let name = ServerName::try_from(address.host.clone()).map_err(down)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    Ok(Box::new(stream.await.map_err(down)?))
}

pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T>>,
) -> Result<T> {
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(broken("the broker does not answer")),
    }
}

fn down(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::BrokerDown).with_source(error)
}

fn broken(reason: &'static str) -> Error {
    Error::new(Code::BrokerDown).with_source(reason)
}

/// The error for an answer that refuses a frame.
fn refused(answer: &Frame) -> Error {
    let reason = answer.header("message").unwrap_or(&answer.command);
    Error::new(Code::BrokerDown).with_source(BrokerRefusal(reason.to_owned()))
}
