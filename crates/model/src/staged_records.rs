//! Changes of one space that are collected in memory, seen by later reads, and committed together.

mod known_records;

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Expect, Key, KeyRange, Limit, Op, Record,
    RecordStore, Result, Snapshot, Space, StoreError, StructureVersion,
};

use self::known_records::KnownRecords;
use crate::records;

/// The version of the first staged batch. Stores give smaller ones.
const FIRST_STAGED_VERSION: CommitSeq = 1 << 63;
/// The version of a counter that the store does not have.
const ABSENT_COUNTER_VERSION: CommitSeq = CommitSeq::MAX;

/// The records of a space with batches on top that are not committed yet.
///
/// A batch is staged if its assertions hold over the records with the batches before it. What it asserts of records that no
/// batch before it changed becomes an assertion of the whole, so that the whole can be committed only if every batch could.
pub(crate) struct StagedRecords {
    base: Arc<dyn RecordStore>,
    space: Space,
    known: Mutex<KnownRecords>,
    staging: Mutex<Staging>,
}

#[derive(Default)]
struct Staging {
    entries: BTreeMap<Key, StagedValue>,
    asserted: BTreeMap<Key, Vec<Expect>>,
    empty: Vec<KeyRange>,
    /// The sequenced records, which are not seen before the commit: their keys are not known.
    sequenced: Vec<(Key, Bytes)>,
    /// Whether a staged batch changes the structure.
    changes_structure: bool,
    /// The number of staged batches.
    batches: u64,
    /// The size of the staged keys and values.
    bytes: usize,
}

/// The state of a key after the staged batches.
#[derive(Clone)]
enum StagedValue {
    Put(Record),
    Deleted,
    /// The sum to add to the counter of the store.
    Added(i64),
}

impl StagedRecords {
    /// No changes over the records of a space.
    pub(crate) fn new(base: Arc<dyn RecordStore>, space: Space) -> Self {
        Self {
            base,
            space,
            known: Mutex::default(),
            staging: Mutex::default(),
        }
    }

    /// Reads records that will be asked for. What is staged in view of them asserts them, as of all others.
    pub(crate) async fn read_ahead(&self, keys: &[Key]) -> Result<()> {
        let known = KnownRecords::read(&*self.base, &self.space, keys).await?;
        *self.known.lock() = known;
        Ok(())
    }

    /// The size of the staged keys and values in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.staging.lock().bytes
    }

    /// Whether a staged batch puts or deletes this key.
    pub(crate) fn changes(&self, key: &Key) -> bool {
        self.staging.lock().entries.contains_key(key)
    }

    /// One batch with all staged changes, and with what they assert of the store.
    pub(crate) fn to_batch(&self) -> Batch {
        let staging = self.staging.lock();
        let mut batch = Batch::new();
        for (key, expected) in &staging.asserted {
            for expect in expected {
                batch.assert(key.clone(), *expect);
            }
        }
        for range in &staging.empty {
            batch.assert_empty(range.clone());
        }
        for (key, value) in &staging.entries {
            match value {
                StagedValue::Put(record) => batch.put(key.clone(), record.value.clone()),
                StagedValue::Deleted => batch.delete(key.clone()),
                StagedValue::Added(delta) => batch.add(key.clone(), *delta),
            }
        }
        for (prefix, value) in &staging.sequenced {
            batch.put_sequenced(prefix.clone(), value.clone());
        }
        if staging.changes_structure {
            batch.change_structure();
        }
        batch
    }
}

