//! NodeLocks: bounds on what runs at once in this process. Correctness never depends on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use personium_types::{CellId, Code, Error, NodeId, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The part of all places, and of all who wait, that one cell may take: the others stay for the other cells.
const CELL_PART: usize = 4;

/// How long somebody waits for a place: half the time after which the usual proxy in front gives up a request.
const WAIT: Duration = Duration::from_secs(30);

/// Lets a bounded number in at once, and a bounded number wait for a bounded time. Of both, one cell gets a quarter at
/// most, but at least one place.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    all: LimiterQueue,
    places_max: usize,
    waiting_max: usize,
    /// The lines of the cells that have something in hand here.
    cells: parking_lot::Mutex<HashMap<CellId, Arc<LimiterQueue>>>,
}

/// A place behind a gate: one of the cell and one of all, and what keeps the line of the cell. Dropping it gives it back.
#[derive(Debug)]
pub struct LimiterPermit {
    _held: (
        OwnedSemaphorePermit,
        OwnedSemaphorePermit,
        Arc<LimiterQueue>,
    ),
}

impl ConcurrencyLimiter {
    pub(crate) fn new(places_max: usize, waiting_max: usize) -> Self {
        Self {
            all: LimiterQueue::new(places_max, waiting_max),
            places_max,
            waiting_max,
            cells: parking_lot::Mutex::default(),
        }
    }

    /// QueuedWait for a place for what a request does in a cell.
    ///
    /// # Errors
    /// 503 if as many wait already as may, in all or for this cell, or if no place is left in time.
    pub async fn enter(&self, cell: &CellId) -> Result<LimiterPermit> {
        let line = self.line(cell);
        if let (Some(of_cell), Some(of_all)) = (line.try_enter(), self.all.try_enter()) {
            let _held = (of_cell, of_all, line);
            return Ok(LimiterPermit { _held });
        }
        let _waits = (self.all.wait()?, line.wait()?);
        // Who waits for a place of the cell keeps none from other cells.
        let both = async { Ok::<_, Error>((line.enter().await?, self.all.enter().await?)) };
        let waited = timeout(WAIT, both).await;
        let (of_cell, of_all) = waited.map_err(|_| Code::ServerBusy)??;
        let _held = (of_cell, of_all, Arc::clone(&line));
        Ok(LimiterPermit { _held })
    }

    fn line(&self, cell: &CellId) -> Arc<LimiterQueue> {
        let mut cells = self.cells.lock();
        if let Some(line) = cells.get(cell) {
            return Arc::clone(line);
        }
        cells.retain(|_, line| Arc::strong_count(line) > 1);
        let part = |max: usize| max.div_ceil(CELL_PART);
        let line = Arc::new(LimiterQueue::new(
            part(self.places_max),
            part(self.waiting_max),
        ));
        cells.insert(*cell, Arc::clone(&line));
        line
    }
}

/// Places, and those who wait for them in order.
#[derive(Debug)]
struct LimiterQueue {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl LimiterQueue {
    fn new(places: usize, waiting_max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|_| Code::ServerBusy.into())
    }

    /// Counts one more who waits, until the value is dropped; refuses if as many wait as may.
    fn wait(&self) -> Result<QueuedWait<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waits = QueuedWait(self);
        if before < self.waiting_max {
            Ok(waits)
        } else {
            Err(Code::ServerBusy.into())
        }
    }
}

/// One who waits in a line, also when the wait is given up.
struct QueuedWait<'a>(&'a LimiterQueue);

impl Drop for QueuedWait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Locks that are shared by hash.
const STRIPES: usize = 64;

/// One at a time for each node, where many would only make each other's batches fail.
#[derive(Debug)]
pub(crate) struct NodeLocks(Vec<Arc<Mutex<()>>>);

impl Default for NodeLocks {
    fn default() -> Self {
        Self(std::iter::repeat_with(Arc::default).take(STRIPES).collect())
    }
}

impl NodeLocks {
    /// QueuedWait for the turn on a node.
    pub(crate) async fn wait(&self, id: &NodeId) -> Option<OwnedMutexGuard<()>> {
        let slot = id
            .as_bytes()
            .iter()
            .fold(0_usize, |a, b| a ^ usize::from(*b))
            % STRIPES;
        match self.0.get(slot) {
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

    /// What somebody is refused with who comes now.
    async fn refused(gate: &ConcurrencyLimiter, cell: &CellId) -> Option<Code> {
        gate.enter(cell).await.err().map(|refusal| refusal.code())
    }

    #[tokio::test]
    async fn a_gate_refuses_whom_it_cannot_let_wait() {
        let gate = ConcurrencyLimiter::new(1, 0);
        let place = gate.enter(&CELL).await.unwrap();
        assert_eq!(refused(&gate, &CELL).await, Some(Code::ServerBusy));
        assert_eq!(refused(&gate, &OTHER).await, Some(Code::ServerBusy));
        drop(place);
        assert_eq!(refused(&gate, &OTHER).await, None);
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_left() {
        let gate = Arc::new(ConcurrencyLimiter::new(1, 1));
        let place = gate.enter(&CELL).await.unwrap();
        let other = Arc::clone(&gate);
        let waiter = tokio::spawn(async move { other.enter(&OTHER).await.is_ok() });
        while gate.all.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(&gate, &CELL).await, Some(Code::ServerBusy));
        drop(place);
        assert!(waiter.await.unwrap());
        assert_eq!(gate.all.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends() {
        let gate = ConcurrencyLimiter::new(1, 1);
        let _place = gate.enter(&CELL).await.unwrap();
        let waited = timeout(2 * WAIT, refused(&gate, &OTHER)).await;
        assert_eq!(waited, Ok(Some(Code::ServerBusy)));
    }

    #[tokio::test]
    async fn a_cell_leaves_places_and_waiting_to_the_others() {
        let gate = ConcurrencyLimiter::new(8, 8);
        let places = [gate.enter(&CELL).await, gate.enter(&CELL).await];
        let waiting = async { tokio::join!(gate.enter(&CELL), gate.enter(&CELL)) };
        tokio::select! {
            biased;
            _ = waiting => panic!("a cell has more than a quarter of the places"),
            late = refused(&gate, &CELL) => assert_eq!(late, Some(Code::ServerBusy)),
        }
        for _ in 0..3 {
            assert_eq!(refused(&gate, &OTHER).await, None);
        }
        drop(places);
        assert_eq!(refused(&gate, &CELL).await, None);
        assert_eq!(gate.cells.lock().len(), 2);
        // The lines of cells that have nothing in hand are forgotten.
        let third = CellId::from_bytes([3; 16]);
        assert_eq!(refused(&gate, &third).await, None);
        assert_eq!(gate.cells.lock().len(), 1);
    }
}
