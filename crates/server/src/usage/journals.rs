//! The journals of a unit (`store.journalInHours`): the space that they take beside what cells store, which no quota limits.

use personium_store::{JournalPosition, Limit, RecordStore, Result, Space, StoreError};
use serde_json::{Map, Value, json};

use crate::unit_reader::UnitReader;

/// The part of a journal that is read at once.
const PAGE: Limit = Limit::records(1_000).or_bytes(1 << 20);

/// The bytes that the journal of a space takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct JournalUsage {
    /// The changes of its records.
    pub(super) changes: u64,
    /// Removed file bodies.
    pub(super) removed_files: u64,
}

impl JournalUsage {
    /// Reads the journal of a space, all of it.
    ///
    /// # Errors
    /// A failure of a store.
    pub(super) async fn read(unit: &UnitReader, space: &Space) -> Result<Self> {
        let removed_files = match unit.bodies.kept_bytes(space).await {
            Err(StoreError::SpaceDropped) => 0,
            read => read?,
        };
        Ok(Self {
            changes: changes(&*unit.records, space).await?,
            removed_files,
        })
    }

    /// Adds that of another space.
    pub(super) fn add(&mut self, other: Self) {
        self.changes = self.changes.saturating_add(other.changes);
        self.removed_files = self.removed_files.saturating_add(other.removed_files);
    }

    /// Adds the members of the JSON form.
    pub(super) fn put(self, out: &mut Map<String, Value>) {
        out.insert("journalBytes".to_owned(), json!(self.changes));
        out.insert("removedFileBytes".to_owned(), json!(self.removed_files));
    }
}

async fn changes(records: &dyn RecordStore, space: &Space) -> Result<u64> {
    let (mut bytes, mut after) = (0_u64, JournalPosition::from_number(0));
    loop {
        let page = match records.journal(space, after, PAGE).await {
            Err(StoreError::SpaceDropped) => return Ok(bytes),
            page => page?,
        };
        let entries = page.map(|page| page.entries).unwrap_or_default();
        let Some(last) = entries.last() else {
            return Ok(bytes);
        };
        after = last.position;
        let lengths = entries.iter().map(|entry| entry.changes.len() as u64);
        bytes = lengths.fold(bytes, u64::saturating_add);
    }
}
