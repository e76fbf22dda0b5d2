//! The bodies that this process is writing, by space.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use personium_store::Space;

/// The bodies that are being written.
#[derive(Debug, Default)]
pub(crate) struct LiveWriters {
    last: AtomicU64,
    writers: Mutex<HashMap<u64, (Space, Arc<AtomicBool>)>>,
}

/// The entry of a body that is being written.
#[derive(Debug)]
pub(crate) struct LiveWriter {
    number: u64,
    is_dropped: Arc<AtomicBool>,
    writers: Arc<LiveWriters>,
}

impl LiveWriters {
    pub(crate) fn enter(self: &Arc<Self>, space: &Space) -> LiveWriter {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let is_dropped = Arc::<AtomicBool>::default();
        let entry = (*space, Arc::clone(&is_dropped));
        self.writers.lock().insert(number, entry);
        LiveWriter {
            number,
            is_dropped,
            writers: Arc::clone(self),
        }
    }

    /// Remembers of all bodies that are being written that their space was dropped.
    pub(crate) fn drop_space(&self, space: &Space) {
        for (of, is_dropped) in self.writers.lock().values() {
            if of == space {
                is_dropped.store(true, Ordering::Release);
            }
        }
    }
}

impl LiveWriter {
    /// Whether the space was dropped since the body was begun.
    pub(crate) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Acquire)
    }
}

impl Drop for LiveWriter {
    fn drop(&mut self) {
        self.writers.writers.lock().remove(&self.number);
    }
}
