//! The record of a unit that is being copied into a store: as long as it is there, the records are not a whole unit.

use personium_store::{Batch, CommitSeq, Expect, KeyRange};
use personium_types::Result;
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::records::{self, Records, Versioned};

/// A unit that is being copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedCopy {
    /// The mark of the unit.
    #[serde(rename = "u")]
    pub unit: String,
    /// Where it is copied from, for people.
    #[serde(rename = "f")]
    pub from: String,
    /// The last cell of those that were copied, in the order of their ids.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub last_cell: Option<String>,
}

impl UnfinishedCopy {
    /// The place of a unit that is copied from a back-up.
    pub const BACKUP: &str = "a back-up";

    /// Returns the copy into these records that is not finished; `None` if there is none.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find(records: &Records) -> Result<Option<Versioned<Self>>> {
        records.find(&keys::unfinished_copy()).await
    }

    /// Returns the batch that begins the copy. It is refused if there is any record.
    ///
    /// # Errors
    /// If the record cannot be encoded.
    pub fn begin(&self) -> Result<Batch> {
        let mut batch = Batch::new();
        batch.assert_empty(KeyRange::all());
        records::put(&mut batch, keys::unfinished_copy(), self)?;
        Ok(batch)
    }

    /// Returns the batch that replaces the record of this version. It is refused if another process has replaced it.
    ///
    /// # Errors
    /// If the record cannot be encoded.
    pub fn replace(&self, version: CommitSeq) -> Result<Batch> {
        let mut batch = Batch::new();
        records::put_checked(&mut batch, keys::unfinished_copy(), Some(version), self)?;
        Ok(batch)
    }

    /// Returns the batch that makes the copy a whole unit. `stores` is a new random id, by which a back-up knows that numbers of
    /// commits are not those of other stores of the unit.
    #[must_use]
    pub fn finish(&self, version: CommitSeq, stores: &str) -> Batch {
        let mut batch = Batch::new();
        batch.assert(keys::unfinished_copy(), Expect::Version(version));
        batch.delete(keys::unfinished_copy());
        batch.put(keys::unit_mark(), self.unit.as_bytes().to_vec());
        batch.put(keys::store_id(), stores.as_bytes().to_vec());
        batch.change_structure();
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use personium_store::memory::MemoryRecords;
    use personium_store::{Space, StoreError};

    use super::*;
    use crate::unit_mark;

    #[tokio::test]
    async fn copy_begins_in_empty_records_and_is_finished_by_the_process_that_began_it_last() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let mut copy = UnfinishedCopy {
            unit: "0a".to_owned(),
            from: "there".to_owned(),
            last_cell: None,
        };
        assert!(UnfinishedCopy::find(&records).await.unwrap().is_none());
        let begun = records.commit(copy.begin().unwrap()).await.unwrap();
        let again = records.commit(copy.begin().unwrap()).await;
        assert!(matches!(again, Err(StoreError::Conflict)));
        copy.last_cell = Some("1".to_owned());
        let replaced = records.commit(copy.replace(begun).unwrap()).await.unwrap();
        let found = UnfinishedCopy::find(&records).await.unwrap().unwrap();
        assert_eq!((found.value, found.version), (copy.clone(), replaced));
        let late = records.commit(copy.finish(begun, "s")).await;
        assert!(matches!(late, Err(StoreError::Conflict)));
        assert_eq!(unit_mark::find(&records).await.unwrap(), None);
        records.commit(copy.finish(replaced, "s")).await.unwrap();
        assert_eq!(unit_mark::find(&records).await.unwrap().unwrap(), "0a");
        assert!(UnfinishedCopy::find(&records).await.unwrap().is_none());
    }
}
