//! The cells whose accounts can administrate the unit, unless the settings name issuers of unit users.
//!
//! One record of the unit has their names. It is read for each token of a unit user and never cached: what one process changes,
//! every other honours with its next request.

use personium_store::{Batch, CommitSeq, Expect};
use personium_types::Result;

use crate::keys;
use crate::records::{self, Records};

/// The recorded names; `None` if there is no record.
///
/// # Errors
/// A failure of the store.
pub async fn find(unit: &Records) -> Result<Option<Vec<String>>> {
    let found = unit.find(&keys::administrator_cells()).await?;
    Ok(found.map(|found| found.value))
}

/// Adds the name of a cell, unless it is recorded.
///
/// # Errors
/// A failure of the store.
pub async fn add(unit: &Records, cell: &str) -> Result<()> {
    let build = || async move {
        let (version, mut cells) = read(unit).await?;
        let mut batch = Batch::new();
        if !cells.iter().any(|known| known == cell) {
            cells.push(cell.to_owned());
            put(&mut batch, version, &cells)?;
        }
        Ok((batch, ()))
    };
    unit.transact(build).await
}

/// Records these names, unless there is a record. Returns what is recorded then. Units of earlier versions have the names in a file
/// of one node.
///
/// # Errors
/// A failure of the store.
pub async fn adopt(unit: &Records, cells: &[String]) -> Result<Vec<String>> {
    let build = || async move {
        let mut batch = Batch::new();
        let recorded = find(unit).await?;
        if recorded.is_none() && !cells.is_empty() {
            put(&mut batch, None, cells)?;
        }
        Ok((batch, recorded.unwrap_or_else(|| cells.to_vec())))
    };
    unit.transact(build).await
}

/// Adds to a batch of the unit that a cell gets another name: if its accounts can administrate the unit, they still can.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn rename(unit: &Records, batch: &mut Batch, old: &str, new: &str) -> Result<()> {
    let (version, cells) = read(unit).await?;
    if !cells.iter().any(|known| known == old) {
        let unchanged = version.map_or(Expect::Absent, Expect::Version);
        batch.assert(keys::administrator_cells(), unchanged);
        return Ok(());
    }
    let renamed = |known: String| if known == old { new.to_owned() } else { known };
    let cells: Vec<String> = cells.into_iter().map(renamed).collect();
    put(batch, version, &cells)
}

async fn read(unit: &Records) -> Result<(Option<CommitSeq>, Vec<String>)> {
    let found = unit
        .find::<Vec<String>>(&keys::administrator_cells())
        .await?;
    Ok(found.map_or_else(Default::default, |found| (Some(found.version), found.value)))
}

fn put(batch: &mut Batch, version: Option<CommitSeq>, cells: &[String]) -> Result<()> {
    records::put_checked(batch, keys::administrator_cells(), version, &cells)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use personium_store::Space;
    use personium_store::memory::MemoryRecords;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn names_of_an_older_file_are_recorded_once_and_the_record_counts_from_then_on() {
        let unit = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        assert!(adopt(&unit, &[]).await.unwrap().is_empty());
        assert_eq!(find(&unit).await.unwrap(), None);
        let first = names(&["unitadmin"]);
        assert_eq!(adopt(&unit, &first).await.unwrap(), first);
        add(&unit, "ops").await.unwrap();
        add(&unit, "ops").await.unwrap();
        let both = names(&["unitadmin", "ops"]);
        assert_eq!(adopt(&unit, &names(&["old"])).await.unwrap(), both);
        assert_eq!(find(&unit).await.unwrap(), Some(both));
    }

    #[tokio::test]
    async fn only_the_renamed_cell_gets_another_name_and_a_concurrent_change_is_noticed() {
        let unit = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let mut batch = Batch::new();
        rename(&unit, &mut batch, "a", "b").await.unwrap();
        add(&unit, "a").await.unwrap();
        assert!(unit.commit(batch).await.is_err(), "a was added meanwhile");
        for (old, new, expected) in [("x", "y", "a"), ("a", "b", "b")] {
            let mut batch = Batch::new();
            rename(&unit, &mut batch, old, new).await.unwrap();
            unit.commit(batch).await.unwrap();
            assert_eq!(find(&unit).await.unwrap(), Some(names(&[expected])));
        }
    }
}
