//! Counters of the bytes that a cell stores: one for the bodies of its files, one for its entities, one for its nodes with their dead
//! properties and access control lists, one for its links, one for its index entries, those for the messages of its queues and topics, and one for the jobs of its
//! services.
//!
//! A batch that changes such content adds the difference to the counter of the space in the same commit. Additions to a counter never
//! conflict, so they cost concurrent changes of a cell nothing ([0072](../../../docs/decisions/0072-usage-counters-and-quotas.md)).
//! The length of a file is that of its content, also if it is encrypted; that of an entity is the length of its record; that of a
//! message is the length of its text, that of a job the length of its records; that of a link or an index entry is the length of its key.
//!
//! Whoever changes a body, an entity, a property or a message knows the difference and adds it. The keys of links, index entries and nodes are
//! counted where a batch is committed, see [`count_keys`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use personium_store::{Batch, ChannelKind, Expect, Key, Op, Result};

use crate::keys;

/// The judge of changes that let the content of a cell grow.
#[async_trait]
pub(crate) trait GrowthLimit: Send + Sync {
    /// Refuses a change by which the content would grow by so many bytes, if a quota does not permit it.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`](personium_store::StoreError::OverQuota); a failure of the store.
    async fn admit(&self, bytes: i64) -> Result<()>;

    /// Takes note of a change that was committed.
    fn note(&self, bytes: i64);
}

/// Adds to a batch that the bodies of files take so many bytes more, or fewer.
pub(crate) fn add_files(batch: &mut Batch, bytes: i64) {
    batch.add_up(keys::bytes_of_files(), bytes);
}

/// Adds to a batch that an entity is stored whose record had the first length and has the second one; 0 if there was none, or is none.
pub(crate) fn add_entity(batch: &mut Batch, before: usize, after: usize) {
    let length = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    batch.add_up(
        keys::bytes_of_entities(),
        length(after).saturating_sub(length(before)),
    );
}

/// The bytes that a node takes besides its name, its properties and its access control list: ids, times, versions.
const NODE_BYTES: i64 = 128;

/// The records that are counted by their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountedKey {
    /// A node: a box, collection or file.
    Node,
    /// One direction of a link.
    Link,
    /// An entry of an index.
    IndexEntry,
}

impl CountedKey {
    /// The kind of a key, and the bytes that its record counts; `None` for those that are not counted by their keys.
    pub(crate) fn of(key: &Key) -> Option<(Self, i64)> {
        let length = i64::try_from(key.as_bytes().len()).unwrap_or(i64::MAX);
        match key.as_bytes().first() {
            Some(b'N') => Some((Self::Node, length.saturating_add(NODE_BYTES))),
            Some(b'L') => Some((Self::Link, length)),
            Some(b'I') => Some((Self::IndexEntry, length)),
            _ => None,
        }
    }

    fn counter(self) -> Key {
        match self {
            Self::Node => keys::bytes_of_properties(),
            Self::Link => keys::bytes_of_links(),
            Self::IndexEntry => keys::bytes_of_index_entries(),
        }
    }
}

/// Adds to a batch the bytes of the links, index entries and nodes that exist after it and not before, or the reverse.
///
/// Whether a record exists before the batch is what the batch asserts of it. Without an assertion, one that is deleted first exists, and one
/// that is put first does not: whoever replaces such a record without an assertion deletes it before.
pub(crate) fn count_keys(batch: &mut Batch) {
    let mut asserted: BTreeMap<&Key, bool> = BTreeMap::new();
    let mut changed: BTreeMap<&Key, (bool, bool)> = BTreeMap::new();
    for op in batch.ops() {
        let (key, is_put) = match op {
            Op::Assert(key, expect) => {
                if CountedKey::of(key).is_some() {
                    asserted.insert(key, *expect != Expect::Absent);
                }
                continue;
            }
            Op::Put(key, _) => (key, true),
            Op::Delete(key) => (key, false),
            _ => continue,
        };
        if CountedKey::of(key).is_some() {
            changed.entry(key).or_insert((!is_put, is_put)).1 = is_put;
        }
    }
    let mut sums: Vec<(CountedKey, i64)> = Vec::new();
    for (key, (was_there, is_there)) in changed {
        let was_there = asserted.get(key).copied().unwrap_or(was_there);
        let Some((kind, bytes)) = CountedKey::of(key).filter(|_| was_there != is_there) else {
            continue;
        };
        let bytes = if is_there { bytes } else { -bytes };
        match sums.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => sums.push((kind, bytes)),
        }
    }
    for (kind, bytes) in sums {
        batch.add_up(kind.counter(), bytes);
    }
}

/// Adds to a batch that the dead properties and access control lists of nodes take so many bytes more, or fewer.
pub(crate) fn add_properties(batch: &mut Batch, bytes: i64) {
    batch.add_up(keys::bytes_of_properties(), bytes);
}

/// Adds to a batch that the messages of channels of a kind take so many bytes more, or fewer.
pub(crate) fn add_messages(batch: &mut Batch, kind: ChannelKind, bytes: i64) {
    let counter = match kind {
        ChannelKind::Queue => keys::bytes_of_queues(),
        ChannelKind::Topic => keys::bytes_of_topics(),
    };
    batch.add_up(counter, bytes);
}

/// Adds to a batch that the jobs of services take so many bytes more, or fewer.
pub(crate) fn add_jobs(batch: &mut Batch, bytes: i64) {
    batch.add_up(keys::bytes_of_jobs(), bytes);
}

/// The number of bytes by which the content grows with a batch; negative if it shrinks.
pub(crate) fn growth(batch: &Batch) -> i64 {
    let additions = batch.ops().iter().filter_map(|op| match op {
        Op::Add(key, delta) if keys::counts_bytes(key) => Some(*delta),
        _ => None,
    });
    additions.fold(0, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use personium_types::NodeId;

    fn added(batch: &Batch, counter: &Key) -> i64 {
        let found = batch.ops().iter().find_map(|op| match op {
            Op::Add(key, delta) if key == counter => Some(*delta),
            _ => None,
        });
        found.unwrap_or(0)
    }

    #[test]
    fn keys_are_counted_by_what_a_batch_changes_of_them() {
        let key = keys::node(&NodeId::from_bytes([1; 16]), "name");
        let bytes = i64::try_from(key.as_bytes().len()).unwrap() + NODE_BYTES;
        let put =
            |batch: &mut Batch| batch.put(keys::node(&NodeId::from_bytes([1; 16]), "name"), "");
        let delete = |batch: &mut Batch| batch.delete(key.clone());
        type Step<'a> = &'a dyn Fn(&mut Batch);
        let absent: Step<'_> = &|batch| batch.assert(key.clone(), Expect::Absent);
        let version: Step<'_> = &|batch| batch.assert(key.clone(), Expect::Version(3));
        let (put, delete): (Step<'_>, Step<'_>) = (&put, &delete);
        let cases: [(&[Step<'_>], i64); 10] = [
            (&[put], bytes),
            (&[put, put], bytes),
            (&[delete], -bytes),
            (&[delete, delete], -bytes),
            (&[delete, put], 0),
            (&[put, delete], 0),
            (&[version, put], 0),
            (&[put, version], 0),
            (&[absent, delete, put], bytes),
            (&[absent], 0),
        ];
        for (number, (steps, expected)) in cases.iter().enumerate() {
            let mut batch = Batch::new();
            for step in *steps {
                step(&mut batch);
            }
            count_keys(&mut batch);
            let sum = added(&batch, &keys::bytes_of_properties());
            assert_eq!(sum, *expected, "case {number}");
            assert_eq!(growth(&batch), *expected);
        }
    }
}
