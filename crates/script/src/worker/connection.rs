//! The end of the socket in the unit.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use personium_types::ScriptLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::WORKER_ARGUMENT;
use super::frame::{self, HEAD_BYTES};
use super::message::{UnitMessage, WorkerLimits, WorkerMessage};

/// This program, also if its file was replaced.
const PROGRAM: &str = "/proc/self/exe";
/// The time for a worker to start, or to take a script.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for a worker whose connection has ended to end itself.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A worker. It is killed when this is dropped.
pub(super) struct Connection {
    child: Child,
    stream: UnixStream,
    /// Tells the worker by its end that the unit is gone.
    _unit: StdStream,
    /// The largest message, and the most bytes with one.
    max_bytes: usize,
    /// The number of scripts that it has run.
    pub(super) runs: u32,
}

impl Connection {
    /// Starts a worker, and waits until it is isolated.
    ///
    /// # Errors
    /// The system refuses; the worker cannot be isolated.
    pub(super) async fn start(limits: &ScriptLimits) -> io::Result<Self> {
        let (stream, of_worker) = StdStream::pair()?;
        let (unit, watched) = StdStream::pair()?;
        stream.set_nonblocking(true)?;
        let child = Command::new(PROGRAM)
            .arg(WORKER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(of_worker))
            .stdout(OwnedFd::from(watched))
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut worker = Self {
            child,
            stream: UnixStream::from_std(stream)?,
            _unit: unit,
            max_bytes: limits.memory_max_bytes,
            runs: 0,
        };
        let setup = UnitMessage::Setup(WorkerLimits {
            timeout_ms: u64::try_from(limits.timeout.as_millis()).unwrap_or(u64::MAX),
            memory_max_bytes: limits.memory_max_bytes,
            stack_max_bytes: limits.stack_max_bytes,
            output_max_bytes: limits.output_max_bytes,
            calls_max: limits.calls_max,
        });
        match worker.exchange(&setup, &[]).await? {
            WorkerMessage::Ready => Ok(worker),
            other => Err(io::Error::other(format!("the worker says {other:?}"))),
        }
    }

    /// Gives it a script. When this returns, the script has begun.
    ///
    /// # Errors
    /// The worker is gone: the script has not begun.
    pub(super) async fn begin(&mut self, run: &UnitMessage, source: &[u8]) -> io::Result<()> {
        self.runs += 1;
        match self.exchange(run, source).await? {
            WorkerMessage::Started => Ok(()),
            other => Err(io::Error::other(format!("the worker says {other:?}"))),
        }
    }

    async fn exchange(&mut self, message: &UnitMessage, bytes: &[u8]) -> io::Result<WorkerMessage> {
        let exchange = async {
            self.send(message, bytes).await?;
            Ok(self.receive().await?.0)
        };
        let exchanged = tokio::time::timeout(START_TIMEOUT, exchange).await;
        exchanged.map_err(io::Error::other)?
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The worker is gone.
    pub(super) async fn send(&mut self, message: &UnitMessage, bytes: &[u8]) -> io::Result<()> {
        let head = frame::encode(message, bytes.len())?;
        self.stream.write_all(&head).await?;
        self.stream.write_all(bytes).await
    }

    /// The next message, with its bytes.
    ///
    /// # Errors
    /// The worker is gone, or sends something else.
    pub(super) async fn receive(&mut self) -> io::Result<(WorkerMessage, Bytes)> {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head).await?;
        let (message, bytes) = frame::lengths(head, self.max_bytes)?;
        let mut body = vec![0; message + bytes];
        self.stream.read_exact(&mut body).await?;
        frame::decode(body, message)
    }

    /// Why the worker has ended, in words.
    pub(super) async fn last_words(mut self) -> String {
        match tokio::time::timeout(EXIT_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "killed".to_owned(),
        }
    }
}
