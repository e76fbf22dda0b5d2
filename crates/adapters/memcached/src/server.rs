//! One server: a bounded number of connections, a time-out for each call, and a circuit breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use personium_types::Clock;
use personium_types::error::chain;
use tokio::sync::Semaphore;

use crate::breaker::CircuitBreaker;
use crate::connection::{Answer, Connection, ConnectionError};
use crate::protocol::Command;

/// A call that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server failed lately and is not tried.
    #[error("memcached at {0} is skipped, because it failed")]
    Skipped(String),
    /// The server took too long.
    #[error("memcached at {0} did not answer in time")]
    TooSlow(String),
    /// The call failed.
    #[error("memcached at {address} failed")]
    Failed {
        /// The server.
        address: String,
        /// The cause.
        source: ConnectionError,
    },
}

/// The state of a server, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// The server, as `host:port`.
    pub address: String,
    /// The number of calls that failed or took too long.
    pub errors: u64,
    /// The number of calls that were not made, because the server was skipped.
    pub skipped: u64,
    /// Whether it is skipped now.
    pub is_skipped: bool,
}

/// A server with its connections.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// One permit for each connection in use.
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    breaker: Mutex<CircuitBreaker>,
    errors: AtomicU64,
    skipped: AtomicU64,
}

impl Server {
    /// A server with at most `connections_max` connections.
    pub fn new(
        address: String,
        timeout: Duration,
        connections_max: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            address,
            timeout,
            clock,
            permits: Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)),
            idle: Mutex::default(),
            breaker: Mutex::default(),
            errors: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Its state, for operators.
    pub fn state(&self) -> ServerState {
        ServerState {
            address: self.address.clone(),
            errors: self.errors.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            is_skipped: self.breaker.lock().is_open(self.clock.monotonic()),
        }
    }

    /// Executes a command, unless the server is skipped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, name: &str, command: &Command<'_>) -> Result<Answer, CallError> {
        let begun = self.clock.monotonic();
        if !self.breaker.lock().permits(begun) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return Err(CallError::Skipped(self.address.clone()));
        }
        // A time-out drops the connection in use, which closes it.
        let called = tokio::time::timeout(self.timeout, self.exchange(name, command)).await;
        let error = match called {
            Ok(Ok(answer)) => {
                if self.breaker.lock().succeed() {
                    tracing::info!(cache.server = self.address, "memcached answers again");
                }
                return Ok(answer);
            }
            Ok(Err(source)) => CallError::Failed {
                address: self.address.clone(),
                source,
            },
            Err(_) => CallError::TooSlow(self.address.clone()),
        };
        self.errors.fetch_add(1, Ordering::Relaxed);
        let is_first = self.breaker.lock().fail(begun, self.clock.monotonic());
        if is_first {
            tracing::warn!(
                cache.server = self.address,
                error = %chain(&error),
                "memcached failed, continuing without it until it answers again"
            );
        }
        Err(error)
    }

    async fn exchange(&self, name: &str, command: &Command<'_>) -> Result<Answer, ConnectionError> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(ConnectionError::Closed);
        };
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        let answer = connection.exchange(name, command).await?;
        self.idle.lock().push(connection);
        Ok(answer)
    }

    /// A connection that is not in use and that the server has not closed.
    fn take_idle(&self) -> Option<Connection> {
        loop {
            let connection = self.idle.lock().pop()?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }
}
