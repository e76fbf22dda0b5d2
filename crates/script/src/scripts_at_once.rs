//! The number of scripts that run at once, of the unit and of each cell.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use personium_types::ScriptLimits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::ScriptFailure;

/// The time for which a request waits for its turn.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// Limits the number of scripts that run at once.
pub(crate) struct ScriptsAtOnce {
    unit: Arc<Semaphore>,
    unit_max: usize,
    cells: Mutex<HashMap<String, CellScripts>>,
    of_cell_max: usize,
}

/// The scripts of one cell.
struct CellScripts {
    places: Arc<Semaphore>,
    /// The number of scripts that do not end although their time is over.
    stuck: u32,
}

/// The permission to run one script.
pub(crate) struct RunPermit {
    at_once: Arc<ScriptsAtOnce>,
    cell: String,
    is_stuck: Arc<AtomicBool>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl ScriptsAtOnce {
    pub(crate) fn new(limits: &ScriptLimits) -> Self {
        Self {
            unit: Arc::new(Semaphore::new(limits.running_max)),
            unit_max: limits.running_max,
            cells: Mutex::default(),
            of_cell_max: limits.running_of_cell_max,
        }
    }

    /// The numbers of scripts that run, and of those that do not end although their time is over.
    pub(crate) fn metrics(&self) -> (usize, usize) {
        let running = self.unit_max.saturating_sub(self.unit.available_permits());
        let cells = self.cells.lock();
        let stuck = cells.values().map(|cell| cell.stuck as usize).sum();
        (running, stuck)
    }

    /// Waits until a script of a cell may run.
    ///
    /// # Errors
    /// [`ScriptFailure::Busy`] if that takes too long, or if a script of the cell does not end.
    pub(crate) async fn acquire(self: &Arc<Self>, cell: &str) -> Result<RunPermit, ScriptFailure> {
        let of_cell = {
            let mut cells = self.cells.lock();
            let new = || CellScripts {
                places: Arc::new(Semaphore::new(self.of_cell_max)),
                stuck: 0,
            };
            let cell = cells.entry(cell.to_owned()).or_insert_with(new);
            if cell.stuck > 0 {
                return Err(ScriptFailure::Busy);
            }
            Arc::clone(&cell.places)
        };
        let mut permit = RunPermit {
            at_once: Arc::clone(self),
            cell: cell.to_owned(),
            is_stuck: Arc::default(),
            permits: None,
        };
        let both = async {
            // The cell first: one that waits for itself takes nothing from others.
            let of_cell = of_cell.acquire_owned().await.ok()?;
            let of_unit = Arc::clone(&self.unit).acquire_owned().await.ok()?;
            Some((of_cell, of_unit))
        };
        let both = tokio::time::timeout(QUEUE_TIMEOUT, both).await;
        permit.permits = Some(both.ok().flatten().ok_or(ScriptFailure::Busy)?);
        Ok(permit)
    }
}

/// Says of a script that it does not end.
pub(crate) struct StuckMark {
    at_once: Arc<ScriptsAtOnce>,
    cell: String,
    is_stuck: Arc<AtomicBool>,
}

impl StuckMark {
    /// The script does not end: until it does, no other one of its cell begins.
    pub(crate) fn set(self) {
        let mut cells = self.at_once.cells.lock();
        // A script that has ended is marked already.
        if !self.is_stuck.swap(true, Ordering::Relaxed)
            && let Some(cell) = cells.get_mut(&self.cell)
        {
            cell.stuck += 1;
        }
    }
}

impl RunPermit {
    /// The mark of a script that does not end.
    pub(crate) fn stuck_mark(&self) -> StuckMark {
        StuckMark {
            at_once: Arc::clone(&self.at_once),
            cell: self.cell.clone(),
            is_stuck: Arc::clone(&self.is_stuck),
        }
    }
}

impl Drop for RunPermit {
    fn drop(&mut self) {
        self.permits = None;
        let mut cells = self.at_once.cells.lock();
        // Nobody else has the semaphore: it is only cloned under this lock, and each permit has a clone.
        let Some(cell) = cells.get_mut(&self.cell) else {
            return;
        };
        if self.is_stuck.load(Ordering::Relaxed) {
            cell.stuck = cell.stuck.saturating_sub(1);
        }
        self.is_stuck.store(true, Ordering::Relaxed);
        if cell.stuck == 0 && Arc::strong_count(&cell.places) == 1 {
            cells.remove(&self.cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cell_with_a_script_that_does_not_end_begins_no_other() {
        let at_once = Arc::new(ScriptsAtOnce::new(&ScriptLimits::default()));
        let first = at_once.acquire("a").await.unwrap();
        let second = at_once.acquire("a").await.unwrap();
        first.stuck_mark().set();
        assert!(at_once.acquire("a").await.is_err());
        assert!(at_once.acquire("b").await.is_ok());
        drop(first);
        assert!(at_once.acquire("a").await.is_ok());
        let late = second.stuck_mark();
        drop(second);
        late.set();
        assert!(at_once.acquire("a").await.is_ok());
        assert!(at_once.cells.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_cell_cannot_take_the_places_of_others() {
        let limits = ScriptLimits {
            running_max: 3,
            running_of_cell_max: 2,
            ..ScriptLimits::default()
        };
        let at_once = Arc::new(ScriptsAtOnce::new(&limits));
        let first = at_once.acquire("a").await.unwrap();
        let second = at_once.acquire("a").await.unwrap();
        assert!(at_once.acquire("a").await.is_err());
        let other = at_once.acquire("b").await.unwrap();
        assert!(at_once.acquire("c").await.is_err());
        drop((first, other));
        let again = at_once.acquire("a").await.unwrap();
        drop((second, again));
        assert!(at_once.cells.lock().is_empty());
    }
}
