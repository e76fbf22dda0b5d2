//! The number of scripts that use a processor at once.

use std::sync::Arc;
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

    /// Waits for a slot. Must be called on a thread that may block.
    pub(crate) fn begin(&self, handle: &Handle, permit: SlotPermit) -> ComputeTurn {
        let mut turn = ComputeTurn {
            slots: self.clone(),
            handle: handle.clone(),
            permit,
            since: self.clock.monotonic(),
        };
        turn.resume();
        turn
    }
}

impl ComputeTurn {
    /// Gives the slot back until [`Self::resume`].
    pub(crate) fn pause(&mut self) {
        self.permit.release();
    }

    /// Waits for a slot.
    pub(crate) fn resume(&mut self) {
        let acquired = self
            .handle
            .block_on(Arc::clone(&self.slots.slots).acquire_owned());
        *self.permit.0.lock() = acquired.ok();
        self.since = self.slots.clock.monotonic();
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
