//! Limits on what runs at the same time in this process. Correctness never depends on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use personium_types::{CellId, Code, Error, NodeId, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The divisor of the limits for one cell: it gets a quarter of the permits and of the queue at most.
const CELL_DIVISOR: usize = 4;

/// The longest time in the queue: half the time after which the usual reverse proxy gives up a request.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

/// A concurrency limiter with a bounded queue, fair to cells: one cell gets a quarter of the permits and of the queue at most,
/// but at least one permit.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    all: LimiterQueue,
    permits_max: usize,
    queue_max: usize,
    /// The queues of the cells that have permits or wait for one.
    cells: parking_lot::Mutex<HashMap<CellId, Arc<LimiterQueue>>>,
}

/// A permit of a [`ConcurrencyLimiter`]. It is given back when it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "the fields are only dropped")]
pub struct LimiterPermit {
    of_cell: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
    /// Keeps the queue of the cell in the map.
    queue: Arc<LimiterQueue>,
}

impl ConcurrencyLimiter {
    pub(crate) fn new(permits_max: usize, queue_max: usize) -> Self {
        Self {
            all: LimiterQueue::new(permits_max, queue_max),
            permits_max,
            queue_max,
            cells: parking_lot::Mutex::default(),
        }
    }

    /// Waits for a permit for a request in a cell.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if the queue, or the part of it that the cell may use, is full, or after 30 seconds in it.
    pub async fn acquire(&self, cell: &CellId) -> Result<LimiterPermit> {
        let queue = self.queue(cell);
        if let Some(permit) = self.try_acquire(&queue) {
            return Ok(permit);
        }
        let _waiting = (self.all.enqueue()?, queue.enqueue()?);
        self.wait(&queue).await
    }

    /// The permits of a request in a cell that needs one for each step, and none while it waits for its client.
    #[must_use]
    pub fn steps(&self, cell: CellId) -> StepPermits<'_> {
        StepPermits {
            limiter: self,
            cell,
            begun: false,
        }
    }

    fn try_acquire(&self, queue: &Arc<LimiterQueue>) -> Option<LimiterPermit> {
        let (of_cell, of_all) = (queue.try_acquire()?, self.all.try_acquire()?);
        Some(LimiterPermit {
            of_cell,
            of_all,
            queue: Arc::clone(queue),
        })
    }

    /// Waits for a permit, however many others wait.
    async fn wait(&self, queue: &Arc<LimiterQueue>) -> Result<LimiterPermit> {
        // The permit of the cell comes first: a request that waits for it must not keep one from other cells.
        let both = async { Ok::<_, Error>((queue.acquire().await?, self.all.acquire().await?)) };
        let acquired = timeout(QUEUE_TIMEOUT, both).await;
        let (of_cell, of_all) = acquired.map_err(|_| Code::ServerBusy)??;
        Ok(LimiterPermit {
            of_cell,
            of_all,
            queue: Arc::clone(queue),
        })
    }

    fn queue(&self, cell: &CellId) -> Arc<LimiterQueue> {
        let mut cells = self.cells.lock();
        if let Some(queue) = cells.get(cell) {
            return Arc::clone(queue);
        }
        cells.retain(|_, queue| Arc::strong_count(queue) > 1);
        let of_cell = |max: usize| max.div_ceil(CELL_DIVISOR);
        let queue = LimiterQueue::new(of_cell(self.permits_max), of_cell(self.queue_max));
        let queue = Arc::new(queue);
        cells.insert(*cell, Arc::clone(&queue));
        queue
    }
}

/// Gives one request a permit of a [`ConcurrencyLimiter`] for each of its steps.
#[derive(Debug)]
pub struct StepPermits<'l> {
    limiter: &'l ConcurrencyLimiter,
    cell: CellId,
    /// Whether the request had a permit before.
    begun: bool,
}

impl StepPermits<'_> {
    /// Waits for the permit of the next step. Only the first step can be refused because of the length of the queue: a
    /// request that has begun is not broken off for those that come after it.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] as [`ConcurrencyLimiter::acquire`], for later steps after 30 seconds only.
    pub async fn next(&mut self) -> Result<LimiterPermit> {
        let limiter = self.limiter;
        if !self.begun {
            let permit = limiter.acquire(&self.cell).await?;
            self.begun = true;
            return Ok(permit);
        }
        let queue = limiter.queue(&self.cell);
        match limiter.try_acquire(&queue) {
            Some(permit) => Ok(permit),
            None => limiter.wait(&queue).await,
        }
    }
}

/// Permits, and the number of requests that wait for one.
#[derive(Debug)]
struct LimiterQueue {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_max: usize,
}

impl LimiterQueue {
    fn new(permits: usize, queue_max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            queue_max,
        }
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| Code::ServerBusy.into())
    }

    /// Counts one more waiting request until the value is dropped. Fails if the queue is full.
    fn enqueue(&self) -> Result<QueuedWait<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let wait = QueuedWait(self);
        if before < self.queue_max {
            Ok(wait)
        } else {
            Err(Code::ServerBusy.into())
        }
    }
}

