//! Tells those who send what rules want to be sent that there is something to send.
//!
//! The requests themselves are records. This is the short way within one process; after a start, the cells that may
//! have some are found by an announcement in the unit's space, so that no other cell need be opened.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use personium_store::{Batch, Expect, Key, StoreError};
use personium_types::{CellId, Result};
use tokio::sync::Notify;

use super::action;
use crate::records::store_error;
use crate::{Cell, Unit, keys};

/// What the names of announcements in the unit's space begin with; the cell's id follows.
const CELLS: &str = "event/cell/";

/// The requests of one rule, which are sent one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The cell.
    pub cell: CellId,
    /// The entity id of the rule.
    pub rule: String,
}

/// Lanes with something to send.
#[derive(Debug, Default)]
pub struct Bell {
    lanes: Mutex<Lanes>,
    rung: Notify,
    /// Cells that this process has announced. Held while that is written or taken back.
    announced: tokio::sync::Mutex<HashSet<CellId>>,
}

#[derive(Debug, Default)]
struct Lanes {
    waiting: VecDeque<Lane>,
    /// Every lane that waits or is worked on; `true` if it was rung for again meanwhile.
    known: HashMap<Lane, bool>,
}

pub(crate) fn announcement(cell: &CellId) -> Key {
    keys::single(&format!("{CELLS}{cell}"))
}

impl Bell {
    /// Says that a lane has something to send.
    pub fn ring(&self, lane: Lane) {
        let mut lanes = self.lanes.lock();
        if let Some(again) = lanes.known.get_mut(&lane) {
            *again = true;
            return;
        }
        lanes.known.insert(lane.clone(), false);
        lanes.waiting.push_back(lane);
        drop(lanes);
        self.rung.notify_one();
    }

    /// The next lane to work on, which is nobody else's until [`Bell::rest`] lets it go.
    pub async fn next(&self) -> Lane {
        loop {
            let rung = self.rung.notified();
            if let Some(lane) = self.lanes.lock().waiting.pop_front() {
                return lane;
            }
            rung.await;
        }
    }

    /// Lets go of a lane that could not be worked on, for the next who asks.
    pub fn put_back(&self, lane: Lane) {
        self.lanes.lock().waiting.push_back(lane);
        self.rung.notify_one();
    }

    /// Lets go of a lane that has nothing to send; `false` if it was rung for again meanwhile.
    #[must_use]
    pub fn rest(&self, lane: &Lane) -> bool {
        let mut lanes = self.lanes.lock();
        match lanes.known.get_mut(lane) {
            Some(again) if *again => {
                *again = false;
                false
            }
            _ => {
                lanes.known.remove(lane);
                true
            }
        }
    }

    /// Notes in the unit's space that a cell may have something to send; to be done before that is stored.
    pub(crate) async fn announce(&self, unit: &Unit, cell: &Cell) -> Result<()> {
        let mut announced = self.announced.lock().await;
        if announced.contains(&cell.id) {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(announcement(&cell.id), Bytes::new());
        unit.records().commit(batch).await.map_err(store_error)?;
        announced.insert(cell.id);
        Ok(())
    }

    /// The cells that a former run of the unit may have left something in: to be asked for once after the start.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn announced(&self, unit: &Unit) -> Result<Vec<CellId>> {
        unit.noted_cells(CELLS).await
    }

    /// Rings for everything that a former run left in a cell.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn ring_for(&self, unit: &Unit, cell: CellId) -> Result<()> {
        let rules = action::list_rules(&unit.cell_records(&cell)).await?;
        if rules.is_empty() {
            self.take_back(unit, &cell).await?;
        }
        for rule in rules {
            self.ring(Lane { cell, rule });
        }
        Ok(())
    }

    /// Forgets the announcement of a cell that has nothing to send.
    async fn take_back(&self, unit: &Unit, cell: &CellId) -> Result<()> {
        let announced = self.announced.lock().await;
        if announced.contains(cell) {
            return Ok(());
        }
        let version = unit.records().find_version(&announcement(cell)).await?;
        let records = unit.cell_records(cell);
        let (Some(version), true) = (version, records.is_empty(&keys::all_actions()).await?) else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.assert(announcement(cell), Expect::Version(version));
        batch.delete(announcement(cell));
        match unit.records().commit(batch).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(other) => Err(store_error(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_is_worked_on_by_one_and_not_forgotten() {
        let bell = Bell::default();
        let lane = |rule: &str| Lane {
            cell: CellId::from_bytes([1; 16]),
            rule: rule.to_owned(),
        };
        bell.ring(lane("a"));
        bell.ring(lane("b"));
        bell.ring(lane("b"));
        assert_eq!(bell.next().await, lane("a"));
        bell.ring(lane("a"));
        assert_eq!(bell.next().await, lane("b"));
        assert!(bell.lanes.lock().waiting.is_empty(), "a is worked on");
        assert!(!bell.rest(&lane("a")), "rung for meanwhile");
        assert!(bell.rest(&lane("a")));
        assert!(!bell.rest(&lane("b")), "rung for before it was worked on");
        assert!(bell.rest(&lane("b")));
        bell.ring(lane("a"));
        assert_eq!(bell.next().await, lane("a"));
    }
}
