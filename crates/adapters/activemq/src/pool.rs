//! Connections that are used one after the other, and what is known of their broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_types::error::chain;
use personium_types::{Clock, Code, Error, Result};

use crate::connection::{Connection, within};
use crate::frame::Frame;
use crate::settings::BrokerSettings;

/// The connections that wait for their next use.
const IDLE_MAX: usize = 64;
/// The time after which a connection is not used again: the broker may have closed it.
const IDLE_TIME: Duration = Duration::from_secs(20);

/// The state of a broker as its last operations showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerState {
    /// Whether the last operation failed.
    pub is_failing: bool,
    /// The number of operations that failed.
    pub errors: u64,
    /// The number of messages that were set aside.
    pub set_aside: u64,
}

/// The connections to a broker.
pub(crate) struct ConnectionPool {
    settings: BrokerSettings,
    clock: Arc<dyn Clock>,
    idle: Mutex<Vec<(Connection, Instant)>>,
    is_failing: AtomicBool,
    errors: AtomicU64,
    set_aside: AtomicU64,
}

/// The first use of a connection.
pub(crate) enum FirstUse {
    /// These frames are sent.
    Send(Vec<Frame>),
    /// A subscription to a destination, with a mode of acknowledgement.
    Subscribe(String, &'static str),
}

impl FirstUse {
    async fn of(&self, connection: &mut Connection) -> Result<()> {
        match self {
            Self::Send(frames) => connection.request(frames.clone()).await,
            Self::Subscribe(destination, mode) => connection.subscribe(destination, mode).await,
        }
    }
}

impl ConnectionPool {
    pub(crate) fn new(settings: BrokerSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            idle: Mutex::default(),
            is_failing: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
        }
    }

    /// Uses a connection: one that waited, or a new one if there is none, or if that has ended meanwhile. So it may be used for the
    /// same twice.
    ///
    /// # Errors
    /// [`Code::BrokerDown`], within the time-out of the settings.
    pub(crate) async fn open(&self, first: &FirstUse) -> Result<Connection> {
        let opening = within(self.settings.timeout, async {
            if let Some(mut connection) = self.take_idle()
                && first.of(&mut connection).await.is_ok()
            {
                return Ok(connection);
            }
            let mut connection = Connection::open(&self.settings).await?;
            first.of(&mut connection).await?;
            Ok(connection)
        });
        self.noted(opening.await)
    }

    /// Connects, and returns what the broker says about itself.
    ///
    /// # Errors
    /// [`Code::BrokerDown`]
    pub(crate) async fn check(&self) -> Result<String> {
        let opened = within(self.settings.timeout, Connection::open(&self.settings)).await?;
        Ok(format!("{} is {}", self.addresses(), opened.server))
    }

    /// Sends frames, and waits until the broker has processed them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn send(&self, frames: Vec<Frame>) -> Result<()> {
        let connection = self.open(&FirstUse::Send(frames)).await?;
        self.keep(connection);
        Ok(())
    }

    fn take_idle(&self) -> Option<Connection> {
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| now.saturating_duration_since(*since) < IDLE_TIME);
        idle.pop().map(|(connection, _)| connection)
    }

    /// Keeps a connection without a subscription for its next use.
    pub(crate) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push((connection, self.clock.monotonic()));
        }
    }

    /// Notes and returns the result of an operation.
    pub(crate) fn noted<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(broker = %self.addresses(), "the message broker is there again");
                }
            }
            Err(error) if error.code() == Code::BrokerDown => self.note_failure(error),
            Err(_) => {}
        }
        result
    }

    fn note_failure(&self, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        // A broken connection may be all that failed; the others are not used any more.
        self.idle.lock().clear();
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(broker = %self.addresses(), error = %chain(error), "the message broker failed");
        }
    }

    /// Counts a message that was set aside.
    pub(crate) fn note_set_aside(&self) {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
    }

    /// The state of the broker.
    pub(crate) fn state(&self) -> BrokerState {
        BrokerState {
            is_failing: self.is_failing.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            set_aside: self.set_aside.load(Ordering::Relaxed),
        }
    }

    /// Its addresses, for people.
    pub(crate) fn addresses(&self) -> String {
        let shown: Vec<String> = self
            .settings
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        shown.join(",")
    }
}
