//! The state of the publishing of events, in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use personium_types::CellId;

/// The number of lost events between two warnings.
const WARN_AFTER: u64 = 1_000;

/// The numbers of events of this process that were published or not.
#[derive(Debug, Default)]
pub struct EventBus {
    published: AtomicU64,
    lost: AtomicU64,
    set_aside: AtomicU64,
    /// The events that wait, by the cells whose outbox this process owns, when they were last counted.
    waiting: Mutex<HashMap<CellId, u64>>,
}

/// The numbers of an [`EventBus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventBusCounts {
    /// Events that were published.
    pub published: u64,
    /// Events that were not stored for publishing, because too many waited.
    pub lost: u64,
    /// Events that were set aside, because the broker refused them.
    pub set_aside: u64,
    /// Events that wait.
    pub waiting: u64,
}

impl EventBus {
    /// The numbers.
    pub fn counts(&self) -> EventBusCounts {
        EventBusCounts {
            published: self.published.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            set_aside: self.set_aside.load(Ordering::Relaxed),
            waiting: self.waiting.lock().values().sum(),
        }
    }

    /// Notes how many events of a cell wait.
    pub fn set_waiting(&self, cell: CellId, count: u64) {
        let mut waiting = self.waiting.lock();
        match count {
            0 => waiting.remove(&cell),
            _ => waiting.insert(cell, count),
        };
    }

    /// Counts events that are not stored for publishing. Returns whether it is time for a warning.
    pub(crate) fn note_lost(&self, count: u64) -> bool {
        let before = self.lost.fetch_add(count, Ordering::Relaxed);
        before == 0 || before / WARN_AFTER != (before + count) / WARN_AFTER
    }

    /// Counts events that were published.
    pub(crate) fn note_published(&self, count: u64) {
        self.published.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts an event that was set aside.
    pub(crate) fn note_set_aside(&self) {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
    }
}