impl Staging {
    fn range<'s>(&'s self, range: &KeyRange) -> Option<Range<'s, Key, StagedValue>> {
        let end = match &range.end {
            Some(end) if *end <= range.start => return None,
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        Some(self.entries.range((Bound::Included(&range.start), end)))
    }

    /// The record of a key after the staged batches. `stored` is that of the store.
    fn visible(&self, key: &Key, stored: Option<Record>) -> Option<Record> {
        match self.entries.get(key) {
            None => stored,
            Some(StagedValue::Put(record)) => Some(record.clone()),
            Some(StagedValue::Deleted) => None,
            Some(StagedValue::Added(delta)) => {
                let sum = stored.as_ref().map_or(0, |r| records::count_of(&r.value));
                Some(Record {
                    value: counter(sum.wrapping_add(*delta)),
                    version: stored.map_or(ABSENT_COUNTER_VERSION, |record| record.version),
                })
            }
        }
    }

    /// The records of a part of a range after the staged batches, in ascending order.
    fn merge(&self, range: &KeyRange, stored: Vec<(Key, Record)>) -> BTreeMap<Key, Record> {
        let mut merged: BTreeMap<Key, Record> = stored.into_iter().collect();
        for (key, _) in self.range(range).into_iter().flatten() {
            let stored = merged.remove(key);
            if let Some(record) = self.visible(key, stored) {
                merged.insert(key.clone(), record);
            }
        }
        merged
    }

    /// Stages a batch.
    fn stage(&mut self, batch: Batch) -> Result<CommitSeq> {
        let mut asserted = Vec::new();
        let mut empty = Vec::new();
        for op in batch.ops() {
            let holds = match op {
                Op::Assert(key, expect) => self.check(key, *expect, &mut asserted),
                Op::AssertEmpty(range) => self.check_empty(range, &mut empty),
                Op::AssertStructure(_) | Op::Seal | Op::Unseal => return Err(unsupported()),
                Op::Put(..)
                | Op::PutSequenced(..)
                | Op::Delete(_)
                | Op::Add(..)
                | Op::TellNews
                | Op::ChangeStructure => true,
            };
            if !holds {
                return Err(StoreError::Conflict);
            }
        }
        for (key, expect) in asserted {
            let known = self.asserted.entry(key).or_default();
            if !known.contains(&expect) {
                known.push(expect);
            }
        }
        self.empty.extend(empty);
        let version = FIRST_STAGED_VERSION + self.batches;
        self.batches += 1;
        for op in batch.into_ops() {
            self.apply(op, version);
        }
        Ok(version)
    }

    /// Whether a key is in a state. What depends on the store is added to `asserted`.
    fn check(&self, key: &Key, expect: Expect, asserted: &mut Vec<(Key, Expect)>) -> bool {
        let of_store = match (self.entries.get(key), expect) {
            (None, expect) => expect,
            (Some(StagedValue::Put(record)), Expect::Version(version)) => {
                return record.version == version;
            }
            (Some(StagedValue::Put(_) | StagedValue::Added(_)), Expect::Present)
            | (Some(StagedValue::Deleted), Expect::Absent) => return true,
            (Some(StagedValue::Added(_)), Expect::Version(ABSENT_COUNTER_VERSION)) => {
                Expect::Absent
            }
            (Some(StagedValue::Added(_)), Expect::Version(version)) => Expect::Version(version),
            (Some(_), _) => return false,
        };
        asserted.push((key.clone(), of_store));
        true
    }

    /// Whether a range has no records. What depends on the store is added to `empty`.
    fn check_empty(&self, range: &KeyRange, empty: &mut Vec<KeyRange>) -> bool {
        let mut rest = range.clone();
        for (key, value) in self.range(range).into_iter().flatten() {
            if !matches!(value, StagedValue::Deleted) {
                return false;
            }
            let after = rest.after(key);
            empty.push(KeyRange {
                start: rest.start,
                end: Some(key.clone()),
            });
            rest = after;
        }
        empty.push(rest);
        true
    }

    fn apply(&mut self, op: Op, version: CommitSeq) {
        let put = |value: Bytes| StagedValue::Put(Record { value, version });
        let (key, value) = match op {
            Op::Assert(..)
            | Op::AssertEmpty(_)
            | Op::AssertStructure(_)
            | Op::TellNews
            | Op::Seal
            | Op::Unseal => return,
            Op::ChangeStructure => {
                self.changes_structure = true;
                return;
            }
            Op::PutSequenced(prefix, value) => {
                self.bytes += prefix.as_bytes().len() + value.len();
                self.sequenced.push((prefix, value));
                return;
            }
            Op::Put(key, value) => (key, put(value)),
            Op::Delete(key) => (key, StagedValue::Deleted),
            Op::Add(key, delta) => {
                let value = match self.entries.get(&key) {
                    None => StagedValue::Added(delta),
                    Some(StagedValue::Added(sum)) => StagedValue::Added(sum.wrapping_add(delta)),
                    Some(StagedValue::Deleted) => put(counter(delta)),
                    Some(StagedValue::Put(record)) => put(counter(
                        records::count_of(&record.value).wrapping_add(delta),
                    )),
                };
                (key, value)
            }
        };
        let key_bytes = key.as_bytes().len();
        self.bytes += value.size_bytes();
        match self.entries.insert(key, value) {
            Some(replaced) => self.bytes -= replaced.size_bytes(),
            None => self.bytes += key_bytes,
        }
    }
}

