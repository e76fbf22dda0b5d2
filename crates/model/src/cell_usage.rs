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
use serde::Deserialize;

use crate::keys;
use crate::node::Node;
use crate::records;
use crate::usage::CountedKey;

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
    /// The names, dead properties and access control lists of boxes, collections, files and the cell.
    pub properties: u64,
    /// The links between entities.
    pub links: u64,
    /// The entries of the indexes of user data.
    pub indexes: u64,
    /// The messages of queues and topics.
    pub messages: u64,
    /// The jobs of services.
    pub jobs: u64,
    /// The lines of the event log.
    pub log: u64,
}

impl CellUsage {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.files
            .saturating_add(self.entities)
            .saturating_add(self.properties)
            .saturating_add(self.links)
            .saturating_add(self.indexes)
            .saturating_add(self.messages)
            .saturating_add(self.jobs)
            .saturating_add(self.log)
    }

    /// Adds that of another cell.
    pub fn add(&mut self, other: &Self) {
        self.files = self.files.saturating_add(other.files);
        self.entities = self.entities.saturating_add(other.entities);
        self.properties = self.properties.saturating_add(other.properties);
        self.links = self.links.saturating_add(other.links);
        self.indexes = self.indexes.saturating_add(other.indexes);
        self.messages = self.messages.saturating_add(other.messages);
        self.jobs = self.jobs.saturating_add(other.jobs);
        self.log = self.log.saturating_add(other.log);
    }
}

/// The values of the counters, or what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteCounts {
    /// The bodies of files.
    pub files: i64,
    /// The records of entities.
    pub entities: i64,
    /// The names, dead properties and access control lists of nodes.
    pub properties: i64,
    /// The keys of links.
    pub links: i64,
    /// The keys of index entries.
    pub indexes: i64,
    /// The messages of queues.
    pub queues: i64,
    /// The messages of topics.
    pub topics: i64,
    /// The jobs of services.
    pub jobs: i64,
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
    let found = store.get(&space, &counter_keys()).await?.value;
    let counts = match all_counted || is_marked(&found) {
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
        properties: bytes(counts.properties),
        links: bytes(counts.links),
        indexes: bytes(counts.indexes),
        messages: bytes(counts.queues.saturating_add(counts.topics)),
        jobs: bytes(counts.jobs),
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
    let messages = keys::all_message_texts();
    let content_ranges = [
        keys::all_entities(),
        keys::all_nodes(),
        keys::links_of_space(),
        keys::all_index_entries(),
        keys::all_jobs(),
    ];
    for range in content_ranges.into_iter().chain(messages) {
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
    let mut found = Vec::new();
    for key in counter_keys() {
        let only = KeyRange::prefix(&key);
        let page = snapshot.scan(&only, Limit::records(1)).await?;
        found.push(page.into_iter().next().map(|(_, record)| record));
    }
    Ok(CountedCell {
        content,
        counters: counts_of(&found),
        is_marked: is_marked(&found),
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
        let mut wrong = 0_u64;
        for ((_, is, counter), key) in content.compared_with(&counters).zip(counter_keys()) {
            let difference = is.saturating_sub(counter);
            wrong = wrong.saturating_add(difference.unsigned_abs());
            batch.add_up(key, difference);
        }
        match store.commit(&space, batch).await {
            Ok(_) => return Ok(wrong),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict)
}

/// The part of a message of a topic that is counted.
#[derive(Deserialize)]
struct TopicText {
    #[serde(rename = "b")]
    body: String,
}

impl ByteCounts {
    /// Adds a record of a cell. What cannot be decoded counts nothing.
    pub(crate) fn add(&mut self, key: &Key, record: &Record) {
        if let Some((kind, bytes)) = CountedKey::of(key) {
            let sum = match kind {
                CountedKey::Node => &mut self.properties,
                CountedKey::Link => &mut self.links,
                CountedKey::IndexEntry => &mut self.indexes,
            };
            *sum = sum.saturating_add(bytes);
        }
        match key.as_bytes().first() {
            Some(b'E') => {
                let length = i64::try_from(record.value.len()).unwrap_or(i64::MAX);
                self.entities = self.entities.saturating_add(length);
            }
            Some(b'N') => {
                let Ok(node) = records::decode::<Node>(&record.value) else {
                    return;
                };
                self.properties = self.properties.saturating_add(node.counted_bytes());
                if let Some(file) = node.file {
                    self.files = self.files.saturating_add_unsigned(file.length);
                }
            }
            Some(b'A') => {
                let length = i64::try_from(record.value.len()).unwrap_or(i64::MAX);
                self.queues = self.queues.saturating_add(length);
            }
            Some(b'W') => {
                if let Ok(message) = records::decode::<TopicText>(&record.value) {
                    let length = i64::try_from(message.body.len()).unwrap_or(i64::MAX);
                    self.topics = self.topics.saturating_add(length);
                }
            }
            _ if keys::is_of_jobs(key) => {
                let length = i64::try_from(record.value.len()).unwrap_or(i64::MAX);
                self.jobs = self.jobs.saturating_add(length);
            }
            _ => {}
        }
    }

    /// Each of these numbers with what it counts, and the number in its place in others, in the order of [`counter_keys`].
    pub(crate) fn compared_with(
        &self,
        others: &Self,
    ) -> impl Iterator<Item = (&'static str, i64, i64)> + use<> {
        let (one, other) = (*self, *others);
        [
            ("files", one.files, other.files),
            ("entities", one.entities, other.entities),
            (
                "names, dead properties and access control lists",
                one.properties,
                other.properties,
            ),
            ("links", one.links, other.links),
            ("index entries", one.indexes, other.indexes),
            ("messages of queues", one.queues, other.queues),
            ("messages of topics", one.topics, other.topics),
            ("jobs of services", one.jobs, other.jobs),
        ]
        .into_iter()
    }
}

/// The keys of the counters in the space of a cell, and last that of the mark of a cell that was counted.
pub fn counter_keys() -> [Key; 9] {
    [
        keys::bytes_of_files(),
        keys::bytes_of_entities(),
        keys::bytes_of_properties(),
        keys::bytes_of_links(),
        keys::bytes_of_index_entries(),
        keys::bytes_of_queues(),
        keys::bytes_of_topics(),
        keys::bytes_of_jobs(),
        keys::bytes_counted(),
    ]
}

/// Whether the records of [`counter_keys`] say that the cell was counted.
fn is_marked(found: &[Option<Record>]) -> bool {
    found.len() == counter_keys().len() && found.last().is_some_and(Option::is_some)
}

fn counts_of(found: &[Option<Record>]) -> ByteCounts {
    counts_from(|at| {
        let record = found.get(at).and_then(Option::as_ref);
        record.map_or(0, |record| records::count_of(&record.value))
    })
}

/// The counters, given by their places in [`counter_keys`].
pub(crate) fn counts_from(value: impl Fn(usize) -> i64) -> ByteCounts {
    ByteCounts {
        files: value(0),
        entities: value(1),
        properties: value(2),
        links: value(3),
        indexes: value(4),
        queues: value(5),
        topics: value(6),
        jobs: value(7),
    }
}
