//! Removing in the background what was unlinked at once: trees of collections, whole cells, bodies without a file.
//!
//! Unlinking a collection puts a sweep record beside it in the same batch; before that the cell is announced in the
//! unit's space, so that a unit that starts finds the cells with work left without looking into every cell. Each step
//! of a sweep is one small batch, and every step may be repeated.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_store::{Batch, Direction, Expect, Key, KeyRange, Space, WriteFence};
use personium_types::{BlobId, CellId, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::file::forget_body;
use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Kind, Node};
use crate::records::{self, Records, store_error};
use crate::{CellContext, Unit, entity};

/// Records that one step removes.
const STEP: usize = 200;
/// Bodies younger than this may belong to an upload that is not committed yet.
const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);
/// What the names of sweep records in a cell begin with; the node's id follows.
const IN_CELL: &str = "sweep/";
/// What the names of announcements in the unit's space begin with; the cell's id follows.
const CELLS: &str = "sweep/cell/";
/// What the names of records of cells that are gone begin with; the cell's id follows.
const GONE: &str = "sweep/gone/";

/// A collection that was unlinked and whose content is still there.
#[derive(Debug, Serialize, Deserialize)]
struct Unlinked {
    #[serde(rename = "i")]
    id: NodeId,
    #[serde(rename = "k")]
    kind: Kind,
}

/// Tells the unit that a cell will have something to sweep; to be done before [`enlist`] is committed.
pub async fn mark_pending(unit: &Unit, context: &CellContext) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(pending_marker(&context.cell().id), Bytes::new());
    unit.records()
        .commit(batch)
        .await
        .map_err(store_error)
        .map(drop)
}

/// Adds to the batch that unlinks a collection or box that its content is to be swept.
pub fn enlist(batch: &mut Batch, node: &Node) -> Result<()> {
    let unlinked = Unlinked {
        id: node.id,
        kind: node.kind,
    };
    records::put(
        batch,
        keys::single(&format!("{IN_CELL}{}", node.id)),
        &unlinked,
    )
}

/// Adds to the batch that removes a cell that all its records and bodies are to be swept.
pub fn cell_is_gone(batch: &mut Batch, cell: &CellId) {
    batch.put(keys::single(&format!("{GONE}{cell}")), Bytes::new());
}

/// Sweeps a cell in the background. A failure goes to the log; the next start of the unit tries again.
pub fn start(unit: &Arc<Unit>, cell: CellId) {
    spawn(
        unit,
        move |unit| async move { sweep_cell(&unit, &cell).await },
    );
}

/// Sweeps what a removed cell left, in the background. The fence is kept until then: the cell takes no commit.
pub fn start_gone(unit: &Arc<Unit>, cell: CellId, fence: Option<WriteFence>) {
    spawn(unit, move |unit| async move {
        let swept = sweep_gone(&unit, &cell).await;
        drop(fence);
        swept
    });
}

fn spawn<F, Fut>(unit: &Arc<Unit>, work: F)
where
    F: FnOnce(Arc<Unit>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let unit = Arc::clone(unit);
    tokio::spawn(async move {
        let Ok(_place) = Arc::clone(unit.sweeps()).acquire_owned().await else {
            return;
        };
        if let Err(error) = work(Arc::clone(&unit)).await {
            tracing::warn!("a sweep stopped and goes on at the next start: {error}");
        }
    });
}

fn pending_marker(cell: &CellId) -> Key {
    keys::single(&format!("{CELLS}{cell}"))
}

impl Unit {
    /// Finishes the sweeps that a former run of the unit left: to be called once after the start.
    ///
    /// # Errors
    /// If the store fails; cells whose sweep fails are named in the log and left for the next start.
    pub async fn resume_sweeps(&self) -> Result<()> {
        for cell in self.list_marked_cells(CELLS).await? {
            if let Err(error) = sweep_cell(self, &cell).await {
                tracing::warn!(cell.id = %cell, "the content of cell {cell} could not be swept: {error}");
            }
        }
        for cell in self.list_marked_cells(GONE).await? {
            if let Err(error) = sweep_gone(self, &cell).await {
                tracing::warn!(cell.id = %cell, "the removed cell {cell} could not be swept: {error}");
            }
        }
        Ok(())
    }

    /// The cells whose ids follow `begin` in the names of records of the unit's space.
    pub(crate) async fn list_marked_cells(&self, begin: &str) -> Result<Vec<CellId>> {
        let mut range = keys::singles(begin);
        // The tag of the table and the fixed part of the name; the id and the end of the part follow.
        let prefix = 1 + begin.len();
        let mut out = Vec::new();
        loop {
            let found = self
                .records()
                .list_keys(&range, Direction::Up, STEP)
                .await?;
            out.extend(
                found
                    .iter()
                    .filter_map(|key| keys::last_text(key, prefix)?.parse::<CellId>().ok()),
            );
            match found.last() {
                Some(last) if found.len() == STEP => range = range.after(last),
                _ => return Ok(out),
            }
        }
    }

