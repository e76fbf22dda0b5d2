//! The number of scripts that use a processor at once.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_types::Clock;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::script_threads::{Job, JobRest, ScriptThreads};

/// The time after which a script that computes lets the next one compute.
const TIME_SLICE: Duration = Duration::from_millis(10);

/// Lets as many scripts compute at once as there are processors, in turn: however many loop, the threads that serve other requests
/// get their share.
#[derive(Clone)]
pub(crate) struct ComputeSlots {
    shared: Arc<SharedSlots>,
    clock: Arc<dyn Clock>,
}

/// The slots of all scripts, and who waits for one.
struct SharedSlots {
    queue: Mutex<SlotQueue>,
    threads: ScriptThreads,
}

struct SlotQueue {
    free: usize,
    /// In the order in which they came. Only while no slot is free.
    waiting: VecDeque<Waiter>,
}

/// A script that waits for a slot.
enum Waiter {
    /// A script that has not begun, and has no thread.
    Begin(QueuedScript),
    /// A script that goes on, on its thread.
    Resume(oneshot::Sender<Slot>),
}

/// The work of a script, which returns its slot if it still has it.
type ScriptWork = Box<dyn FnOnce(Slot) -> Option<Slot> + Send>;

/// A script until it begins.
#[derive(Clone)]
struct QueuedScript(Arc<Mutex<Option<ScriptWork>>>);

/// The place of a script that has not begun. Without it, it does not begin.
pub(crate) struct QueuePlace(QueuedScript);

/// The right to compute. Whoever drops it lets the next script compute.
pub(crate) struct Slot(Option<Arc<SharedSlots>>);

/// The slot of one script, which can be taken away from it.
#[derive(Clone, Default)]
pub(crate) struct SlotPermit(Arc<Mutex<Option<Slot>>>);

/// The turn of one script. It has a slot, except while it waits for the host.
pub(crate) struct ComputeTurn {
    slots: ComputeSlots,
    handle: Handle,
    permit: SlotPermit,
    since: Instant,
}

impl ComputeSlots {
    /// One slot for each processor, for scripts on threads whose stacks have a size.
    pub(crate) fn new(clock: Arc<dyn Clock>, stack_bytes: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shared: Arc::new(SharedSlots {
                queue: Mutex::new(SlotQueue {
                    free: processors,
                    waiting: VecDeque::new(),
                }),
                threads: ScriptThreads::new(stack_bytes),
            }),
            clock,
        }
    }

    /// Runs a script on a thread as soon as there is a slot: no thread waits for its turn to begin.
    pub(crate) fn begin(
        &self,
        work: impl FnOnce(Slot) -> Option<Slot> + Send + 'static,
    ) -> QueuePlace {
        let script = QueuedScript(Arc::new(Mutex::new(Some(Box::new(work)))));
        let has_slot = {
            let mut queue = self.shared.queue.lock();
            let has_slot = queue.take();
            if !has_slot {
                queue.waiting.push_back(Waiter::Begin(script.clone()));
            }
            has_slot
        };
        if has_slot && let Some(work) = script.take() {
            SharedSlots::start(&self.shared, work);
        }
        QueuePlace(script)
    }

    /// Waits for a slot. There is always one in the end.
    pub(crate) async fn acquire(&self) -> Option<Slot> {
        let receiver = {
            let mut queue = self.shared.queue.lock();
            if queue.take() {
                return Some(Slot::of(&self.shared));
            }
            let (sender, receiver) = oneshot::channel();
            queue.waiting.push_back(Waiter::Resume(sender));
            receiver
        };
        receiver.await.ok()
    }

    /// The turn of a script that has a slot.
    pub(crate) fn turn(
        &self,
        handle: &Handle,
        permit: SlotPermit,
        slot: Option<Slot>,
    ) -> ComputeTurn {
        *permit.0.lock() = slot;
        ComputeTurn {
            slots: self.clone(),
            handle: handle.clone(),
            permit,
            since: self.clock.monotonic(),
        }
    }
}

