//! The markers of cells with requests that wait to be sent, in the space of the unit. After a start, only the marked cells
//! are read to fill the [`OutboxQueue`](crate::outbox_queue::OutboxQueue).

use bytes::Bytes;
use personium_store::{Batch, Expect, StoreError};
use personium_types::{CellId, Result};

use super::outbox;
use crate::outbox_queue::OutboxPartition;
use crate::records::store_error;
use crate::{Cell, Unit, keys};

/// Marks a cell as one that may have requests to send. To be done before a request is stored.
pub(super) async fn mark(unit: &Unit, cell: &Cell) -> Result<()> {
    let mut marked = unit.outbox().marked_cells.lock().await;
    if marked.contains(&cell.id) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.put(keys::outbox_marker(&cell.id), Bytes::new());
    unit.records().commit(batch).await.map_err(store_error)?;
    marked.insert(cell.id);
    Ok(())
}

/// The marked cells: those in which the last run of the unit may have left requests. To be called once after the start.
///
/// # Errors
/// A failure of the store.
pub async fn list_cells(unit: &Unit) -> Result<Vec<CellId>> {
    unit.list_marked_cells(&keys::outbox_markers()).await
}

/// Enqueues the rules of a cell that have requests to send. Removes the marker of the cell if there are none.
///
/// # Errors
/// A failure of the store.
pub async fn enqueue_rules(unit: &Unit, cell: CellId) -> Result<()> {
    let rules = outbox::list_rules(&unit.cell_records(&cell)).await?;
    if rules.is_empty() {
        clear(unit, &cell).await?;
    }
    for rule in rules {
        unit.outbox().enqueue(OutboxPartition { cell, rule });
    }
    Ok(())
}

/// Removes the marker of a cell without requests to send.
async fn clear(unit: &Unit, cell: &CellId) -> Result<()> {
    let marked = unit.outbox().marked_cells.lock().await;
    if marked.contains(cell) {
        return Ok(());
    }
    let marker = keys::outbox_marker(cell);
    let version = unit.records().find_version(&marker).await?;
    let entries = unit.cell_records(cell);
    let is_empty = entries.is_empty(&keys::all_outbox_entries()).await?;
    let (Some(version), true) = (version, is_empty) else {
        return Ok(());
    };
    let mut batch = Batch::new();
    batch.assert(marker.clone(), Expect::Version(version));
    batch.delete(marker);
    match unit.records().commit(batch).await {
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(other) => Err(store_error(other)),
    }
}
