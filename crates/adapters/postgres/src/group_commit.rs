//! Group commit: many batches judged over one state of a space.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use personium_store::{
    Batch, CommitSeq, Expect, Key, KeyRange, Op, Result, StoreError, StructureVersion,
};

use crate::error::corrupt;

/// The state of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpaceState {
    /// The number of the last commit.
    pub(crate) last_commit: CommitSeq,
    /// The version of the structure.
    pub(crate) structure: StructureVersion,
    /// Whether the space is closed to commits.
    pub(crate) is_sealed: bool,
}

/// The records and ranges that decide about a group of batches.
#[derive(Debug, Default)]
pub(crate) struct Needs<'b> {
    /// The keys whose versions, or values of counters, decide.
    pub(crate) keys: BTreeSet<&'b Key>,
    /// The ranges that must be empty, with the number of keys to read: one more than the group can remove before.
    pub(crate) ranges: Vec<(&'b KeyRange, usize)>,
    /// The number of batches that may change something.
    pub(crate) commits: u64,
}

impl<'b> Needs<'b> {
    pub(crate) fn of(batches: &[&'b Batch]) -> Self {
        let mut needs = Self::default();
        let ops = || batches.iter().flat_map(|batch| batch.ops());
        for op in ops() {
            match op {
                Op::Assert(key, _) | Op::Add(key, _) => drop(needs.keys.insert(key)),
                Op::AssertEmpty(range) => {
                    let removed =
                        ops().filter(|op| matches!(op, Op::Delete(key) if range.contains(key)));
                    needs.ranges.push((range, 1 + removed.count()));
                }
                _ => {}
            }
        }
        let changing = batches
            .iter()
            .filter(|batch| !batch.ops().iter().all(Op::is_assertion));
        needs.commits = changing.count() as u64;
        needs
    }
}

/// A record that was read.
#[derive(Debug, Clone)]
pub(crate) struct FoundRecord {
    pub(crate) version: CommitSeq,
    /// The value if it can be a counter, or the error of its checksum.
    pub(crate) counter: Option<Result<Bytes>>,
}

/// The state before a group, as far as it decides.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) state: SpaceState,
    pub(crate) records: HashMap<Key, FoundRecord>,
    /// The keys of [`Needs::ranges`], in their order.
    pub(crate) ranges: Vec<Vec<Key>>,
}

/// The changes of a group: a value with its version, or a removal.
pub(crate) type Changes = BTreeMap<Key, Option<(Bytes, CommitSeq)>>;

/// The outcome of a group.
#[derive(Debug)]
pub(crate) struct GroupOutcome {
    /// The result of each batch, once the changes are committed.
    pub(crate) results: Vec<Result<CommitSeq>>,
    pub(crate) changes: Changes,
    /// The keys of changes for which there was probably no record before.
    pub(crate) new_keys: BTreeSet<Key>,
    pub(crate) state: SpaceState,
}

/// Applies the batches in order. Each sees the changes of those before it; refused ones change nothing.
pub(crate) fn apply(batches: &[&Batch], before: Before) -> GroupOutcome {
    let mut group = GroupChanges {
        state: before.state,
        records: before.records,
        ranges: before.ranges.into_iter(),
        changes: Changes::new(),
        new_keys: BTreeSet::new(),
    };
    let results = batches.iter().map(|batch| group.apply(batch)).collect();
    GroupOutcome {
        results,
        changes: group.changes,
        new_keys: group.new_keys,
        state: group.state,
    }
}

struct GroupChanges {
    state: SpaceState,
    records: HashMap<Key, FoundRecord>,
    ranges: std::vec::IntoIter<Vec<Key>>,
    changes: Changes,
    new_keys: BTreeSet<Key>,
}

