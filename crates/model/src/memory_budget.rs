//! A bounded amount of memory that requests share.

use std::sync::Arc;

use personium_types::{Code, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for, in bytes.
const UNIT: usize = 1 << 10;

/// Memory of which requests take parts. Nobody waits for it: two that hold a part and wait for more would never end.
#[derive(Debug)]
pub struct MemoryBudget(Arc<Semaphore>);

/// A part of a [`MemoryBudget`], given back when it is dropped.
#[derive(Debug, Default)]
pub struct Reservation {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / UNIT as u64).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(
            permits.min(Semaphore::MAX_PERMITS),
        )))
    }

    /// Makes a part at least so many bytes large.
    ///
    /// # Errors
    /// 503 if there is no room for it.
    pub fn grow(&self, part: &mut Reservation, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(part.bytes).div_ceil(UNIT);
        if more == 0 {
            return Ok(());
        }
        let count = u32::try_from(more).map_err(|_| Code::ServerBusy)?;
        let permits = Arc::clone(&self.0).try_acquire_many_owned(count);
        let permits = permits.map_err(|_| Code::ServerBusy)?;
        match &mut part.permits {
            Some(own) => own.merge(permits),
            none => *none = Some(permits),
        }
        part.bytes += more * UNIT;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let room = MemoryBudget::new(10 << 10);
        let (mut one, mut other) = (Reservation::default(), Reservation::default());
        room.grow(&mut one, 1).unwrap();
        room.grow(&mut one, 6 << 10).unwrap();
        room.grow(&mut one, 100).unwrap();
        assert_eq!(
            room.grow(&mut other, 5 << 10).unwrap_err().code(),
            Code::ServerBusy
        );
        room.grow(&mut other, 4 << 10).unwrap();
        drop(one);
        room.grow(&mut other, 10 << 10).unwrap();
    }
}
