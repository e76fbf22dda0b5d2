//! Removed bodies whose objects still exist, so that open readers can read them to their end.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use parking_lot::Mutex;
use personium_types::Clock;
use personium_types::error::chain;

use crate::failure;

/// The largest number of removed bodies whose objects still exist. Of more, the objects are removed at once.
const MAX_WAITING: usize = 10_000;

/// Removes objects some time after their bodies. What a crash leaves behind is an orphan.
#[derive(Debug)]
pub(crate) struct DelayedRemoval {
    store: Arc<AmazonS3>,
    clock: Arc<dyn Clock>,
    delay: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(Instant, Path)>,
    names: HashSet<Path>,
    /// Whether a task works on the queue.
    is_served: bool,
}

impl DelayedRemoval {
    pub(crate) fn new(store: Arc<AmazonS3>, clock: Arc<dyn Clock>, delay: Duration) -> Self {
        Self {
            store,
            clock,
            delay,
            waiting: Mutex::default(),
        }
    }

    /// Takes a body whose object is to be removed. Returns whether the caller has to remove it at once.
    pub(crate) fn take(self: &Arc<Self>, name: &Path) -> bool {
        let mut waiting = self.waiting.lock();
        if self.delay.is_zero() || waiting.queue.len() >= MAX_WAITING {
            return !waiting.names.contains(name);
        }
        if waiting.names.insert(name.clone()) {
            let due = self.clock.monotonic() + self.delay;
            waiting.queue.push_back((due, name.clone()));
        }
        if !waiting.is_served {
            waiting.is_served = true;
            tokio::spawn(Arc::clone(self).serve());
        }
        false
    }

    /// Whether a body was removed.
    pub(crate) fn has(&self, name: &Path) -> bool {
        self.waiting.lock().names.contains(name)
    }

    async fn serve(self: Arc<Self>) {
        loop {
            let next = {
                let mut waiting = self.waiting.lock();
                let next = waiting.queue.front().cloned();
                waiting.is_served = next.is_some();
                next
            };
            let Some((due, name)) = next else {
                return;
            };
            let pause = due.saturating_duration_since(self.clock.monotonic());
            tokio::time::sleep(pause).await;
            let removed = failure::run("failed to remove a file body", self.store.delete(&name));
            if let Err(error) = removed.await {
                tracing::warn!(object = %name, error = %chain(&error), "the object of a removed file body stays as an orphan");
            }
            let mut waiting = self.waiting.lock();
            waiting.queue.pop_front();
            waiting.names.remove(&name);
        }
    }
}