impl GroupChanges {
    fn apply(&mut self, batch: &Batch) -> Result<CommitSeq> {
        let mut holds = true;
        for op in batch.ops() {
            // Each range of the group must be taken, also after an assertion that does not hold.
            holds &= self.is_satisfied(op);
        }
        if self.state.is_sealed && !batch.unseals() {
            return Err(StoreError::Sealed);
        }
        if !holds {
            return Err(StoreError::Conflict);
        }
        if batch.ops().iter().all(Op::is_assertion) {
            return Ok(self.state.last_commit);
        }
        let changes = self.changes_of(batch)?;
        self.state.last_commit += 1;
        let seq = self.state.last_commit;
        self.state.is_sealed = batch.sealed_after().unwrap_or(self.state.is_sealed);
        if batch.changes_structure() {
            self.state.structure = seq;
        }
        let creates = creates(batch);
        let replaced = deleted(batch);
        for (key, value) in changes {
            let is_unknown = !self.changes.contains_key(key) && !self.records.contains_key(key);
            if creates && is_unknown && !replaced.contains(key) {
                self.new_keys.insert(key.clone());
            }
            self.changes
                .insert(key.clone(), value.map(|value| (value, seq)));
        }
        for (key, value) in batch.sequenced(seq) {
            self.new_keys.insert(key.clone());
            self.changes.insert(key, Some((value.clone(), seq)));
        }
        Ok(seq)
    }

    fn is_satisfied(&mut self, op: &Op) -> bool {
        match op {
            Op::Assert(key, expect) => {
                let found = self.version(key);
                match expect {
                    Expect::Absent => found.is_none(),
                    Expect::Present => found.is_some(),
                    Expect::Version(version) => found == Some(*version),
                }
            }
            Op::AssertEmpty(range) => {
                let read = self.ranges.next().unwrap_or_default();
                let is_kept = |key: &Key| !matches!(self.changes.get(key), Some(None));
                !read.iter().any(is_kept) && !self.has_put_in(range)
            }
            Op::AssertStructure(version) => self.state.structure == *version,
            _ => true,
        }
    }

    fn version(&self, key: &Key) -> Option<CommitSeq> {
        match self.changes.get(key) {
            Some(change) => change.as_ref().map(|(_, version)| *version),
            None => self.records.get(key).map(|found| found.version),
        }
    }

    /// Whether an earlier batch of the group put a record into the range.
    fn has_put_in(&self, range: &KeyRange) -> bool {
        let end = match &range.end {
            Some(end) if *end <= range.start => return false,
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        let mut changed = self
            .changes
            .range::<Key, _>((Bound::Included(&range.start), end));
        changed.any(|(_, change)| change.is_some())
    }

    /// Returns the values after the batch of the keys that it changes.
    fn changes_of<'b>(&self, batch: &'b Batch) -> Result<BTreeMap<&'b Key, Option<Bytes>>> {
        let mut changes: BTreeMap<&Key, Option<Bytes>> = BTreeMap::new();
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => drop(changes.insert(key, Some(value.clone()))),
                Op::Delete(key) => drop(changes.insert(key, None)),
                Op::Add(key, delta) => {
                    let current = match changes.get(key) {
                        Some(value) => value.clone(),
                        None => self.counter(key)?,
                    };
                    let sum = count(current.as_deref())?.wrapping_add(*delta);
                    changes.insert(key, Some(Bytes::copy_from_slice(&sum.to_le_bytes())));
                }
                _ => {}
            }
        }
        Ok(changes)
    }

    fn counter(&self, key: &Key) -> Result<Option<Bytes>> {
        if let Some(change) = self.changes.get(key) {
            return Ok(change.as_ref().map(|(value, _)| value.clone()));
        }
        match self.records.get(key) {
            None => Ok(None),
            Some(found) => match &found.counter {
                Some(value) => value.clone().map(Some),
                None => Err(not_a_counter()),
            },
        }
    }
}

/// Whether a batch creates something. Then what it puts and did not ask for is probably new, such as the index entries of a new entity.
fn creates(batch: &Batch) -> bool {
    let mut ops = batch.ops().iter();
    ops.any(|op| matches!(op, Op::Assert(_, Expect::Absent)))
}

/// The keys that a batch removes, perhaps to put them again.
fn deleted(batch: &Batch) -> BTreeSet<&Key> {
    let deleted = batch.ops().iter().filter_map(|op| match op {
        Op::Delete(key) => Some(key),
        _ => None,
    });
    deleted.collect()
}

