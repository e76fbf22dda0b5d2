//! The bytes that a cell stores: read from its counters, or counted.
//!
//! The counters of a cell that an earlier version has filled lack what it had then. It is counted once, in one snapshot with the
//! counters: the difference is added to them, and a mark is set in the same batch. What is changed meanwhile is added by its own
//! batches, so nothing is lost and nothing is counted twice.

use std::sync::Arc;

use personium_store::{
    Batch, Direction, Expect, Key, KeyRange, Limit, Record, RecordStore, Result, Space, StoreError,
};
use personium_types::CellId;

use crate::keys;
use crate::node::Node;
use crate::records;
use crate::usage;

/// The limits of one page of a count.
const PAGE: Limit = Limit::records(512).or_bytes(1 << 20);
/// The largest number of generations of the event log that are looked at; there are a few.
const LOG_SIZES_MAX: usize = 1_000;
/// The number of times that a count is repeated while others count the same cell.
const MAX_ATTEMPTS: usize = 5;

/// The content of a cell in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellUsage {
    /// The bodies of files, also of snapshots.
    pub files: u64,
    /// The records of entities: user data, schemas, control objects, messages.
    pub entities: u64,
    /// The lines of the event log.
    pub log: u64,
}

impl CellUsage {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.files
            .saturating_add(self.entities)
            .saturating_add(self.log)
    }

    /// Adds that of another cell.
    pub fn add(&mut self, other: &Self) {
        self.files = self.files.saturating_add(other.files);
        self.entities = self.entities.saturating_add(other.entities);
        self.log = self.log.saturating_add(other.log);
    }
}

/// The values of the two counters, or what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteCounts {
    /// The bodies of files.
    pub files: i64,
    /// The records of entities.
    pub entities: i64,
}

/// The content and the counters of a cell in one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedCell {
    /// The content.
    pub content: ByteCounts,
    /// The counters.
    pub counters: ByteCounts,
    /// Whether the cell was marked as counted.
    pub is_marked: bool,
}

/// Reads what a cell stores. `all_counted`: the content of all cells was counted once.
///
/// # Errors
/// A failure of the store; [`StoreError::SpaceDropped`] if the cell was removed.
pub async fn read(store: &dyn RecordStore, cell: &CellId, all_counted: bool) -> Result<CellUsage> {
    let space = Space::Cell(*cell);
    let wanted = [
        keys::bytes_of_files(),
        keys::bytes_of_entities(),
        keys::bytes_counted(),
    ];
    let found = store.get(&space, &wanted).await?.value;
    let counts = match all_counted || found.get(2).is_some_and(Option::is_some) {
        true => counts_of(&found),
        false => count(store, cell).await?.content,
    };
    let sizes = keys::log_sizes();
    let sizes = store.scan(&space, &sizes, Direction::Up, Limit::records(LOG_SIZES_MAX));
    let sizes = sizes.await?.value;
    let log = sizes.iter().map(|(_, size)| records::count_of(&size.value));
    let bytes = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(CellUsage {
        files: bytes(counts.files),
        entities: bytes(counts.entities),
        log: bytes(log.fold(0, i64::saturating_add)),
    })
}

/// Whether the content of all cells of a unit was counted.
///
/// # Errors
/// A failure of the store.
pub async fn all_counted(store: &dyn RecordStore) -> Result<bool> {
    let found = store.get(&Space::Unit, &[keys::bytes_counted()]).await?;
    Ok(found.value.iter().any(Option::is_some))
}

/// Counts the content of a cell in one snapshot with its counters.
///
/// # Errors
/// A failure of the store.
pub async fn count(store: &dyn RecordStore, cell: &CellId) -> Result<CountedCell> {
    let mut snapshot = store.snapshot(&Space::Cell(*cell)).await?;
    let mut content = ByteCounts::default();
    for range in [keys::all_entities(), keys::all_nodes()] {
        let mut rest = range;
        loop {
            let page = snapshot.scan(&rest, PAGE).await?;
            let Some((last, _)) = page.last() else {
                break;
            };
            rest = rest.after(last);
            for (key, record) in &page {
                content.add(key, record);
            }
        }
    }
    let mut found = Vec::with_capacity(3);
    for key in [
        keys::bytes_of_files(),
        keys::bytes_of_entities(),
        keys::bytes_counted(),
    ] {
        let only = KeyRange::prefix(&key);
        let page = snapshot.scan(&only, Limit::records(1)).await?;
        found.push(page.into_iter().next().map(|(_, record)| record));
    }
    Ok(CountedCell {
        content,
        counters: counts_of(&found),
        is_marked: found.get(2).is_some_and(Option::is_some),
    })
}

/// Counts a cell unless it is marked as counted, or again if it `is_again`. Returns by how many bytes the counters were wrong.
///
/// # Errors
/// A failure of the store; [`StoreError::Conflict`] if others count the cell all the time.
pub async fn correct(store: &Arc<dyn RecordStore>, cell: &CellId, is_again: bool) -> Result<u64> {
    let space = Space::Cell(*cell);
    for _ in 0..MAX_ATTEMPTS {
        let mark = store.get(&space, &[keys::bytes_counted()]).await?.value;
        let mark = mark.into_iter().next().flatten();
        if mark.is_some() && !is_again {
            return Ok(0);
        }
        let counted = count(&**store, cell).await?;
        let (content, counters) = (counted.content, counted.counters);
        let mut batch = Batch::new();
        let expected = mark.map_or(Expect::Absent, |mark| Expect::Version(mark.version));
        batch.assert(keys::bytes_counted(), expected);
        batch.put(keys::bytes_counted(), "");
        let files = content.files.saturating_sub(counters.files);
        let entities = content.entities.saturating_sub(counters.entities);
        usage::add_files(&mut batch, files);
        batch.add_up(keys::bytes_of_entities(), entities);
        match store.commit(&space, batch).await {
            Ok(_) => return Ok(files.unsigned_abs() + entities.unsigned_abs()),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict)
}

impl ByteCounts {
    /// Adds a record of a cell. A node that cannot be decoded counts nothing.
    pub(crate) fn add(&mut self, key: &Key, record: &Record) {
        match key.as_bytes().first() {
            Some(b'E') => {
                let length = i64::try_from(record.value.len()).unwrap_or(i64::MAX);
                self.entities = self.entities.saturating_add(length);
            }
            Some(b'N') => {
                let node = records::decode::<Node>(&record.value).ok();
                if let Some(file) = node.and_then(|node| node.file) {
                    self.files = self.files.saturating_add_unsigned(file.length);
                }
            }
            _ => {}
        }
    }
}

fn counts_of(found: &[Option<Record>]) -> ByteCounts {
    let value = |at: usize| {
        let record = found.get(at).and_then(Option::as_ref);
        record.map_or(0, |record| records::count_of(&record.value))
    };
    ByteCounts {
        files: value(0),
        entities: value(1),
    }
}
