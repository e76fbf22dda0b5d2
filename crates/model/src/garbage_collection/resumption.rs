//! Goes on with collections that a dead server node, or an earlier run of this one, did not finish.

use std::sync::Arc;

use personium_store::Direction;
use personium_types::{CellId, Result};

use super::{BATCH_RECORDS, collect_cell, collect_removed_cell, log_failure};
use crate::keys::{self, CellMarkers};
use crate::records::store_error;
use crate::{Unit, cell_announcement, cell_deletion};

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

    /// Collects the garbage that was left: that of this process, of earlier runs and of dead server nodes.
    ///
    /// # Errors
    /// A failure of the store. Cells whose collection fails are logged and left for the next call.
    pub async fn resume_garbage_collection(&self) -> Result<()> {
        self.announce_changed_cells().await?;
        self.undo_cell_deletions().await?;
        // First the removed cells: their collection also removes their other markers.
        for cell in self.list_free_cells(&keys::removed_cells()).await? {
            if let Err(error) = collect_removed_cell(self, &cell).await {
                log_failure(&cell, &error);
            }
        }
        for cell in self.list_free_cells(&keys::garbage_markers()).await? {
            if let Err(error) = collect_cell(self, &cell).await {
                log_failure(&cell, &error);
            }
        }
        Ok(())
    }

    /// Begins in the background to collect what is left and not being collected.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn take_over_garbage_collection(self: &Arc<Self>) -> Result<()> {
        self.announce_changed_cells().await?;
        for cell in self.list_free_cells(&keys::removed_cells()).await? {
            if !self.is_active(&keys::removed_cell(&cell)) {
                super::start_for_removed_cell(self, cell);
            }
        }
        for cell in self.list_free_cells(&keys::garbage_markers()).await? {
            if !self.is_active(&keys::garbage_marker(&cell)) {
                super::start(self, cell);
            }
        }
        Ok(())
    }

    /// The cells of the claims that this process has or may take over.
    async fn list_free_cells(&self, markers: &CellMarkers) -> Result<Vec<CellId>> {
        let claims = self.list_free_claims(&markers.range).await?;
        let cells = claims
            .iter()
            .filter_map(|claim| markers.cell_of(&claim.key));
        Ok(cells.collect())
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
