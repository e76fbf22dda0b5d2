//! Garbage collection: removes in the background what was unlinked at once, the trees of collections and whole cells.
//!
//! Unlinking a collection adds a garbage record in the same batch. Before that the cell is marked in the space of the unit,
//! so that a starting unit finds the cells with garbage without reading every cell. Each step of a collection is one small
//! batch, and every step may be repeated.

mod orphaned_blobs;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_store::{Batch, Direction, Expect, Key, Space, StoreError};
use personium_types::error::chain;
use personium_types::{CellId, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::keys::{self, CellMarkers, ControlSet, SetKey};
use crate::node::{Node, NodeKind};
use crate::records::{self, Records, store_error};
use crate::{CellContext, Unit, cell_announcement, cell_deletion, entity};

/// The number of records that one step reads or removes.
const BATCH_RECORDS: usize = 200;

/// The time after which the space of a cell that is still not in the catalogue is garbage. A creation takes milliseconds; one that
/// takes longer fails.
const MAX_CREATION_TIME: Duration = Duration::from_secs(1);

/// The value of the marker of a cell whose space was created and that is not in the catalogue yet.
const NEW_SPACE: &[u8] = b"new";

/// The stored form of a garbage record: a collection that was unlinked and whose content is still stored.
#[derive(Debug, Serialize, Deserialize)]
struct GarbageRecord {
    #[serde(rename = "i")]
    id: NodeId,
    #[serde(rename = "k")]
    kind: NodeKind,
}

/// Marks a cell as one that may have garbage. To be done before a batch with [`add_record`] is committed.
///
/// # Errors
/// A failure of the store.
pub async fn mark_pending(unit: &Unit, context: &CellContext) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(keys::garbage_marker(&context.cell().id), Bytes::new());
    let committed = unit.records().commit(batch).await;
    committed.map_err(store_error).map(drop)
}

/// Adds the garbage record of a collection or box to the batch that unlinks it.
///
/// # Errors
/// [`Code::StoreCorrupt`](personium_types::Code::StoreCorrupt) if the record cannot be encoded.
pub fn add_record(batch: &mut Batch, node: &Node) -> Result<()> {
    let record = GarbageRecord {
        id: node.id,
        kind: node.kind,
    };
    records::put(batch, keys::garbage_record(&node.id), &record)
}

/// Creates the space of a new cell. Until the batch that adds the cell to the catalogue is committed, the space is garbage.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn create_space(unit: &Unit, cell: &CellId, batch: &mut Batch) -> Result<()> {
    let marker = keys::removed_cell(cell);
    let mut mark = Batch::new();
    mark.put(marker.clone(), NEW_SPACE);
    let version = unit.records().commit(mark).await.map_err(store_error)?;
    let space = Space::Cell(*cell);
    unit.store()
        .create_space(&space)
        .await
        .map_err(store_error)?;
    batch.assert(marker.clone(), Expect::Version(version));
    batch.delete(marker);
    Ok(())
}

/// Adds to the batch that removes a cell that all its records and bodies are garbage.
pub fn add_removed_cell(batch: &mut Batch, cell: &CellId) {
    batch.put(keys::removed_cell(cell), Bytes::new());
}

/// Collects the garbage of a cell in the background. A failure is logged; the next start of the unit retries.
pub fn start(unit: &Arc<Unit>, cell: CellId) {
    spawn(unit, cell, move |unit| async move {
        collect_cell(&unit, &cell).await
    });
}

/// Collects the records and bodies of a removed cell in the background.
pub fn start_for_removed_cell(unit: &Arc<Unit>, cell: CellId) {
    spawn(unit, cell, move |unit| async move {
        collect_removed_cell(&unit, &cell).await
    });
}

fn spawn<F, Fut>(unit: &Arc<Unit>, cell: CellId, collect: F)
where
    F: FnOnce(Arc<Unit>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let unit = Arc::clone(unit);
    tokio::spawn(async move {
        let permits = Arc::clone(&unit.limits().collections);
        let Ok(_permit) = permits.acquire_owned().await else {
            return;
        };
        if let Err(error) = collect(unit).await {
            log_failure(&cell, &error);
        }
    });
}

fn log_failure(cell: &CellId, error: &personium_types::Error) {
    tracing::warn!(
        cell.id = %cell,
        error = %chain(error),
        "failed to collect garbage, will retry at the next start"
    );
}

