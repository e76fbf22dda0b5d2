//! Turns: bounds on what runs at once in this process. Correctness never depends on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use personium_types::{Code, NodeId, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Lets a bounded number in at once, and a bounded number wait.
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
    /// 503 if as many wait already as may.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waits = Waits::begin(self).ok_or(Code::ServerBusy)?;
        Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| Code::ServerBusy.into())
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
