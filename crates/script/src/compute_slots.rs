//! The number of scripts that use a processor at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_types::Clock;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The time after which a script that computes lets the next one compute.
const TIME_SLICE: Duration = Duration::from_millis(10);

/// Lets as many scripts compute at once as there are processors, in turn: however many loop, the threads that serve other requests
/// get their share.
#[derive(Clone)]
pub(crate) struct ComputeSlots {
    slots: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

/// The slot of one script, which can be taken away from it.
#[derive(Clone, Default)]
pub(crate) struct SlotPermit(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl SlotPermit {
    /// Frees the slot.
    pub(crate) fn release(&self) {
        *self.0.lock() = None;
    }
}

/// The turn of one script. It has a slot, except while it waits for the host.
pub(crate) struct ComputeTurn {
    slots: ComputeSlots,
    handle: Handle,
    permit: SlotPermit,
    since: Instant,
}

impl ComputeSlots {
    /// One slot for each processor.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: Arc::new(Semaphore::new(processors)),
            clock,
        }
    }

    /// Waits for a slot.
    pub(crate) async fn acquire(&self) -> SlotPermit {
        let acquired = Arc::clone(&self.slots).acquire_owned().await;
        SlotPermit(Arc::new(Mutex::new(acquired.ok())))
    }

    /// The turn of a script that has a slot, or has none yet.
    pub(crate) fn turn(&self, handle: &Handle, permit: SlotPermit) -> ComputeTurn {
        ComputeTurn {
            slots: self.clone(),
            handle: handle.clone(),
            permit,
            since: self.clock.monotonic(),
        }
    }
}

impl ComputeTurn {
    /// Gives the slot back.
    pub(crate) fn pause(&mut self) {
        self.permit.release();
    }

    /// Waits for a slot.
    fn resume(&mut self) {
        let slots = Arc::clone(&self.slots.slots);
        let acquired = match slots.try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let slots = Arc::clone(&self.slots.slots);
                self.handle.block_on(slots.acquire_owned()).ok()
            }
        };
        self.set(acquired);
    }

    fn set(&mut self, permit: Option<OwnedSemaphorePermit>) {
        *self.permit.0.lock() = permit;
        self.since = self.slots.clock.monotonic();
    }

    /// Waits on this thread for what something gives, at most for a time; `None` if it takes longer. Others compute meanwhile,
    /// unless it is there at once.
    pub(crate) fn wait<T>(&mut self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        let handle = self.handle.clone();
        handle.block_on(async {
            let (outcome, has_waited) = self.wait_without_slot(time, future).await;
            if has_waited {
                let slots = Arc::clone(&self.slots.slots);
                self.set(slots.acquire_owned().await.ok());
            }
            outcome
        })
    }

    /// As [`Self::wait`], when nothing is computed afterwards: if it has waited, it has no slot any more.
    pub(crate) fn wait_at_end(&mut self, time: Duration, future: impl Future<Output = ()>) {
        let handle = self.handle.clone();
        handle.block_on(self.wait_without_slot(time, future));
    }

    /// The outcome, and whether it was waited for, which gives the slot back.
    async fn wait_without_slot<T>(
        &mut self,
        time: Duration,
        future: impl Future<Output = T>,
    ) -> (Option<T>, bool) {
        let mut waiting = pin!(tokio::time::timeout(time, future));
        let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        match first {
            Poll::Ready(outcome) => (outcome.ok(), false),
            Poll::Pending => {
                self.pause();
                (waiting.await.ok(), true)
            }
        }
    }

    /// Lets another script compute if this one has done so for a while.
    pub(crate) fn share(&mut self) {
        let now = self.slots.clock.monotonic();
        if now.saturating_duration_since(self.since) >= TIME_SLICE {
            self.pause();
            self.resume();
        }
    }
}

impl Drop for ComputeTurn {
    fn drop(&mut self) {
        // The engine has the permit too.
        self.permit.release();
    }
}
