//! Turns: bounds on what runs at once in this process. Correctness never depends on them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use personium_types::{CellId, Code, NodeId, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// How long anybody waits for a place.
const WAIT: Duration = Duration::from_secs(60);

/// Lets a bounded number in at once, and a bounded number wait, for a bounded time.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Gate {
    pub(crate) fn new(places: usize, waiting_max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Waits for a place, which is given back when the returned value is dropped.
    ///
    /// # Errors
    /// 503 if as many wait already as may, or after a minute.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waits = Waits::begin(self).ok_or(Code::ServerBusy)?;
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(WAIT, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Code::ServerBusy.into()),
        }
    }
}

/// The part of all places, and of those who wait, that one cell may have: one over this.
const SHARE: usize = 4;

/// A gate for requests of all cells, of whose places no cell takes more than a share.
#[derive(Debug)]
pub struct SharedGate {
    whole: Gate,
    places: usize,
    waiting_max: usize,
    shares: parking_lot::Mutex<HashMap<CellId, Weak<Gate>>>,
}

/// A place in a [`SharedGate`], given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    _whole: OwnedSemaphorePermit,
    _part: OwnedSemaphorePermit,
    _share: Arc<Gate>,
}

impl SharedGate {
    pub(crate) fn new(places: usize, waiting_max: usize) -> Self {
        Self {
            whole: Gate::new(places, waiting_max),
            places: places.div_ceil(SHARE),
            waiting_max: waiting_max.div_ceil(SHARE),
            shares: parking_lot::Mutex::default(),
        }
    }

    /// Waits for a place for a cell.
    ///
    /// # Errors
    /// As [`Gate::enter`], of the whole or of the cell's share.
    pub async fn enter(&self, cell: &CellId) -> Result<Place> {
        let share = self.share(cell);
        Ok(Place {
            _part: share.enter().await?,
            _whole: self.whole.enter().await?,
            _share: share,
        })
    }

    fn share(&self, cell: &CellId) -> Arc<Gate> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(cell).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Gate::new(self.places, self.waiting_max));
        shares.insert(*cell, Arc::downgrade(&share));
        share
    }
}

/// Counts one who waits, also when the wait is given up.
struct Waits<'a>(&'a Gate);

impl<'a> Waits<'a> {
    fn begin(gate: &'a Gate) -> Option<Self> {
        if gate.waiting.fetch_add(1, Ordering::AcqRel) < gate.waiting_max {
            Some(Self(gate))
        } else {
            gate.waiting.fetch_sub(1, Ordering::AcqRel);
            None
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Locks that are shared by hash.
const STRIPES: usize = 64;

/// One at a time for each node, where many would only make each other's batches fail.
#[derive(Debug)]
pub(crate) struct Turns(Vec<Arc<Mutex<()>>>);

impl Default for Turns {
    fn default() -> Self {
        Self(std::iter::repeat_with(Arc::default).take(STRIPES).collect())
    }
}

impl Turns {
    /// Waits for the turn on a node.
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

    #[tokio::test]
    async fn a_gate_refuses_whom_it_cannot_let_wait() {
        let gate = Gate::new(1, 0);
        let place = gate.enter().await.unwrap();
        assert_eq!(gate.enter().await.unwrap_err().code(), Code::ServerBusy);
        drop(place);
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let gate = Gate::new(1, 1);
        let _place = gate.enter().await.unwrap();
        assert_eq!(gate.enter().await.unwrap_err().code(), Code::ServerBusy);
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_cell_takes_more_than_its_share() {
        let gate = SharedGate::new(8, 8);
        let (one, other) = (CellId::at(1), CellId::at(2));
        let mut places = vec![
            gate.enter(&one).await.unwrap(),
            gate.enter(&one).await.unwrap(),
        ];
        assert_eq!(gate.enter(&one).await.unwrap_err().code(), Code::ServerBusy);
        let _others = gate.enter(&other).await.unwrap();
        places.pop();
        places.push(gate.enter(&one).await.unwrap());
        places.clear();
        // What is not used any more is forgotten when another cell comes.
        let _third = gate.enter(&CellId::at(3)).await.unwrap();
        assert_eq!(gate.shares.lock().len(), 2);
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_left() {
        let gate = Arc::new(Gate::new(1, 1));
        let place = gate.enter().await.unwrap();
        let other = Arc::clone(&gate);
        let waiter = tokio::spawn(async move { other.enter().await.is_ok() });
        while gate.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(gate.enter().await.is_err());
        drop(place);
        assert!(waiter.await.unwrap());
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }
}
