//! The numbers of what waits in the outboxes that this process works on, and of what it has given up.

use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers of a process.
#[derive(Debug, Default)]
pub struct OutboxTotals {
    waiting_requests: AtomicU64,
    waiting_deliveries: AtomicU64,
    failed_requests: AtomicU64,
    skipped_requests: AtomicU64,
}

/// The numbers of [`OutboxTotals`] at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Requests of rules that wait, when they were last counted.
    pub waiting_requests: u64,
    /// Deliveries of messages that wait, when they were last counted.
    pub waiting_deliveries: u64,
    /// Requests of rules that were given up since the start.
    pub failed_requests: u64,
    /// Requests of rules since the start that the full outbox of their cell had no room for.
    pub skipped_requests: u64,
}

impl OutboxTotals {
    /// The numbers.
    #[must_use]
    pub fn counts(&self) -> OutboxCounts {
        OutboxCounts {
            waiting_requests: self.waiting_requests.load(Ordering::Relaxed),
            waiting_deliveries: self.waiting_deliveries.load(Ordering::Relaxed),
            failed_requests: self.failed_requests.load(Ordering::Relaxed),
            skipped_requests: self.skipped_requests.load(Ordering::Relaxed),
        }
    }

    /// Notes how many requests and deliveries wait.
    pub(crate) fn set_waiting(&self, requests: u64, deliveries: u64) {
        self.waiting_requests.store(requests, Ordering::Relaxed);
        self.waiting_deliveries.store(deliveries, Ordering::Relaxed);
    }

    /// Counts a request that was given up.
    pub(crate) fn note_failed_request(&self) {
        self.failed_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts requests that a full outbox had no room for.
    pub(crate) fn note_skipped_requests(&self, count: u64) {
        self.skipped_requests.fetch_add(count, Ordering::Relaxed);
    }
}