impl SlotQueue {
    /// Takes a free slot; `false` if there is none.
    fn take(&mut self) -> bool {
        let is_free = self.free > 0;
        self.free -= usize::from(is_free);
        is_free
    }
}

impl QueuePlace {
    /// Leaves the queue; `false` if the script has begun.
    pub(crate) fn leave(&self) -> bool {
        self.0.take().is_some()
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl QueuedScript {
    /// The work, unless it has begun or the script has left the queue.
    fn take(&self) -> Option<ScriptWork> {
        self.0.lock().take()
    }
}

/// The job of a thread that does the work of a script.
fn job(work: ScriptWork, slot: Slot) -> Job {
    Box::new(move || work(slot).map(|slot| Box::new(slot) as Box<dyn JobRest>))
}

impl SharedSlots {
    /// Gives a slot to the next script that waits.
    fn release(self: Arc<Self>) {
        loop {
            let next = {
                let mut queue = self.queue.lock();
                let Some(next) = queue.waiting.pop_front() else {
                    queue.free += 1;
                    return;
                };
                next
            };
            match next {
                Waiter::Begin(script) => {
                    if let Some(work) = script.take() {
                        return Self::start(&self, work);
                    }
                }
                Waiter::Resume(sender) => match sender.send(Slot::of(&self)) {
                    Ok(()) => return,
                    // It does not wait any more.
                    Err(mut slot) => drop(slot.0.take()),
                },
            }
        }
    }

    /// Starts a script that has got a slot.
    fn start(shared: &Arc<Self>, work: ScriptWork) {
        if let Err(error) = shared.threads.run(job(work, Slot::of(shared))) {
            // The script is told by the end of its work, which is dropped.
            tracing::error!(%error, "no thread could be started for a script");
        }
    }
}

impl Slot {
    fn of(shared: &Arc<SharedSlots>) -> Self {
        Self(Some(Arc::clone(shared)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.release();
        }
    }
}

impl JobRest for Slot {
    fn next(mut self: Box<Self>) -> Result<Job, Box<dyn JobRest>> {
        let next = self.0.as_ref().and_then(|shared| {
            let mut queue = shared.queue.lock();
            loop {
                // One that goes on has its thread.
                if !matches!(queue.waiting.front(), Some(Waiter::Begin(_))) {
                    return None;
                }
                if let Some(Waiter::Begin(script)) = queue.waiting.pop_front()
                    && let Some(work) = script.take()
                {
                    return Some(work);
                }
            }
        });
        match next {
            Some(work) => Ok(job(work, Self(self.0.take()))),
            None => Err(self),
        }
    }
}

impl SlotPermit {
    /// Frees the slot.
    pub(crate) fn release(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<Slot> {
        self.0.lock().take()
    }
}

impl ComputeTurn {
    /// Gives the slot back.
    pub(crate) fn pause(&mut self) {
        self.permit.release();
    }

    /// The slot, if the script still has it.
    pub(crate) fn into_slot(self) -> Option<Slot> {
        self.permit.take()
    }

    /// Waits for a slot.
    fn resume(&mut self) {
        let slots = self.slots.clone();
        let slot = self.handle.block_on(async move { slots.acquire().await });
        self.set(slot);
    }

    fn set(&mut self, slot: Option<Slot>) {
        *self.permit.0.lock() = slot;
        self.since = self.slots.clock.monotonic();
    }

    /// Waits on this thread for what something gives, at most for a time; `None` if it takes longer. Others compute meanwhile,
    /// unless it is there at once.
    pub(crate) fn wait<T>(&mut self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        let handle = self.handle.clone();
        handle.block_on(async {
            let (outcome, has_waited) = self.wait_without_slot(time, future).await;
            if has_waited {
                let slot = self.slots.acquire().await;
                self.set(slot);
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
