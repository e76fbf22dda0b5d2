//! The deletion of an empty cell: its catalogue entry is in the space of the unit, its content in a space of its own, and
//! a batch changes one space.
//!
//! 1. A marker in the space of the unit. Its version identifies the deletion.
//! 2. One batch in the cell: nothing may be in it, and it is sealed. A record says by which deletion.
//! 3. One batch in the space of the unit: the marker is unchanged, marker and catalogue entry are removed, and the cell is
//!    marked as garbage.
//!
//! Whoever wants to undo a deletion changes the marker first: then the third step of the former owner is refused, however late
//! it comes. Only a seal of an older deletion than that change is opened. So any process may undo any deletion at any time,
//! and after a crash the cell is either whole and writable, or garbage.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_store::{
    Batch, CommitSeq, Expect, Key, KeyRange, RecordStore, Result, Space, StoreError,
};
use personium_types::CellId;

use crate::keys::{self, ControlSet, SetKey};

/// The number of times that the end of another deletion is waited for.
const MAX_WAITS: usize = 25;
/// The time between two looks for the end of another deletion.
const WAIT: Duration = Duration::from_millis(20);
/// The number of times that a change of a record is tried.
const MAX_ATTEMPTS: usize = 20;

/// The deletion of a cell after its second step: the cell is empty and sealed.
#[derive(Debug)]
pub(crate) struct CellDeletion {
    cell: CellId,
    /// The version of the marker.
    marker: CommitSeq,
}

/// The state of a cell whose deletion was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The cell accepts changes, unless another deletion has begun.
    CellIsWritable,
    /// The cell was deleted before.
    CellIsGone,
}

impl CellDeletion {
    /// Marks a cell as being deleted, and seals it if it has no records in some ranges.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it has, or if it does not exist any more; failures of the store.
    pub(crate) async fn begin(
        store: &Arc<dyn RecordStore>,
        cell: CellId,
        empty: &[KeyRange],
    ) -> Result<Self> {
        let deletion = Self {
            cell,
            marker: mark(store, &cell).await?,
        };
        match deletion.seal(store, empty).await {
            Ok(()) => Ok(deletion),
            Err(error) => {
                deletion.give_up(store).await;
                Err(error)
            }
        }
    }

    /// As [`begin`](Self::begin) without ranges, for a cell that is replaced, also if its records cannot be opened: then nobody can add to
    /// it, and it needs no seal.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), but for damage.
    pub(crate) async fn begin_replacement(
        store: &Arc<dyn RecordStore>,
        cell: CellId,
    ) -> Result<Self> {
        let marker = match mark(store, &cell).await {
            // An earlier deletion cannot be undone in a cell that cannot be opened.
            Err(StoreError::Corrupt(_)) => take_over(store, &cell, None).await?,
            other => Some(other?),
        };
        let marker = marker.ok_or(StoreError::Conflict)?;
        let deletion = Self { cell, marker };
        match deletion.seal(store, &[]).await {
            Ok(()) => Ok(deletion),
            Err(StoreError::Corrupt(damage)) => {
                tracing::warn!(cell.id = %cell, error = %damage, "a damaged cell is replaced");
                Ok(deletion)
            }
            Err(error) => {
                deletion.give_up(store).await;
                Err(error)
            }
        }
    }

    /// Seals the cell if it has no records in some ranges.
    async fn seal(&self, store: &Arc<dyn RecordStore>, empty: &[KeyRange]) -> Result<()> {
        let mut batch = Batch::new();
        for range in empty {
            batch.assert_empty(range.clone());
        }
        batch.put(keys::seal(), self.marker.to_le_bytes().to_vec());
        batch.seal();
        match store.commit(&Space::Cell(self.cell), batch).await {
            Err(StoreError::SpaceDropped) => Err(StoreError::Conflict),
            other => other.map(drop),
        }
    }

    /// Adds to the batch that removes the cell from the catalogue that the deletion was not undone, and its end.
    pub(crate) fn add_to(&self, batch: &mut Batch) {
        let marker = keys::cell_deletion(&self.cell);
        batch.assert(marker.clone(), Expect::Version(self.marker));
        batch.delete(marker);
    }

    /// Undoes the deletion after a step of it was refused or failed. A failure is logged; then another process undoes it.
    pub(crate) async fn give_up(self, store: &Arc<dyn RecordStore>) {
        if let Err(error) = undo_own(store, &self.cell, Some(self.marker)).await {
            tracing::warn!(cell.id = %self.cell, %error, "failed to undo the deletion of a cell");
        }
    }
}

/// Undoes the deletion of a cell by whatever process, unless it was done. It may be repeated.
///
/// # Errors
/// Failures of the store; [`StoreError::Conflict`] if others do the same all the time.
pub(crate) async fn undo(store: &Arc<dyn RecordStore>, cell: &CellId) -> Result<Undone> {
    undo_own(store, cell, None).await
}

