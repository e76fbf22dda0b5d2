//! The record of a cell that was removed for good: back-ups lose it too, and a restore does not bring it back without being told.

use std::collections::HashMap;

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
    /// Its owner; `None` if it had none, or if a former version wrote the record.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it was removed, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub time_ms: i64,
}

impl ErasedCell {
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

/// Cells that were removed for good, by id, and by name and owner.
#[derive(Debug, Clone, Default)]
pub struct ErasedCells {
    by_id: HashMap<CellId, ErasedCell>,
    /// The last cell of each owner and name.
    last: HashMap<String, HashMap<String, CellId>>,
}

impl ErasedCells {
    /// Reads those of the unit.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn read(unit: &Records) -> Result<Self> {
        Ok(ErasedCell::list(unit).await?.into_iter().collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The cell with this id.
    #[must_use]
    pub fn get(&self, id: &CellId) -> Option<&ErasedCell> {
        self.by_id.get(id)
    }

    /// The cell that a cell in a back-up is, or that has replaced it: of the same name and owner, and made later. The begin of an id is the time
    /// at which it was made. A cell without an owner can be that of anybody, so only its id counts.
    #[must_use]
    pub fn find(&self, id: &CellId, name: &str, owner: Option<&str>) -> Option<&ErasedCell> {
        let same = self.by_id.get(id);
        same.or_else(|| {
            let last = self.last.get(owner?)?.get(name)?;
            self.by_id.get(last).filter(|_| id < last)
        })
    }
}

impl FromIterator<(CellId, ErasedCell)> for ErasedCells {
    fn from_iter<T: IntoIterator<Item = (CellId, ErasedCell)>>(cells: T) -> Self {
        let mut all = Self::default();
        for (id, cell) in cells {
            if let Some(owner) = &cell.owner {
                let of_owner = all.last.entry(owner.clone()).or_default();
                let last = of_owner.entry(cell.name.clone()).or_insert(id);
                *last = id.max(*last);
            }
            all.by_id.insert(id, cell);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> CellId {
        CellId::from_bytes([number; 16])
    }

    #[test]
    fn older_cell_is_the_erased_one_only_if_name_and_owner_are_equal() {
        let erased = |name: &str, owner: Option<&str>| ErasedCell {
            name: name.to_owned(),
            owner: owner.map(str::to_owned),
            time_ms: 1,
        };
        let all: ErasedCells = [
            (id(3), erased("alice", Some("a"))),
            (id(5), erased("alice", Some("a"))),
            (id(7), erased("free", None)),
        ]
        .into_iter()
        .collect();
        for (number, name, owner, expected) in [
            (3, "renamed", None, true),
            (5, "alice", Some("b"), true),
            (4, "alice", Some("a"), true),
            (4, "alice", Some("b"), false),
            (4, "alice", None, false),
            (4, "bob", Some("a"), false),
            (6, "alice", Some("a"), false),
            (7, "free", None, true),
            (6, "free", None, false),
            (6, "free", Some("a"), false),
        ] {
            let found = all.find(&id(number), name, owner);
            assert_eq!(found.is_some(), expected, "{number} {name} {owner:?}");
        }
        // A former version wrote no owner.
        let old: ErasedCell = serde_json::from_str(r#"{"n":"alice","t":1}"#).unwrap();
        assert_eq!(old, erased("alice", None));
    }
}
