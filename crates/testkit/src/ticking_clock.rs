//! A clock for tests.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use personium_types::Clock;

/// The first time of a [`TickingClock`], milliseconds since 1970.
pub const CLOCK_START_MS: i64 = 1_700_000_000_000;

/// A clock that advances by one millisecond whenever it is read.
#[derive(Debug)]
pub struct TickingClock {
    start: Instant,
    elapsed_ms: AtomicI64,
    /// By how much the wall time was set back.
    set_back_ms: AtomicI64,
}

impl TickingClock {
    /// Lets time pass; returns the time that had passed before.
    pub fn advance(&self, ms: i64) -> i64 {
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst)
    }

    /// Sets the wall time back. The monotonic time goes on.
    pub fn set_back(&self, ms: i64) {
        self.set_back_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Default for TickingClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            elapsed_ms: AtomicI64::new(0),
            set_back_ms: AtomicI64::new(0),
        }
    }
}

impl Clock for TickingClock {
    fn now_ms(&self) -> i64 {
        CLOCK_START_MS + self.advance(1) - self.set_back_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Instant {
        self.start + Duration::from_millis(self.advance(1).unsigned_abs())
    }
}

/// The clock of one server node: it follows the time of the runtime, which tests can pause, and its wall time is wrong by a constant.
#[derive(Debug)]
pub struct NodeClock {
    start: tokio::time::Instant,
    wrong_by_ms: i64,
}

impl NodeClock {
    /// A clock whose wall time is ahead by so much.
    #[must_use]
    pub fn new(ahead_ms: i64) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            wrong_by_ms: ahead_ms,
        }
    }
}

impl Clock for NodeClock {
    fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        CLOCK_START_MS + elapsed + self.wrong_by_ms
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
