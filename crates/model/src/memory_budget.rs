//! A memory budget that requests share.

use std::sync::Arc;

use personium_types::{Code, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of bytes of one semaphore permit.
const PERMIT_BYTES: usize = 1 << 10;

/// A number of bytes of memory from which requests reserve parts. A request never waits for memory: two that have a part and
/// wait for more would wait forever.
#[derive(Debug)]
pub struct MemoryBudget(Arc<Semaphore>);

/// A reserved part of a [`MemoryBudget`]. It is released when it is dropped.
#[derive(Debug, Default)]
pub struct Reservation {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / PERMIT_BYTES as u64).unwrap_or(usize::MAX);
        let semaphore = Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        Self(Arc::new(semaphore))
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
        let permits = Arc::clone(&self.0).try_acquire_many_owned(count);
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
}
