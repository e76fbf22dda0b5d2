//! Tells other processes that the entry of a cell in the catalogue was changed: the structure of the cell changes.
//!
//! The catalogue is in the space of the unit, and what other processes compare is in the space of the cell. The batch that changes
//! the catalogue marks the cell, so that whoever finds the marker can repeat the second step after a crash.

use std::sync::Arc;

use bytes::Bytes;
use personium_store::{Batch, CommitSeq, Expect, RecordStore, Result, Space, StoreError};
use personium_types::CellId;

use crate::keys;

/// The number of times that the change is tried if the cell is sealed and opened meanwhile.
const MAX_ATTEMPTS: usize = 20;

/// Adds to the batch that changes the catalogue that the cell is marked.
pub(crate) fn mark(batch: &mut Batch, cell: &CellId) {
    batch.put(keys::changed_cell(cell), Bytes::new());
}

/// Changes the structure of a cell whose marker has this version, then removes the marker.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn announce(
    store: &Arc<dyn RecordStore>,
    cell: &CellId,
    marker: CommitSeq,
) -> Result<()> {
    change_structure(store, cell).await?;
    let key = keys::changed_cell(cell);
    let mut batch = Batch::new();
    batch.assert(key.clone(), Expect::Version(marker));
    batch.delete(key);
    match store.commit(&Space::Unit, batch).await {
        // After a conflict: the entry was changed again, and whoever did so announces it.
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Changes the structure of a removed cell, and seals it.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn announce_removal(store: &Arc<dyn RecordStore>, cell: &CellId) -> Result<()> {
    let mut batch = Batch::new();
    batch.unseal();
    batch.change_structure();
    batch.seal();
    match store.commit(&Space::Cell(*cell), batch).await {
        Ok(_) | Err(StoreError::SpaceDropped) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn change_structure(store: &Arc<dyn RecordStore>, cell: &CellId) -> Result<()> {
    let space = Space::Cell(*cell);
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new();
        batch.change_structure();
        match store.commit(&space, batch).await {
            Ok(_) | Err(StoreError::SpaceDropped) => return Ok(()),
            Err(StoreError::Sealed) => {}
            Err(error) => return Err(error),
        }
        // The cell is being deleted, and stays sealed.
        let mut batch = Batch::new();
        batch.assert(keys::seal(), Expect::Present);
        batch.unseal();
        batch.change_structure();
        batch.seal();
        match store.commit(&space, batch).await {
            Ok(_) | Err(StoreError::SpaceDropped) => return Ok(()),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict)
}
