//! Records in memory.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{
    Batch, CommitSeq, Direction, ErrorDetail, Expect, Key, KeyRange, Limit, Op, RangeState, Record,
    RecordSnapshot, RecordStore, Result, Snapshot, Space, StoreError, StructureVersion,
    check_sizes,
};

/// A record store in the memory of this process. Nothing survives the process.
///
/// A clone is another store over the same data, which is closed on its own.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    state: Arc<RwLock<MemoryState>>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct MemoryState {
    spaces: BTreeMap<Space, SpaceRecords>,
    dropped: HashSet<Space>,
}

#[derive(Debug, Default)]
struct SpaceRecords {
    last_commit: CommitSeq,
    structure: StructureVersion,
    sealed: bool,
    map: BTreeMap<Key, Record>,
}

impl Clone for MemoryRecords {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            closed: AtomicBool::new(false),
        }
    }
}

impl MemoryRecords {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(StoreError::Down(ErrorDetail::new("the store is closed")))
        } else {
            Ok(())
        }
    }

    fn read<T>(
        &self,
        space: &Space,
        absent: T,
        query: impl FnOnce(&SpaceRecords) -> T,
    ) -> Result<Snapshot<T>> {
        self.check_open()?;
        let state = self.state.read();
        state.check_not_dropped(space)?;
        let rows = state.spaces.get(space);
        Ok(Snapshot {
            structure: rows.map_or(0, |rows| rows.structure),
            value: rows.map_or(absent, query),
        })
    }
}

impl MemoryState {
    fn check_not_dropped(&self, space: &Space) -> Result<()> {
        match self.dropped.contains(space) {
            true => Err(StoreError::SpaceDropped),
            false => Ok(()),
        }
    }
}

impl SpaceRecords {
    fn range<'r>(
        &'r self,
        range: &KeyRange,
    ) -> Option<std::collections::btree_map::Range<'r, Key, Record>> {
        let end = match &range.end {
            Some(end) if *end <= range.start => return None,
            Some(end) => Bound::Excluded(end.clone()),
            None => Bound::Unbounded,
        };
        Some(self.map.range((Bound::Included(range.start.clone()), end)))
    }

    fn satisfies(&self, op: &Op) -> bool {
        match op {
            Op::Assert(key, Expect::Absent) => !self.map.contains_key(key),
            Op::Assert(key, Expect::Present) => self.map.contains_key(key),
            Op::Assert(key, Expect::Version(version)) => {
                self.map.get(key).is_some_and(|r| r.version == *version)
            }
            Op::AssertEmpty(range) => self
                .range(range)
                .is_none_or(|mut found| found.next().is_none()),
            Op::AssertStructure(version) => self.structure == *version,
            _ => true,
        }
    }

    /// Returns the values after the batch of the keys that it changes.
    fn changes(&self, batch: Batch) -> Result<BTreeMap<Key, Option<Bytes>>> {
        let mut changes: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        for op in batch.into_ops() {
            match op {
                Op::Put(key, value) => drop(changes.insert(key, Some(value))),
                Op::Delete(key) => drop(changes.insert(key, None)),
                Op::Add(key, delta) => {
                    let value = match changes.get(&key) {
                        Some(changed) => changed.clone(),
                        None => self.map.get(&key).map(|r| r.value.clone()),
                    };
                    let sum = counter(value.as_deref())?.wrapping_add(delta);
                    changes.insert(key, Some(Bytes::copy_from_slice(&sum.to_le_bytes())));
                }
                _ => {}
            }
        }
        Ok(changes)
    }
}

fn counter(value: Option<&[u8]>) -> Result<i64> {
    match value {
        None => Ok(0),
        Some(bytes) => {
            let bytes = bytes.try_into().map_err(|_| {
                StoreError::Corrupt(ErrorDetail::new("a counter is not eight bytes"))
            })?;
            Ok(i64::from_le_bytes(bytes))
        }
    }
}