impl StagedValue {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Put(record) => record.value.len(),
            Self::Deleted | Self::Added(_) => 0,
        }
    }
}

fn counter(value: i64) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

#[async_trait]
impl RecordStore for StagedRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        if *space != self.space {
            return self.base.get(space, keys).await;
        }
        let known = self.known.lock().get(keys);
        let stored = match known {
            Some(known) => known,
            None => self.base.get(space, keys).await?,
        };
        let staging = self.staging.lock();
        Ok(stored.map(|stored| {
            let found = keys.iter().zip(stored);
            let found = found.map(|(key, record)| staging.visible(key, record));
            found.collect()
        }))
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        if *space != self.space {
            return self.base.scan(space, range, order, limit).await;
        }
        let (mut out, mut bytes) = (Vec::new(), 0);
        let mut rest = range.clone();
        let mut oldest = StructureVersion::MAX;
        loop {
            let scanned = self.base.scan(space, &rest, order, limit).await?;
            let stored = scanned.value;
            oldest = oldest.min(scanned.structure);
            let result = |value| {
                Ok(Snapshot {
                    value,
                    structure: oldest,
                })
            };
            let stored_bytes = stored.iter().map(|(_, record)| record.value.len()).sum();
            let last = stored.last().map(|(key, _)| key.clone());
            let last = last.filter(|_| limit.is_reached(stored.len(), stored_bytes));
            // The store says nothing about the keys behind the last one of a page that its limit ended.
            let (covered, next) = split(rest, last.as_ref(), order);
            let merged = self.staging.lock().merge(&covered, stored);
            let merged: Box<dyn Iterator<Item = (Key, Record)> + Send> = match order {
                Direction::Up => Box::new(merged.into_iter()),
                Direction::Down => Box::new(merged.into_iter().rev()),
            };
            for (key, record) in merged {
                if limit.is_reached(out.len(), bytes) {
                    return result(out);
                }
                bytes += record.value.len();
                out.push((key, record));
            }
            match next {
                Some(next) => rest = next,
                None => return result(out),
            }
        }
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        let stored = self.base.count(space, range).await?;
        if *space != self.space {
            return Ok(stored);
        }
        let keys: Vec<Key> = {
            let staging = self.staging.lock();
            let found = staging.range(range).into_iter().flatten();
            found.map(|(key, _)| key.clone()).collect()
        };
        let before = self.base.get(space, &keys).await?.value;
        let staging = self.staging.lock();
        let (mut added, mut removed) = (0, 0);
        for (key, record) in keys.iter().zip(before) {
            let was_present = record.is_some();
            match (was_present, staging.visible(key, record).is_some()) {
                (false, true) => added += 1,
                (true, false) => removed += 1,
                _ => {}
            }
        }
        Ok(stored.map(|stored| (stored + added).saturating_sub(removed)))
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        self.base.structure(space).await
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        if *space != self.space {
            return Err(unsupported());
        }
        self.staging.lock().stage(batch)
    }

    async fn create_space(&self, _space: &Space) -> Result<()> {
        Err(unsupported())
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        self.base.list_spaces(after, limit).await
    }

    fn is_shared(&self) -> bool {
        self.base.is_shared()
    }

    async fn drop_space(&self, _space: &Space) -> Result<()> {
        Err(unsupported())
    }

    async fn check(&self) -> Result<()> {
        self.base.check().await
    }

    async fn close(&self) -> Result<()> {
        Err(unsupported())
    }
}

/// Splits a range after the last key of a page, in the order of the scan. Without such a key the page covers the range.
fn split(range: KeyRange, last: Option<&Key>, order: Direction) -> (KeyRange, Option<KeyRange>) {
    let Some(last) = last else {
        return (range, None);
    };
    match order {
        Direction::Up => {
            let next = range.after(last);
            let covered = KeyRange {
                start: range.start,
                end: Some(next.start.clone()),
            };
            (covered, Some(next))
        }
        Direction::Down => {
            let covered = KeyRange {
                start: last.clone(),
                end: range.end.clone(),
            };
            (covered, Some(range.before(last)))
        }
    }
}

fn unsupported() -> StoreError {
    StoreError::Unsupported(ErrorDetail::new(
        "staged changes can only be read and added to",
    ))
}

#[cfg(test)]
mod tests;
