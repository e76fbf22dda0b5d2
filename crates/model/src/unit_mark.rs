//! The mark of a unit in its records, and the cells that the records name: what tells records of one unit from those of another,
//! and a unit that lost files from a whole one.

use personium_store::{Batch, Direction, Expect, StoreError};
use personium_types::{CellId, Code, Error, Result};

use crate::keys::{self, ControlSet, SetKey};
use crate::records::{Records, store_error};

/// The number of records that are read at once.
const BATCH_RECORDS: usize = 1_000;

/// Returns the mark in the records of a unit; `None` if they have none.
///
/// # Errors
/// A failure of the store; [`Code::StoreCorrupt`] if the mark is not text.
pub async fn find(records: &Records) -> Result<Option<String>> {
    let found = records.find_bytes(&keys::unit_mark()).await?;
    let text = found.map(|bytes| String::from_utf8(bytes.into()));
    text.transpose()
        .map_err(|error| Error::new(Code::StoreCorrupt).with_source(error))
}

/// Puts the mark into the records of a unit.
///
/// # Errors
/// A failure of the store.
pub async fn put(records: &Records, mark: &str) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(keys::unit_mark(), mark.as_bytes().to_vec());
    records.commit(batch).await.map_err(store_error).map(drop)
}

/// Puts the mark into the records of a unit that has none. Returns whether it is there now; otherwise, the unit has another one.
///
/// # Errors
/// A failure of the store.
pub async fn create(records: &Records, mark: &str) -> Result<bool> {
    let mut batch = Batch::new();
    batch.assert(keys::unit_mark(), Expect::Absent);
    batch.put(keys::unit_mark(), mark.as_bytes().to_vec());
    match records.commit(batch).await {
        Err(StoreError::Conflict) => Ok(find(records).await?.as_deref() == Some(mark)),
        other => other.map_err(store_error).map(|_| true),
    }
}

/// Returns the cells of the catalogue of a unit.
///
/// # Errors
/// A failure of the store.
pub async fn list_cells(records: &Records) -> Result<Vec<CellId>> {
    let mut range = keys::entities(&SetKey::control(ControlSet::Cell));
    let prefix = range.start.as_bytes().len();
    let mut cells = Vec::new();
    loop {
        let found = records.list_keys(&range, Direction::Up, BATCH_RECORDS);
        let found = found.await?;
        let ids = found.iter().filter_map(|key| keys::last_text(key, prefix));
        cells.extend(ids.filter_map(|id| id.parse::<CellId>().ok()));
        match found.last() {
            Some(last) if found.len() == BATCH_RECORDS => range = range.after(last),
            _ => return Ok(cells),
        }
    }
}

/// Returns the cells that are not in the catalogue and whose records may still be stored.
///
/// # Errors
/// A failure of the store.
pub async fn list_removed_cells(records: &Records) -> Result<Vec<CellId>> {
    let markers = keys::removed_cells();
    let found = records
        .list_keys(&markers.range, Direction::Up, usize::MAX)
        .await?;
    Ok(found
        .iter()
        .filter_map(|key| markers.cell_of(key))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use personium_store::Space;
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn mark_is_found_after_it_was_put() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        assert_eq!(find(&records).await.unwrap(), None);
        assert!(create(&records, "first").await.unwrap());
        assert!(create(&records, "first").await.unwrap());
        assert!(!create(&records, "second").await.unwrap());
        assert_eq!(find(&records).await.unwrap().as_deref(), Some("first"));
        put(&records, "mark").await.unwrap();
        assert_eq!(find(&records).await.unwrap().as_deref(), Some("mark"));
        assert!(list_cells(&records).await.unwrap().is_empty());
        assert!(list_removed_cells(&records).await.unwrap().is_empty());
    }
}