#[async_trait]
impl RecordStore for MemoryRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        self.read(space, vec![None; keys.len()], |rows| {
            keys.iter().map(|key| rows.map.get(key).cloned()).collect()
        })
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        let copy = |(key, record): (&Key, &Record)| (key.clone(), record.clone());
        let (mut records, mut bytes) = (0, 0);
        let is_within_limit = |(_, record): &(&Key, &Record)| {
            let more = !limit.is_reached(records, bytes);
            records += 1;
            bytes += record.value.len();
            more
        };
        self.read(space, Vec::new(), |rows| match (rows.range(range), order) {
            (None, _) => Vec::new(),
            (Some(found), Direction::Up) => found.take_while(is_within_limit).map(copy).collect(),
            (Some(found), Direction::Down) => {
                found.rev().take_while(is_within_limit).map(copy).collect()
            }
        })
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        self.read(space, 0, |rows| {
            rows.range(range).map_or(0, |found| found.count() as u64)
        })
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        Ok(self.read(space, (), |_| ())?.structure)
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        self.check_open()?;
        check_sizes(&batch)?;
        let mut state = self.state.write();
        state.check_not_dropped(space)?;
        let empty = SpaceRecords::default();
        let rows = state.spaces.get(space).unwrap_or(&empty);
        if rows.sealed && !batch.unseals() {
            return Err(StoreError::Sealed);
        }
        if !batch.ops().iter().all(|op| rows.satisfies(op)) {
            return Err(StoreError::Conflict);
        }
        if batch.ops().iter().all(Op::is_assertion) {
            return Ok(rows.last_commit);
        }
        let (sealed, changes_structure) = (batch.sealed_after(), batch.changes_structure());
        let sequenced: Vec<(Key, Bytes)> = batch
            .sequenced(rows.last_commit + 1)
            .map(|(key, value)| (key, value.clone()))
            .collect();
        let mut changes = rows.changes(batch)?;
        changes.extend(sequenced.into_iter().map(|(key, value)| (key, Some(value))));
        let rows = state.spaces.entry(*space).or_default();
        rows.last_commit += 1;
        rows.sealed = sealed.unwrap_or(rows.sealed);
        if changes_structure {
            rows.structure = rows.last_commit;
        }
        for (key, change) in changes {
            match change {
                Some(value) => drop(rows.map.insert(
                    key,
                    Record {
                        value,
                        version: rows.last_commit,
                    },
                )),
                None => drop(rows.map.remove(&key)),
            }
        }
        Ok(rows.last_commit)
    }

    async fn create_space(&self, space: &Space) -> Result<()> {
        self.check_open()?;
        let mut state = self.state.write();
        state.check_not_dropped(space)?;
        state.spaces.entry(*space).or_default();
        Ok(())
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        self.check_open()?;
        let start = after.map_or(Bound::Unbounded, |space| Bound::Excluded(*space));
        let state = self.state.read();
        let found = state.spaces.range((start, Bound::Unbounded));
        Ok(found.take(limit).map(|(space, _)| *space).collect())
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        self.check_open()?;
        let mut state = self.state.write();
        state.spaces.remove(space);
        state.dropped.insert(*space);
        Ok(())
    }

    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        let found = self.read(space, (0, BTreeMap::new()), |rows| {
            (rows.last_commit, rows.map.clone())
        })?;
        let (last_commit, map) = found.value;
        Ok(Box::new(MemorySnapshot { last_commit, map }))
    }

    async fn check(&self) -> Result<()> {
        self.check_open()
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// A copy of the records of a space.
struct MemorySnapshot {
    last_commit: CommitSeq,
    map: BTreeMap<Key, Record>,
}

#[async_trait]
impl RecordSnapshot for MemorySnapshot {
    fn last_commit(&self) -> CommitSeq {
        self.last_commit
    }

    async fn scan(&mut self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (key, record) in self.map.range(range.start.clone()..) {
            if limit.is_reached(found.len(), bytes) || !range.contains(key) {
                break;
            }
            bytes += record.value.len();
            found.push((key.clone(), record.clone()));
        }
        Ok(found)
    }

    async fn state(&mut self, range: &KeyRange) -> Result<Option<RangeState>> {
        let found = self.map.range(range.start.clone()..);
        let found = found.take_while(|(key, _)| range.contains(key));
        let mut state = RangeState::default();
        for (_, record) in found {
            state.records += 1;
            state.last_version = state.last_version.max(record.version);
        }
        Ok(Some(state))
    }
}
