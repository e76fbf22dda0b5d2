//! The record of a cell that was removed for good: back-ups lose it too, and a restore does not bring it back without being told.

use personium_store::Batch;
use personium_types::{CellId, Result};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::records::{self, Records, decode};

/// The number of records that are read at once.
const PAGE_RECORDS: usize = 1_000;

/// A cell that was removed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedCell {
    /// Its name.
    #[serde(rename = "n")]
    pub name: String,
    /// When it was removed, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub time_ms: i64,
}

impl ErasedCell {
    /// Whether a cell in a back-up is this one, or one that it has replaced: of the same name, and made before. The begin of an id is the time at
    /// which it was made.
    #[must_use]
    pub fn is(&self, own: &CellId, id: &CellId, name: &str) -> bool {
        id == own || (name == self.name && id < own)
    }

    pub(crate) fn put(&self, batch: &mut Batch, id: &CellId) -> Result<()> {
        records::put(batch, keys::erased_cell(id), self)
    }

    /// Lists all such cells of the unit, in the order of their ids.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list(unit: &Records) -> Result<Vec<(CellId, Self)>> {
        let markers = keys::erased_cells();
        let (mut range, mut found) = (markers.range.clone(), Vec::new());
        loop {
            let page = unit.list_bytes(&range, PAGE_RECORDS).await?;
            for (key, value) in &page {
                if let Some(id) = markers.cell_of(key) {
                    found.push((id, decode(value)?));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE_RECORDS => range = range.after(last),
                _ => return Ok(found),
            }
        }
    }
}
