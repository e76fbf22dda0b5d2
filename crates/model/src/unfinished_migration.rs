//! The record of a migration: as long as it is there, cells of another unit are being taken over and no server node starts.

use personium_store::{Batch, Expect};
use personium_types::{Code, Result};
use serde::{Deserialize, Serialize};

use crate::keys::{self, ControlSet, SetKey};
use crate::records::{self, Records, store_error};

/// A migration that has begun and is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedMigration {
    /// Where the cells come from, for people.
    #[serde(rename = "f")]
    pub from: String,
}

impl UnfinishedMigration {
    /// Returns the migration that is not finished; `None` if there is none.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find(records: &Records) -> Result<Option<Self>> {
        let found = records.find(&keys::unfinished_migration()).await?;
        Ok(found.map(|found| found.value))
    }

    /// Begins the migration into a unit without cells, given the records of the unit.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the unit has cells or another migration; a failure of the store.
    pub async fn begin(&self, records: &Records) -> Result<()> {
        let mut batch = Batch::new();
        batch.assert(keys::unfinished_migration(), Expect::Absent);
        batch.assert_empty(keys::entities(&SetKey::control(ControlSet::Cell)));
        records::put(&mut batch, keys::unfinished_migration(), self)?;
        records.commit(batch).await.map_err(store_error).map(drop)
    }

    /// Ends the migration: server nodes may start.
    ///
    /// # Errors
    /// [`Code::Conflict`] if there is none; a failure of the store.
    pub async fn finish(records: &Records) -> Result<()> {
        let key = keys::unfinished_migration();
        let found = records.find_version(&key).await?.ok_or(Code::Conflict)?;
        let mut batch = Batch::new();
        batch.assert(key.clone(), Expect::Version(found));
        batch.delete(key);
        records.commit(batch).await.map_err(store_error).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use personium_store::Space;
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn migration_begins_in_a_unit_without_cells_and_ends_once() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let migration = UnfinishedMigration {
            from: "there".to_owned(),
        };
        assert!(UnfinishedMigration::finish(&records).await.is_err());
        migration.begin(&records).await.unwrap();
        assert!(migration.begin(&records).await.is_err());
        let found = UnfinishedMigration::find(&records).await.unwrap();
        assert_eq!(found, Some(migration.clone()));
        UnfinishedMigration::finish(&records).await.unwrap();
        assert_eq!(UnfinishedMigration::find(&records).await.unwrap(), None);
        let mut cell = Batch::new();
        cell.put(keys::entity(&SetKey::control(ControlSet::Cell), "c"), "x");
        records.commit(cell).await.unwrap();
        let refused = migration.begin(&records).await.unwrap_err();
        assert_eq!(refused.code(), Code::Conflict);
    }
}
