//! Records in a map.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{
    Batch, Direction, Expect, Key, KeyRange, Limit, Op, Record, RecordStore, Result, Seal, Space,
    Stamp, StoreError,
};

/// Records in memory; nothing survives the process.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    state: Arc<RwLock<State>>,
}

#[derive(Debug, Default)]
struct State {
    spaces: HashMap<Space, Rows>,
    dropped: HashSet<Space>,
    sealed: HashSet<Space>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Rows {
    stamp: Stamp,
    map: BTreeMap<Key, Record>,
}

impl MemoryRecords {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, space: &Space, none: T, look: impl FnOnce(&Rows) -> T) -> Result<T> {
        let state = self.state.read();
        state.open()?;
        Ok(state.spaces.get(space).map_or(none, look))
    }
}

impl State {
    fn open(&self) -> Result<()> {
        if self.closed {
            Err(StoreError::Down("the store is closed".into()))
        } else {
            Ok(())
        }
    }

    /// Refuses commits to a space that is dropped or sealed.
    fn open_to_commits(&self, space: &Space) -> Result<()> {
        self.open()?;
        if self.dropped.contains(space) {
            return Err(StoreError::Gone);
        }
        if self.sealed.contains(space) {
            return Err(StoreError::Conflict);
        }
        Ok(())
    }
}

impl Rows {
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

    fn holds(&self, op: &Op) -> bool {
        match op {
            Op::Assert(key, Expect::Absent) => !self.map.contains_key(key),
            Op::Assert(key, Expect::Present) => self.map.contains_key(key),
            Op::Assert(key, Expect::Version(version)) => {
                self.map.get(key).is_some_and(|r| r.version == *version)
            }
            Op::AssertEmpty(range) => self
                .range(range)
                .is_none_or(|mut found| found.next().is_none()),
            Op::Put(..) | Op::Delete(_) | Op::Add(..) => true,
        }
    }

    /// The records as they are after the batch, for the keys it changes.
    fn changes(&self, batch: Batch) -> Result<BTreeMap<Key, Option<Bytes>>> {
        let mut changes: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        for op in batch.into_ops() {
            match op {
                Op::Put(key, value) => drop(changes.insert(key, Some(value))),
                Op::Delete(key) => drop(changes.insert(key, None)),
                Op::Add(key, delta) => {
                    let now = match changes.get(&key) {
                        Some(changed) => changed.clone(),
                        None => self.map.get(&key).map(|r| r.value.clone()),
                    };
                    let sum = counter(now.as_deref())?.wrapping_add(delta);
                    changes.insert(key, Some(Bytes::copy_from_slice(&sum.to_le_bytes())));
                }
                Op::Assert(..) | Op::AssertEmpty(_) => {}
            }
        }
        Ok(changes)
    }
}

fn counter(value: Option<&[u8]>) -> Result<i64> {
    match value {
        None => Ok(0),
        Some(bytes) => {
            let bytes = bytes
                .try_into()
                .map_err(|_| StoreError::Corrupt("a counter is not eight bytes".into()))?;
            Ok(i64::from_le_bytes(bytes))
        }
    }
}

#[async_trait]
impl RecordStore for MemoryRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Vec<Option<Record>>> {
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
    ) -> Result<Vec<(Key, Record)>> {
        let copy = |(key, record): (&Key, &Record)| (key.clone(), record.clone());
        let (mut records, mut bytes) = (0, 0);
        let within = |(_, record): &(&Key, &Record)| {
            let more = !limit.is_reached(records, bytes);
            records += 1;
            bytes += record.value.len();
            more
        };
        self.read(space, Vec::new(), |rows| match (rows.range(range), order) {
            (None, _) => Vec::new(),
            (Some(found), Direction::Up) => found.take_while(within).map(copy).collect(),
            (Some(found), Direction::Down) => found.rev().take_while(within).map(copy).collect(),
        })
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<u64> {
        self.read(space, 0, |rows| {
            rows.range(range).map_or(0, |found| found.count() as u64)
        })
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<Stamp> {
        let mut state = self.state.write();
        state.open_to_commits(space)?;
        let empty = Rows::default();
        let rows = state.spaces.get(space).unwrap_or(&empty);
        if !batch.ops().iter().all(|op| rows.holds(op)) {
            return Err(StoreError::Conflict);
        }
        let changes = rows.changes(batch)?;
        if changes.is_empty() {
            return Ok(rows.stamp);
        }
        let rows = state.spaces.entry(*space).or_default();
        rows.stamp += 1;
        for (key, change) in changes {
            match change {
                Some(value) => drop(rows.map.insert(
                    key,
                    Record {
                        value,
                        version: rows.stamp,
                    },
                )),
                None => drop(rows.map.remove(&key)),
            }
        }
        Ok(rows.stamp)
    }

    async fn seal(&self, space: &Space, empty: &[KeyRange]) -> Result<Seal> {
        let mut state = self.state.write();
        state.open_to_commits(space)?;
        let is_empty = |range: &KeyRange| match state.spaces.get(space) {
            Some(rows) => rows.holds(&Op::AssertEmpty(range.clone())),
            None => true,
        };
        if !empty.iter().all(is_empty) {
            return Err(StoreError::Conflict);
        }
        state.sealed.insert(*space);
        let (sealed, space) = (Arc::clone(&self.state), *space);
        Ok(Seal::new(move || {
            sealed.write().sealed.remove(&space);
        }))
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        let mut state = self.state.write();
        state.open()?;
        state.spaces.remove(space);
        state.dropped.insert(*space);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        self.state.read().open()
    }

    async fn close(&self) -> Result<()> {
        self.state.write().closed = true;
        Ok(())
    }
}