fn count(value: Option<&[u8]>) -> Result<i64> {
    match value {
        None => Ok(0),
        Some(bytes) => bytes
            .try_into()
            .map(i64::from_le_bytes)
            .map_err(|_| not_a_counter()),
    }
}

fn not_a_counter() -> StoreError {
    corrupt("a counter is not eight bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::table(b'k').u64(n).build()
    }

    fn before(keys: &[u64]) -> Before {
        let found = FoundRecord {
            version: 5,
            counter: Some(Ok(Bytes::copy_from_slice(&7_i64.to_le_bytes()))),
        };
        Before {
            state: SpaceState {
                last_commit: 10,
                structure: 2,
                is_sealed: false,
            },
            records: keys.iter().map(|n| (key(*n), found.clone())).collect(),
            ranges: Vec::new(),
        }
    }

    fn range(start: u64, end: u64) -> KeyRange {
        KeyRange {
            start: key(start),
            end: Some(key(end)),
        }
    }

    #[test]
    fn each_batch_sees_the_changes_of_those_before_it() {
        let mut first = Batch::new();
        first.assert(key(1), Expect::Version(5));
        first.put(key(1), "new");
        let same_again = first.clone();
        let mut follows = Batch::new();
        follows.assert(key(1), Expect::Version(11));
        follows.add(key(2), 1);
        follows.change_structure();
        let mut adds = Batch::new();
        adds.add(key(2), 10);
        adds.seal();
        let late = Batch::new();
        let batches = [&first, &same_again, &follows, &adds, &late];
        let judged = apply(&batches, before(&[1, 2]));
        let results: Vec<String> = judged.results.iter().map(|r| format!("{r:?}")).collect();
        let expected = ["Ok(11)", "Err(Conflict)", "Ok(12)", "Ok(13)", "Err(Sealed)"];
        assert_eq!(results, expected);
        let state = SpaceState {
            last_commit: 13,
            structure: 12,
            is_sealed: true,
        };
        assert_eq!(judged.state, state);
        let (value, version) = judged.changes[&key(2)].clone().unwrap();
        assert_eq!((&value[..], version), (&18_i64.to_le_bytes()[..], 13));
    }

    #[test]
    fn keys_are_new_if_a_batch_that_creates_is_the_first_to_change_them() {
        let mut creates = Batch::new();
        creates.assert(key(3), Expect::Absent);
        for n in 1..=4 {
            creates.put(key(n), "created");
        }
        creates.replace(key(8), "replaced");
        let mut changes = Batch::new();
        changes.put(key(5), "changed");
        changes.delete(key(6));
        let mut creates_more = Batch::new();
        creates_more.assert(key(7), Expect::Absent);
        for n in 3..=7 {
            creates_more.put(key(n), "created");
        }
        let judged = apply(&[&creates, &changes, &creates_more], before(&[1]));
        assert!(judged.results.iter().all(Result::is_ok));
        let expected = [2, 3, 4, 7].map(key);
        assert_eq!(judged.new_keys, expected.into_iter().collect());
    }

    #[test]
    fn range_becomes_empty_by_removals_of_the_group_and_filled_by_its_records() {
        let mut empties = Batch::new();
        empties.assert_empty(range(0, 9));
        empties.put(key(3), "x");
        let mut removes = Batch::new();
        removes.delete(key(1));
        removes.delete(key(2));
        let batches = [&empties, &removes, &empties, &empties];
        let needs = Needs::of(&batches);
        let limits: Vec<usize> = needs.ranges.iter().map(|(_, limit)| *limit).collect();
        assert_eq!((limits, needs.commits), (vec![3; 3], 4));
        let found = vec![key(1), key(2)];
        let judged = apply(
            &batches,
            Before {
                ranges: vec![found; 3],
                ..before(&[])
            },
        );
        let results: Vec<String> = judged.results.iter().map(|r| format!("{r:?}")).collect();
        let expected = ["Err(Conflict)", "Ok(11)", "Ok(12)", "Err(Conflict)"];
        assert_eq!(results, expected);
    }
}
