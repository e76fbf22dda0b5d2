//! Clients of WebSockets that have not proved yet who they are: how many there may be, and what they may send.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory_budget::{MemoryBudget, Reservation};

/// The largest number of strangers of a process.
const STRANGERS_MAX: usize = 5_000;
/// The bytes that a stranger may send: a token, which others put into a header of a request.
const STRANGER_MAX_BYTES: usize = 64 << 10;
/// The bytes that each stranger may send whatever others do. Most tokens are smaller.
const OWN_BYTES: usize = 4 << 10;
/// The bytes that all strangers together may have sent beyond these.
const SHARED_BYTES: u64 = 8 << 20;

/// The strangers of a process.
#[derive(Debug)]
pub struct Strangers {
    places: Arc<Semaphore>,
    shared: MemoryBudget,
}

/// A stranger, until it is dropped.
#[derive(Debug)]
pub struct Stranger {
    all: Arc<Strangers>,
    _place: OwnedSemaphorePermit,
    sent_bytes: usize,
    shared: Reservation,
}

impl Default for Strangers {
    fn default() -> Self {
        Self::new(STRANGERS_MAX, SHARED_BYTES)
    }
}

impl Strangers {
    fn new(max: usize, shared_bytes: u64) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            shared: MemoryBudget::new(shared_bytes),
        }
    }

    /// One more stranger; `None` if there are too many.
    #[must_use]
    pub fn admit(self: &Arc<Self>) -> Option<Stranger> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Stranger {
            all: Arc::clone(self),
            _place: place,
            sent_bytes: 0,
            shared: Reservation::default(),
        })
    }
}

impl Stranger {
    /// Counts bytes that it has sent. `false` if they are too many for one, or for all together: then it is to be refused.
    #[must_use]
    pub fn count(&mut self, bytes: usize) -> bool {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
        let shared_bytes = self.sent_bytes.saturating_sub(OWN_BYTES);
        self.sent_bytes <= STRANGER_MAX_BYTES
            && self.all.shared.grow(&mut self.shared, shared_bytes).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_limited_in_number_and_what_each_sends() {
        let all = Arc::new(Strangers::new(2, 1 << 20));
        let mut first = all.admit().unwrap();
        let second = all.admit().unwrap();
        assert!(all.admit().is_none());
        drop(second);
        assert!(all.admit().is_some());
        assert!(first.count(STRANGER_MAX_BYTES));
        assert!(first.count(0));
        assert!(!first.count(1));
        assert!(!first.count(usize::MAX));
    }

    #[test]
    fn what_all_strangers_send_together_is_limited_but_for_the_part_of_each() {
        let all = Arc::new(Strangers::new(10, 2 * STRANGER_MAX_BYTES as u64));
        let mut large: Vec<Stranger> = (0..2).filter_map(|_| all.admit()).collect();
        assert!(large.iter_mut().all(|it| it.count(STRANGER_MAX_BYTES)));
        // What is left is twice the part that the two had for themselves.
        let mut last = all.admit().unwrap();
        assert!(last.count(3 * OWN_BYTES));
        assert!(!last.count(1));
        let mut small = all.admit().unwrap();
        assert!(small.count(OWN_BYTES) && !small.count(1));
        drop(large);
        assert!(last.count(1) && small.count(1));
    }
}
