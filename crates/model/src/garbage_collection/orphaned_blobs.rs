//! Orphaned blobs: file bodies in the blob store that no node names, left by interrupted requests.
//!
//! On a shared store one server node at a time scans. The age of a body says little there, because the clocks of the machines may
//! differ: a body is removed when the scanning server node has found it orphaned for an hour by its own monotonic clock. A record
//! says so first, and whoever was suspended for longer than that between an upload and its file is refused because of it.

use std::time::Duration;

use bytes::Bytes;
use personium_store::{Batch, Direction, Expect, Key, KeyRange, Space, StoreError};
use personium_types::error::chain;
use personium_types::{BlobId, CellId, Code, Result};

use super::BATCH_RECORDS;
use crate::Unit;
use crate::keys::{self, ControlSet, SetKey};
use crate::records::store_error;

impl Unit {
    /// Removes the orphaned blobs of all cells that are at least `min_age` old, and returns their number. Waits `pause` after
    /// each cell. A cell whose data cannot be read is left out. On a shared store nothing is done while another server node
    /// scans, and an orphan is removed by the first scan an hour after the one that found it.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn collect_orphaned_blobs(
        &self,
        pause: Duration,
        min_age: Duration,
    ) -> Result<usize> {
        let claim = match self.store().is_shared() {
            true => match self.acquire_claim(&keys::orphan_scan()).await? {
                None => return Ok(0),
                claim => claim,
            },
            false => None,
        };
        self.prune_journal(&Space::Unit).await;
        let mut removed = 0;
        let mut range = keys::entities(&SetKey::control(ControlSet::Cell));
        let prefix = range.start.as_bytes().len();
        loop {
            let records = self.records();
            let found = records.list_keys(&range, Direction::Up, BATCH_RECORDS);
            let found = found.await?;
            for key in &found {
                let Some(cell) = keys::last_text(key, prefix).and_then(|id| id.parse().ok()) else {
                    continue;
                };
                if let Some(claim) = &claim
                    && !self.holds(claim).await?
                {
                    return Ok(removed);
                }
                match self.collect_orphaned_blobs_of(&cell, min_age).await {
                    Ok(of_cell) => removed += of_cell,
                    // It was reported when it was found.
                    Err(error) if error.code() == Code::StoreCorrupt => {}
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(pause).await;
            }
            match found.last() {
                Some(last) if found.len() == BATCH_RECORDS => range = range.after(last),
                _ => return Ok(removed),
            }
        }
    }

    /// Removes what the journal of a space need not keep any more. Without space on the disk it cannot be done, which concerns no body.
    async fn prune_journal(&self, space: &Space) {
        if let Err(error) = self.store().prune_journal(space).await {
            tracing::debug!(?space, error = %chain(&error), "failed to prune a journal");
        }
    }

    /// Removes the orphaned blobs of a cell that are at least `min_age` old, and on a shared store were found an hour ago. Returns
    /// their number.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn collect_orphaned_blobs_of(
        &self,
        cell: &CellId,
        min_age: Duration,
    ) -> Result<usize> {
        let space = Space::Cell(*cell);
        let records = self.cell_records(cell);
        // Without any records every blob looks orphaned. They were lost, for example by restoring only a part of a backup.
        if records.is_empty(&KeyRange::all()).await? {
            let blobs = self.blobs().list(&space, None, min_age, 1).await;
            if !blobs.map_err(store_error)?.is_empty() {
                tracing::error!(
                    cell.id = %cell,
                    "cell has file bodies but no records, orphaned blobs are not removed"
                );
            }
            return Ok(0);
        }
        self.prune_journal(&space).await;
        let mut after: Option<BlobId> = None;
        let (mut removed, mut orphans) = (0, Vec::new());
        loop {
            let found = self
                .blobs()
                .list(&space, after.as_ref(), min_age, BATCH_RECORDS)
                .await
                .map_err(store_error)?;
            let references: Vec<Key> = found.iter().map(keys::blob_reference).collect();
            let known = records.are_present(&references).await?;
            let unknown = found.iter().zip(known).filter(|(_, known)| !known);
            for (id, _) in unknown {
                if self.store().is_shared() {
                    orphans.push(*id);
                } else {
                    self.blobs().remove(&space, id).await.map_err(store_error)?;
                    removed += 1;
                }
            }
            match found.last() {
                Some(last) if found.len() == BATCH_RECORDS => after = Some(*last),
                _ => break,
            }
        }
        for id in self.known_orphans().update(cell, orphans, self.monotonic()) {
            let mut batch = Batch::new();
            batch.assert(keys::blob_reference(&id), Expect::Absent);
            batch.put(keys::removed_orphan(&id), Bytes::new());
            match records.commit(batch).await {
                Ok(_) => {}
                // It has a file now, or its cell is being deleted.
                Err(StoreError::Conflict | StoreError::Sealed) => continue,
                Err(error) => return Err(store_error(error)),
            }
            self.blobs()
                .remove(&space, &id)
                .await
                .map_err(store_error)?;
            removed += 1;
        }
        Ok(removed)
    }
}