/// A waiting request. It is also counted off when it is cancelled.
struct QueuedWait<'a>(&'a LimiterQueue);

impl Drop for QueuedWait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The number of locks that nodes share by hash.
const LOCK_STRIPES: usize = 64;

/// One lock for each node, for changes that would only make each other's batches conflict.
#[derive(Debug)]
pub(crate) struct NodeLocks(Vec<Arc<Mutex<()>>>);

impl Default for NodeLocks {
    fn default() -> Self {
        let locks = std::iter::repeat_with(Arc::default);
        Self(locks.take(LOCK_STRIPES).collect())
    }
}

impl NodeLocks {
    /// Waits for the lock of a node.
    pub(crate) async fn lock(&self, id: &NodeId) -> Option<OwnedMutexGuard<()>> {
        let bytes = id.as_bytes().iter();
        let stripe = bytes.fold(0_usize, |a, b| a ^ usize::from(*b)) % LOCK_STRIPES;
        match self.0.get(stripe) {
            Some(lock) => Some(Arc::clone(lock).lock_owned().await),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: CellId = CellId::from_bytes([1; 16]);
    const OTHER: CellId = CellId::from_bytes([2; 16]);

    /// The code with which one more request is refused.
    async fn refusal(limiter: &ConcurrencyLimiter, cell: &CellId) -> Option<Code> {
        let acquired = limiter.acquire(cell).await;
        acquired.err().map(|error| error.code())
    }

    #[tokio::test]
    async fn request_beyond_the_queue_is_refused() {
        let limiter = ConcurrencyLimiter::new(1, 0);
        let permit = limiter.acquire(&CELL).await.unwrap();
        assert_eq!(refusal(&limiter, &CELL).await, Some(Code::ServerBusy));
        assert_eq!(refusal(&limiter, &OTHER).await, Some(Code::ServerBusy));
        drop(permit);
        assert_eq!(refusal(&limiter, &OTHER).await, None);
    }

    #[tokio::test]
    async fn queued_request_gets_the_next_free_permit() {
        let limiter = Arc::new(ConcurrencyLimiter::new(1, 1));
        let permit = limiter.acquire(&CELL).await.unwrap();
        let other = Arc::clone(&limiter);
        let queued = tokio::spawn(async move { other.acquire(&OTHER).await.is_ok() });
        while limiter.all.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refusal(&limiter, &CELL).await, Some(Code::ServerBusy));
        drop(permit);
        assert!(queued.await.unwrap());
        assert_eq!(limiter.all.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn queued_request_times_out() {
        let limiter = ConcurrencyLimiter::new(1, 1);
        let _permit = limiter.acquire(&CELL).await.unwrap();
        let queued = timeout(2 * QUEUE_TIMEOUT, refusal(&limiter, &OTHER)).await;
        assert_eq!(queued, Ok(Some(Code::ServerBusy)));
    }

    #[tokio::test]
    async fn one_cell_gets_a_quarter_of_permits_and_queue() {
        let limiter = ConcurrencyLimiter::new(8, 8);
        let permits = [limiter.acquire(&CELL).await, limiter.acquire(&CELL).await];
        let queued = async { tokio::join!(limiter.acquire(&CELL), limiter.acquire(&CELL)) };
        tokio::select! {
            biased;
            _ = queued => panic!("a cell has more than a quarter of the permits"),
            late = refusal(&limiter, &CELL) => assert_eq!(late, Some(Code::ServerBusy)),
        }
        for _ in 0..3 {
            assert_eq!(refusal(&limiter, &OTHER).await, None);
        }
        drop(permits);
        assert_eq!(refusal(&limiter, &CELL).await, None);
    }

    #[tokio::test]
    async fn request_that_has_begun_waits_although_the_queue_is_full() {
        let limiter = ConcurrencyLimiter::new(1, 0);
        let (mut begun, mut late) = (limiter.steps(CELL), limiter.steps(OTHER));
        drop(begun.next().await.unwrap());
        let permit = limiter.acquire(&OTHER).await.unwrap();
        let refused = late.next().await.unwrap_err();
        assert_eq!(refused.code(), Code::ServerBusy);
        let free = async {
            tokio::task::yield_now().await;
            drop(permit);
        };
        let (next, ()) = tokio::join!(begun.next(), free);
        // Between two steps it keeps no permit from others.
        drop(next.unwrap());
        assert!(late.next().await.is_ok());
    }

    #[tokio::test]
    async fn queues_of_idle_cells_are_removed() {
        let limiter = ConcurrencyLimiter::new(8, 8);
        for number in 0..3 {
            let cell = CellId::from_bytes([number; 16]);
            assert_eq!(refusal(&limiter, &cell).await, None);
        }
        assert_eq!(limiter.cells.lock().len(), 1);
    }
}