    /// Removes bodies that no file names in any cell: what is left of interrupted requests. Meant to run now and
    /// then; waits `pause` between cells.
    pub async fn sweep_orphans(&self, pause: Duration) -> Result<()> {
        let mut range = keys::entities(&SetKey::control(ControlSet::Cell));
        let prefix = range.start.as_bytes().len();
        loop {
            let found = self
                .records()
                .list_keys(&range, Direction::Up, STEP)
                .await?;
            for key in &found {
                let Some(cell) = keys::last_text(key, prefix).and_then(|id| id.parse().ok()) else {
                    continue;
                };
                self.sweep_orphans_of(&cell, ORPHAN_AGE).await?;
                tokio::time::sleep(pause).await;
            }
            match found.last() {
                Some(last) if found.len() == STEP => range = range.after(last),
                _ => return Ok(()),
            }
        }
    }

    /// Removes the bodies of a cell that no file names and that are at least `min_age` old; gives their number.
    pub async fn sweep_orphans_of(&self, cell: &CellId, min_age: Duration) -> Result<usize> {
        let space = Space::Cell(*cell);
        let records = self.cell_records(cell);
        // Records that are all missing were lost, as by a restore of half a backup: then every body looks unused.
        if records.is_empty(&KeyRange::all()).await? {
            let lost = self.blobs().list(&space, None, min_age, 1).await;
            if !lost.map_err(store_error)?.is_empty() {
                tracing::error!(cell.id = %cell, "cell {cell} has bodies of files, but no records: nothing is removed");
            }
            return Ok(0);
        }
        let mut after: Option<BlobId> = None;
        let mut removed = 0;
        loop {
            let found = self
                .blobs()
                .list(&space, after.as_ref(), min_age, STEP)
                .await
                .map_err(store_error)?;
            let references: Vec<Key> = found.iter().map(keys::blob_reference).collect();
            let known = records.are_present(&references).await?;
            for (id, _) in found.iter().zip(known).filter(|(_, known)| !known) {
                self.blobs().remove(&space, id).await.map_err(store_error)?;
                removed += 1;
            }
            match found.last() {
                Some(last) if found.len() == STEP => after = Some(*last),
                _ => return Ok(removed),
            }
        }
    }
}

/// Sweeps everything that was unlinked in a cell, then takes the pending_marker back.
async fn sweep_cell(unit: &Unit, cell: &CellId) -> Result<()> {
    let records = unit.cell_records(cell);
    loop {
        let announced = unit.records().find_version(&pending_marker(cell)).await?;
        while let Some((key, unlinked)) = records
            .list::<Unlinked>(&keys::singles(IN_CELL), Direction::Up, 1)
            .await?
            .pop()
        {
            sweep_node(unit, &records, &key, &unlinked.value).await?;
        }
        let Some(version) = announced else {
            return Ok(());
        };
        // Another removal may have announced itself meanwhile, whose record is perhaps not seen yet.
        let mut batch = Batch::new();
        batch.assert(pending_marker(cell), Expect::Version(version));
        batch.delete(pending_marker(cell));
        match unit.records().commit(batch).await {
            Ok(_) => return Ok(()),
            Err(personium_store::StoreError::Conflict) => {}
            Err(other) => return Err(store_error(other)),
        }
    }
}

/// Removes what lies in one unlinked collection; collections in it get sweep records of their own.
async fn sweep_node(unit: &Unit, records: &Records, key: &Key, unlinked: &Unlinked) -> Result<()> {
    loop {
        let children = keys::children(&unlinked.id);
        let found = records.list::<Node>(&children, Direction::Up, STEP).await?;
        if found.is_empty() {
            break;
        }
        let mut batch = Batch::new();
        let mut bodies = Vec::new();
        for (key, node) in found {
            batch.delete(key);
            match &node.value.file {
                Some(body) => {
                    forget_body(&mut batch, body);
                    bodies.extend((!body.inline).then_some(body.blob));
                }
                None => enlist(&mut batch, &node.value)?,
            }
        }
        records.commit(batch).await.map_err(store_error)?;
        for body in bodies {
            let removed = unit.blobs().remove(records.space(), &body).await;
            removed.map_err(store_error)?;
        }
    }
    if unlinked.kind == Kind::Odata {
        for table in keys::collection_tables(&unlinked.id) {
            remove_range(records, &table).await?;
        }
    }
    let mut batch = Batch::new();
    batch.delete(keys::child_count(&unlinked.id));
    batch.delete(key.clone());
    records.commit(batch).await.map_err(store_error).map(drop)
}

/// Removes all records of a range in small steps.
pub(crate) async fn remove_range(
    records: &Records,
    range: &personium_store::KeyRange,
) -> Result<()> {
    loop {
        let found = records.list_keys(range, Direction::Up, STEP).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for key in found {
            batch.delete(key);
        }
        records.commit(batch).await.map_err(store_error)?;
    }
}

/// Removes the records and bodies of a cell that is not in the catalogue any more.
async fn sweep_gone(unit: &Unit, cell: &CellId) -> Result<()> {
    let set = SetKey::control(ControlSet::Cell);
    let stands = entity::find(&unit.records(), &set, &cell.to_string()).await?;
    if stands.is_none() {
        let space = Space::Cell(*cell);
        unit.store().drop_space(&space).await.map_err(store_error)?;
        unit.blobs().drop_space(&space).await.map_err(store_error)?;
    }
    let mut batch = Batch::new();
    batch.delete(keys::single(&format!("{GONE}{cell}")));
    batch.delete(pending_marker(cell));
    batch.delete(crate::event::outbox_queue::pending_marker(cell));
    unit.records()
        .commit(batch)
        .await
        .map_err(store_error)
        .map(drop)
}
