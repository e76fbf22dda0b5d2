//! Records that were read before they are asked for.

use std::collections::HashMap;

use personium_store::{Key, Record, RecordStore, Result, Snapshot, Space, StructureVersion};

/// The largest number of keys that are read at once.
const KEYS_PER_READ: usize = 1_000;

/// Records that were read in advance, and keys without one.
#[derive(Default)]
pub(super) struct KnownRecords {
    records: HashMap<Key, Option<Record>>,
    /// The version of the structure when the first of them were read.
    structure: StructureVersion,
}

impl KnownRecords {
    /// Reads records.
    ///
    /// # Errors
    /// Failures of the store.
    pub(super) async fn read(store: &dyn RecordStore, space: &Space, keys: &[Key]) -> Result<Self> {
        let mut known = Self {
            records: HashMap::with_capacity(keys.len()),
            structure: StructureVersion::MAX,
        };
        for page in keys.chunks(KEYS_PER_READ) {
            let found = store.get(space, page).await?;
            known.structure = known.structure.min(found.structure);
            known.records.extend(page.iter().cloned().zip(found.value));
        }
        Ok(known)
    }

    /// The records of these keys; `None` if one of them was not read.
    pub(super) fn get(&self, keys: &[Key]) -> Option<Snapshot<Vec<Option<Record>>>> {
        if keys.is_empty() {
            return None;
        }
        let found = keys.iter().map(|key| self.records.get(key).cloned());
        let value = found.collect::<Option<Vec<_>>>()?;
        let structure = self.structure;
        Some(Snapshot { value, structure })
    }
}
