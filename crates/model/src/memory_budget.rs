//! A memory budget that requests share.

use std::sync::Arc;
use std::time::Duration;

use personium_types::{Code, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The number of bytes of one semaphore permit.
const PERMIT_BYTES: usize = 1 << 10;

/// The longest time that a request waits for memory.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A number of bytes of memory from which requests reserve parts. A request that has a part never waits for more: two of them
/// would wait forever.
#[derive(Debug)]
pub struct MemoryBudget {
    permits: Arc<Semaphore>,
    permits_max: usize,
}

/// A reserved part of a [`MemoryBudget`]. It is released when it is dropped.
#[derive(Debug, Default)]
pub struct Reservation {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / PERMIT_BYTES as u64).unwrap_or(usize::MAX);
        let permits_max = permits.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits_max)),
            permits_max,
        }
    }

    /// Whether this number of bytes can be reserved at all.
    #[must_use]
    pub fn can_hold(&self, bytes: usize) -> bool {
        bytes.div_ceil(PERMIT_BYTES) <= self.permits_max
    }

    /// Reserves this number of bytes. Waits until others have released them.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if the budget never has so many, or not within 30 seconds.
    pub async fn reserve(&self, bytes: usize) -> Result<Reservation> {
        if !self.can_hold(bytes) {
            return Err(Code::ServerBusy.into());
        }
        let count = bytes.div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(count).map_err(|_| Code::ServerBusy)?;
        let permits = Arc::clone(&self.permits).acquire_many_owned(permits);
        let permits = timeout(WAIT_TIMEOUT, permits).await;
        let permits = permits.map_err(|_| Code::ServerBusy)?;
        Ok(Reservation {
            permits: Some(permits.map_err(|_| Code::ServerBusy)?),
            bytes: count * PERMIT_BYTES,
        })
    }

    /// Extends a reservation to at least this number of bytes.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if the budget is exhausted.
    pub fn grow(&self, reservation: &mut Reservation, bytes: usize) -> Result<()> {
        let missing = bytes.saturating_sub(reservation.bytes);
        let missing = missing.div_ceil(PERMIT_BYTES);
        if missing == 0 {
            return Ok(());
        }
        let count = u32::try_from(missing).map_err(|_| Code::ServerBusy)?;
        let permits = Arc::clone(&self.permits).try_acquire_many_owned(count);
        let permits = permits.map_err(|_| Code::ServerBusy)?;
        match &mut reservation.permits {
            Some(own) => own.merge(permits),
            none => *none = Some(permits),
        }
        reservation.bytes += missing * PERMIT_BYTES;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_reservation_is_released() {
        let budget = MemoryBudget::new(10 << 10);
        let (mut one, mut other) = (Reservation::default(), Reservation::default());
        budget.grow(&mut one, 1).unwrap();
        budget.grow(&mut one, 6 << 10).unwrap();
        budget.grow(&mut one, 100).unwrap();
        let refused = budget.grow(&mut other, 5 << 10);
        assert_eq!(refused.unwrap_err().code(), Code::ServerBusy);
        budget.grow(&mut other, 4 << 10).unwrap();
        drop(one);
        budget.grow(&mut other, 10 << 10).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn request_waits_for_memory_that_can_become_free() {
        let budget = MemoryBudget::new(10 << 10);
        assert!(budget.can_hold(10 << 10) && !budget.can_hold((10 << 10) + 1));
        let code = |refused: Result<Reservation>| refused.unwrap_err().code();
        assert_eq!(code(budget.reserve(11 << 10).await), Code::ServerBusy);
        let one = budget.reserve(6 << 10).await.unwrap();
        assert_eq!(code(budget.reserve(5 << 10).await), Code::ServerBusy);
        let free = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (other, ()) = tokio::join!(budget.reserve(5 << 10), free);
        assert!(other.is_ok());
    }
}