/// As [`undo`]. With the version of a marker, only the deletion with this marker is undone.
async fn undo_own(
    store: &Arc<dyn RecordStore>,
    cell: &CellId,
    own: Option<CommitSeq>,
) -> Result<Undone> {
    let Some(marker) = take_over(store, cell, own).await? else {
        return Ok(Undone::CellIsGone);
    };
    if unseal(store, cell, marker).await? == Undone::CellIsGone {
        return Ok(Undone::CellIsGone);
    }
    unmark(store, cell, marker).await?;
    Ok(Undone::CellIsWritable)
}

/// Commits the marker of a deletion. Waits for another deletion of the cell; undoes it if it does not end.
async fn mark(store: &Arc<dyn RecordStore>, cell: &CellId) -> Result<CommitSeq> {
    for _ in 0..MAX_WAITS {
        let state = DeletionState::read(store, cell).await?;
        match state {
            DeletionState { exists: false, .. } => return Err(StoreError::Conflict),
            DeletionState { marker: None, .. } => match state.put_marker(store, cell).await {
                Err(StoreError::Conflict) => {}
                other => return other,
            },
            _ => tokio::time::sleep(WAIT).await,
        }
    }
    undo(store, cell).await?;
    Err(StoreError::Conflict)
}

/// Changes the marker of a deletion, or makes one for a deletion that has none any more, so that none that began before can
/// be completed. Returns its version; `None` if the cell was deleted.
async fn take_over(
    store: &Arc<dyn RecordStore>,
    cell: &CellId,
    own: Option<CommitSeq>,
) -> Result<Option<CommitSeq>> {
    for _ in 0..MAX_ATTEMPTS {
        let state = DeletionState::read(store, cell).await?;
        if !state.exists {
            if let Some(version) = state.marker {
                unmark(store, cell, version).await?;
            }
            return Ok(None);
        }
        if own.is_some() && own != state.marker {
            return Ok(own);
        }
        match state.put_marker(store, cell).await {
            Err(StoreError::Conflict) => {}
            other => return other.map(Some),
        }
    }
    Err(StoreError::Conflict)
}

/// Opens a cell if a deletion has sealed it whose marker is not newer than this version.
async fn unseal(store: &Arc<dyn RecordStore>, cell: &CellId, marker: CommitSeq) -> Result<Undone> {
    let space = Space::Cell(*cell);
    for _ in 0..MAX_ATTEMPTS {
        let found = match store.get(&space, &[keys::seal()]).await {
            Err(StoreError::SpaceDropped) => return Ok(Undone::CellIsGone),
            found => found?.value.into_iter().next().flatten(),
        };
        let Some(seal) = found else {
            return Ok(Undone::CellIsWritable);
        };
        let by = <[u8; 8]>::try_from(&seal.value[..]).map_or(0, u64::from_le_bytes);
        if by > marker {
            return Ok(Undone::CellIsWritable);
        }
        let mut batch = Batch::new();
        batch.assert(keys::seal(), Expect::Version(seal.version));
        batch.delete(keys::seal());
        batch.unseal();
        match store.commit(&space, batch).await {
            Ok(_) => return Ok(Undone::CellIsWritable),
            Err(StoreError::SpaceDropped) => return Ok(Undone::CellIsGone),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict)
}

/// Removes a marker of this version, if it is still there.
async fn unmark(store: &Arc<dyn RecordStore>, cell: &CellId, version: CommitSeq) -> Result<()> {
    let marker = keys::cell_deletion(cell);
    let mut batch = Batch::new();
    batch.assert(marker.clone(), Expect::Version(version));
    batch.delete(marker);
    match store.commit(&Space::Unit, batch).await {
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The state of the deletion of a cell in the space of the unit.
struct DeletionState {
    /// Whether the catalogue has the cell.
    exists: bool,
    /// The version of the marker.
    marker: Option<CommitSeq>,
}

impl DeletionState {
    async fn read(store: &Arc<dyn RecordStore>, cell: &CellId) -> Result<Self> {
        let wanted = [catalogue_entry(cell), keys::cell_deletion(cell)];
        let mut found = store.get(&Space::Unit, &wanted).await?.value.into_iter();
        let mut next = || found.next().flatten();
        Ok(Self {
            exists: next().is_some(),
            marker: next().map(|record| record.version),
        })
    }

    /// Commits a new marker if nothing has changed. Returns its version.
    async fn put_marker(&self, store: &Arc<dyn RecordStore>, cell: &CellId) -> Result<CommitSeq> {
        let marker = keys::cell_deletion(cell);
        let mut batch = Batch::new();
        batch.assert(catalogue_entry(cell), Expect::Present);
        let unchanged = self.marker.map_or(Expect::Absent, Expect::Version);
        batch.assert(marker.clone(), unchanged);
        batch.put(marker, Bytes::new());
        store.commit(&Space::Unit, batch).await
    }
}

fn catalogue_entry(cell: &CellId) -> Key {
    keys::entity(&SetKey::control(ControlSet::Cell), &cell.to_string())
}
