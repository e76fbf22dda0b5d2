//! Tells those who send what rules want to be sent that there is something to send.
//!
//! The requests themselves are records. This is the short way within one process; after a start, the cells that may
//! have some are found by an pending_marker in the unit's space, so that no other cell need be opened.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use personium_store::{Batch, Expect, Key, StoreError};
use personium_types::{CellId, Result};
use tokio::sync::Notify;

use super::outbox;
use crate::records::store_error;
use crate::{Cell, Unit, keys};

/// What the names of announcements in the unit's space begin with; the cell's id follows.
const CELLS: &str = "event/cell/";

/// The requests of one rule, which are sent one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutboxPartition {
    /// The cell.
    pub cell: CellId,
    /// The entity id of the rule.
    pub rule: String,
}

/// Partitions with something to send.
#[derive(Debug, Default)]
pub struct OutboxQueue {
    partitions: Mutex<Partitions>,
    rung: Notify,
    /// Cells that this process has announced. Held while that is written or taken back.
    announced: tokio::sync::Mutex<HashSet<CellId>>,
}

#[derive(Debug, Default)]
struct Partitions {
    waiting: VecDeque<OutboxPartition>,
    /// Every partition that waits or is worked on; `true` if it was rung for again meanwhile.
    known: HashMap<OutboxPartition, bool>,
}

pub(crate) fn pending_marker(cell: &CellId) -> Key {
    keys::single(&format!("{CELLS}{cell}"))
}

impl OutboxQueue {
    /// Says that a partition has something to send.
    pub fn ring(&self, partition: OutboxPartition) {
        let mut partitions = self.partitions.lock();
        if let Some(again) = partitions.known.get_mut(&partition) {
            *again = true;
            return;
        }
        partitions.known.insert(partition.clone(), false);
        partitions.waiting.push_back(partition);
        drop(partitions);
        self.rung.notify_one();
    }

    /// The next partition to work on, which is nobody else's until [`OutboxQueue::rest`] lets it go.
    pub async fn next(&self) -> OutboxPartition {
        loop {
            let rung = self.rung.notified();
            if let Some(partition) = self.partitions.lock().waiting.pop_front() {
                return partition;
            }
            rung.await;
        }
    }

    /// Lets go of a partition that could not be worked on, for the next who asks.
    pub fn put_back(&self, partition: OutboxPartition) {
        self.partitions.lock().waiting.push_back(partition);
        self.rung.notify_one();
    }

    /// Lets go of a partition that has nothing to send; `false` if it was rung for again meanwhile.
    #[must_use]
    pub fn rest(&self, partition: &OutboxPartition) -> bool {
        let mut partitions = self.partitions.lock();
        match partitions.known.get_mut(partition) {
            Some(again) if *again => {
                *again = false;
                false
            }
            _ => {
                partitions.known.remove(partition);
                true
            }
        }
    }

    /// Notes in the unit's space that a cell may have something to send; to be done before that is stored.
    pub(crate) async fn mark_pending(&self, unit: &Unit, cell: &Cell) -> Result<()> {
        let mut announced = self.announced.lock().await;
        if announced.contains(&cell.id) {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(pending_marker(&cell.id), Bytes::new());
        unit.records().commit(batch).await.map_err(store_error)?;
        announced.insert(cell.id);
        Ok(())
    }

    /// The cells that a former run of the unit may have left something in: to be asked for once after the start.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn announced(&self, unit: &Unit) -> Result<Vec<CellId>> {
        unit.list_marked_cells(CELLS).await
    }

    /// Rings for everything that a former run left in a cell.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn ring_for(&self, unit: &Unit, cell: CellId) -> Result<()> {
        let rules = outbox::list_rules(&unit.cell_records(&cell)).await?;
        if rules.is_empty() {
            self.clear_pending(unit, &cell).await?;
        }
        for rule in rules {
            self.ring(OutboxPartition { cell, rule });
        }
        Ok(())
    }

    /// Forgets the pending_marker of a cell that has nothing to send.
    async fn clear_pending(&self, unit: &Unit, cell: &CellId) -> Result<()> {
        let announced = self.announced.lock().await;
        if announced.contains(cell) {
            return Ok(());
        }
        let version = unit.records().find_version(&pending_marker(cell)).await?;
        let records = unit.cell_records(cell);
        let (Some(version), true) = (version, records.is_empty(&keys::all_actions()).await?) else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.assert(pending_marker(cell), Expect::Version(version));
        batch.delete(pending_marker(cell));
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
        let outbox = OutboxQueue::default();
        let partition = |rule: &str| OutboxPartition {
            cell: CellId::from_bytes([1; 16]),
            rule: rule.to_owned(),
        };
        outbox.ring(partition("a"));
        outbox.ring(partition("b"));
        outbox.ring(partition("b"));
        assert_eq!(outbox.next().await, partition("a"));
        outbox.ring(partition("a"));
        assert_eq!(outbox.next().await, partition("b"));
        assert!(
            outbox.partitions.lock().waiting.is_empty(),
            "a is worked on"
        );
        assert!(!outbox.rest(&partition("a")), "rung for meanwhile");
        assert!(outbox.rest(&partition("a")));
        assert!(
            !outbox.rest(&partition("b")),
            "rung for before it was worked on"
        );
        assert!(outbox.rest(&partition("b")));
        outbox.ring(partition("a"));
        assert_eq!(outbox.next().await, partition("a"));
    }
}
