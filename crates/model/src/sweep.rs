//! What is left of deleted cells and collections, removed in small steps after the answer.

use personium_store::{Batch, Key, KeyRange, Space};
use personium_types::{CellId, Result};

use crate::records::store_error;
use crate::{Unit, keys};

/// The prefix of records of the unit that name deleted cells.
const GONE: &str = "gone";

/// Adds to a batch of the unit's space that a cell is gone.
pub(crate) fn cell_is_gone(batch: &mut Batch, cell: &CellId) {
    batch.put(gone(cell), Vec::new());
}

fn gone(cell: &CellId) -> Key {
    Key::table(b'M').text(GONE).text(&cell.to_string()).build()
}

impl Unit {
    /// Removes everything of cells that were deleted. Called after a deletion and at every start, so that a crash
    /// between the deletion and its sweep leaves nothing for ever.
    pub async fn sweep_cells(&self) -> Result<()> {
        let range = KeyRange::prefix(&Key::table(b'M').text(GONE).build());
        let prefix = range.start.as_bytes().len();
        loop {
            let found = self
                .records()
                .list_keys(&range, personium_store::Direction::Up, 100)
                .await?;
            if found.is_empty() {
                return Ok(());
            }
            for key in found {
                if let Some(cell) =
                    keys::last_text(&key, prefix).and_then(|id| id.parse::<CellId>().ok())
                {
                    self.blobs()
                        .drop_space(&Space::Cell(cell))
                        .await
                        .map_err(store_error)?;
                    self.store()
                        .drop_space(&Space::Cell(cell))
                        .await
                        .map_err(store_error)?;
                }
                let mut batch = Batch::new();
                batch.delete(key);
                self.records().commit(batch).await.map_err(store_error)?;
            }
        }
    }
}
