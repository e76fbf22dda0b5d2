//! The entries of the audit log that this process has not stored yet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use personium_types::Code;
use tokio::sync::oneshot;

use crate::audit_event::AuditEvent;

/// The outcome of storing an entry: its number.
pub(crate) type AuditOutcome = Result<u64, Code>;

/// The entries of this process that are not stored yet.
#[derive(Debug, Default)]
pub struct AuditLog {
    queue: Mutex<Vec<QueuedEntry>>,
    /// Held while entries are stored.
    pub(crate) writing: tokio::sync::Mutex<()>,
    leaves_out_requests: AtomicBool,
    lost: AtomicU64,
}

/// An entry that waits.
#[derive(Debug)]
pub(crate) struct QueuedEntry {
    pub(crate) event: AuditEvent,
    pub(crate) stored: oneshot::Sender<AuditOutcome>,
}

impl AuditLog {
    /// Leaves out the requests of this process: they are those of a command, which has an entry of its own.
    pub fn leave_out_requests(&self) {
        self.leaves_out_requests.store(true, Ordering::Relaxed);
    }

    /// Whether requests of this process have entries.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.leaves_out_requests.load(Ordering::Relaxed)
    }

    /// The number of entries that could not be stored since the start.
    #[must_use]
    pub fn lost_entries(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts entries that could not be stored.
    pub(crate) fn count_lost(&self, entries: usize) {
        self.lost.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// Adds an entry to those that wait. Returns where its outcome will be.
    pub(crate) fn add(&self, event: AuditEvent) -> oneshot::Receiver<AuditOutcome> {
        let (stored, outcome) = oneshot::channel();
        self.queue.lock().push(QueuedEntry { event, stored });
        outcome
    }

    /// Takes the next entries, so many at most.
    pub(crate) fn take(&self, max: usize) -> Vec<QueuedEntry> {
        let mut queue = self.queue.lock();
        let count = queue.len().min(max);
        queue.drain(..count).collect()
    }
}