impl Unit {
    /// Tells other processes of changes of the catalogue of which a process that has ended told nobody.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn announce_changed_cells(&self) -> Result<()> {
        for cell in self.list_marked_cells(&keys::changed_cells()).await? {
            let marker = keys::changed_cell(&cell);
            if let Some(version) = self.records().find_version(&marker).await? {
                let announced = cell_announcement::announce(self.store(), &cell, version);
                announced.await.map_err(store_error)?;
            }
        }
        Ok(())
    }

    /// Undoes the deletions of empty cells that a process left unfinished. One that another process works on is undone too, and
    /// begun again by that process.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn undo_cell_deletions(&self) -> Result<()> {
        for cell in self.list_marked_cells(&keys::cell_deletions()).await? {
            let undone = cell_deletion::undo(self.store(), &cell).await;
            undone.map_err(store_error)?;
        }
        Ok(())
    }

    /// Collects the garbage that the last run of the unit left. To be called once after the start.
    ///
    /// # Errors
    /// A failure of the store. Cells whose collection fails are logged and left for the next start.
    pub async fn resume_garbage_collection(&self) -> Result<()> {
        self.announce_changed_cells().await?;
        self.undo_cell_deletions().await?;
        // First the removed cells: their collection also removes their other markers.
        let removed = self.list_marked_cells(&keys::removed_cells()).await?;
        for cell in self.without_new_cells(removed).await? {
            if let Err(error) = collect_removed_cell(self, &cell).await {
                log_failure(&cell, &error);
            }
        }
        for cell in self.list_marked_cells(&keys::garbage_markers()).await? {
            if let Err(error) = collect_cell(self, &cell).await {
                log_failure(&cell, &error);
            }
        }
        Ok(())
    }

    /// These cells without those whose creation is under way, in this process or in another one.
    async fn without_new_cells(&self, cells: Vec<CellId>) -> Result<Vec<CellId>> {
        let records = self.records();
        let mut new = Vec::new();
        for cell in &cells {
            let marker = keys::removed_cell(cell);
            if records.find_bytes(&marker).await?.as_deref() == Some(NEW_SPACE) {
                new.push((*cell, records.find_version(&marker).await?));
            }
        }
        if new.is_empty() {
            return Ok(cells);
        }
        tokio::time::sleep(MAX_CREATION_TIME).await;
        let mut creating = Vec::new();
        for (cell, version) in new {
            if records.find_version(&keys::removed_cell(&cell)).await? != version {
                creating.push(cell);
            }
        }
        let mut cells = cells;
        cells.retain(|cell| !creating.contains(cell));
        Ok(cells)
    }

    /// The cells that markers in the space of the unit name.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_marked_cells(&self, markers: &CellMarkers) -> Result<Vec<CellId>> {
        let mut range = markers.range.clone();
        let mut out = Vec::new();
        loop {
            let records = self.records();
            let found = records.list_keys(&range, Direction::Up, BATCH_RECORDS);
            let found = found.await?;
            out.extend(found.iter().filter_map(|key| markers.cell_of(key)));
            match found.last() {
                Some(last) if found.len() == BATCH_RECORDS => range = range.after(last),
                _ => return Ok(out),
            }
        }
    }
}

/// Collects everything that was unlinked in a cell, then removes its marker.
async fn collect_cell(unit: &Unit, cell: &CellId) -> Result<()> {
    let records = unit.cell_records(cell);
    let marker = keys::garbage_marker(cell);
    loop {
        let marked = unit.records().find_version(&marker).await?;
        while let Some((key, garbage)) = records
            .list::<GarbageRecord>(&keys::garbage_records(), Direction::Up, 1)
            .await?
            .pop()
        {
            collect_node(unit, &records, &key, &garbage.value).await?;
        }
        let Some(version) = marked else {
            return Ok(());
        };
        // Another removal may have marked the cell again, and its garbage record may not have been seen yet.
        let mut batch = Batch::new();
        batch.assert(marker.clone(), Expect::Version(version));
        batch.delete(marker.clone());
        match unit.records().commit(batch).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict) => {}
            Err(other) => return Err(store_error(other)),
        }
    }
}

/// Removes the content of one unlinked collection; collections in it get garbage records of their own.
async fn collect_node(
    unit: &Unit,
    records: &Records,
    key: &Key,
    garbage: &GarbageRecord,
) -> Result<()> {
    loop {
        let children = keys::children(&garbage.id);
        let found = records.list::<Node>(&children, Direction::Up, BATCH_RECORDS);
        let found = found.await?;
        if found.is_empty() {
            break;
        }
        let mut batch = Batch::new();
        let mut blobs = Vec::new();
        for (key, node) in found {
            batch.delete(key);
            match &node.value.file {
                Some(body) => {
                    body.delete_record(&mut batch);
                    blobs.extend((!body.inline).then_some(body.blob));
                }
                None => add_record(&mut batch, &node.value)?,
            }
        }
        records.commit(batch).await.map_err(store_error)?;
        for blob in blobs {
            let removed = unit.blobs().remove(records.space(), &blob).await;
            removed.map_err(store_error)?;
        }
    }
    if garbage.kind == NodeKind::Odata {
        for table in keys::collection_tables(&garbage.id) {
            records.remove_range(&table).await?;
        }
    }
    let mut batch = Batch::new();
    batch.delete(keys::child_count(&garbage.id));
    batch.delete(key.clone());
    records.commit(batch).await.map_err(store_error).map(drop)
}

/// Removes the records and bodies of a cell that is no longer in the catalogue.
async fn collect_removed_cell(unit: &Unit, cell: &CellId) -> Result<()> {
    if !claim(unit, cell).await? {
        return Ok(());
    }
    let set = SetKey::control(ControlSet::Cell);
    let found = entity::find(&unit.records(), &set, &cell.to_string()).await?;
    if found.is_none() {
        let space = Space::Cell(*cell);
        unit.store().drop_space(&space).await.map_err(store_error)?;
        unit.blobs().drop_space(&space).await.map_err(store_error)?;
    }
    let mut batch = Batch::new();
    batch.delete(keys::removed_cell(cell));
    batch.delete(keys::garbage_marker(cell));
    batch.delete(keys::outbox_marker(cell));
    let committed = unit.records().commit(batch).await;
    committed.map_err(store_error).map(drop)
}

/// Makes sure that the space of a cell that was never added to the catalogue is not added any more. Returns whether the cell
/// is garbage.
async fn claim(unit: &Unit, cell: &CellId) -> Result<bool> {
    let marker = keys::removed_cell(cell);
    let records = unit.records();
    if records.find_bytes(&marker).await?.as_deref() != Some(NEW_SPACE) {
        return Ok(true);
    }
    let Some(version) = records.find_version(&marker).await? else {
        return Ok(false);
    };
    let mut batch = Batch::new();
    batch.assert(marker.clone(), Expect::Version(version));
    batch.put(marker, Bytes::new());
    match records.commit(batch).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict) => Ok(false),
        Err(other) => Err(store_error(other)),
    }
}
