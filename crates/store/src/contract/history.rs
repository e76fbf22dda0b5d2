//! Random histories of batches and reads, compared with a `BTreeMap`.

use std::collections::BTreeMap;

use bytes::Bytes;
use personium_types::{CellId, SystemRandom};

use super::split_mix::SplitMix64;
use crate::{
    Batch, CommitSeq, Direction, Expect, Key, KeyRange, Limit, Op, Record, RecordStore, Space,
    StoreError,
};

/// The expected records of a space.
#[derive(Debug, Default)]
struct ReferenceRecords(BTreeMap<Key, Record>);

impl ReferenceRecords {
    fn range(&self, range: &KeyRange) -> Vec<(Key, Record)> {
        self.0
            .iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(k, r)| (k.clone(), r.clone()))
            .collect()
    }

    fn accepts(&self, batch: &Batch) -> bool {
        batch.ops().iter().all(|op| match op {
            Op::Assert(key, expect) => match (self.0.get(key), expect) {
                (found, Expect::Absent) => found.is_none(),
                (found, Expect::Present) => found.is_some(),
                (found, Expect::Version(version)) => found.is_some_and(|r| r.version == *version),
            },
            Op::AssertEmpty(range) => self.range(range).is_empty(),
            _ => true,
        })
    }

    fn apply(&mut self, batch: &Batch, seq: CommitSeq) {
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => {
                    self.0.insert(
                        key.clone(),
                        Record {
                            value: value.clone(),
                            version: seq,
                        },
                    );
                }
                Op::Delete(key) => {
                    self.0.remove(key);
                }
                Op::Add(key, delta) => {
                    let count = self.0.get(key).map_or(0, |r| {
                        i64::from_le_bytes(r.value.as_ref().try_into().unwrap())
                    });
                    let value = Bytes::copy_from_slice(&(count + delta).to_le_bytes());
                    self.0.insert(
                        key.clone(),
                        Record {
                            value,
                            version: seq,
                        },
                    );
                }
                _ => {}
            }
        }
    }
}

/// Applies `steps` random batches to a new space and compares each result, and reads after it, with a `BTreeMap`.
///
/// # Panics
/// If they differ.
pub async fn history(store: &dyn RecordStore, seed: u64, steps: usize) {
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
    let mut random = SplitMix64::new(seed);
    let mut expected = ReferenceRecords::default();
    let mut last: CommitSeq = 0;
    for step in 0..steps {
        let batch = random_batch(&mut random, &expected);
        let changes = batch.ops().iter().any(|op| !op.is_assertion());
        match store.commit(&space, batch.clone()).await {
            Ok(seq) => {
                assert!(
                    expected.accepts(&batch),
                    "seed {seed}, step {step}: accepted {batch:?}"
                );
                assert!(
                    if changes { seq > last } else { seq >= last },
                    "seed {seed}, step {step}: seq {seq}"
                );
                expected.apply(&batch, seq);
                last = seq;
            }
            Err(StoreError::Conflict) => {
                assert!(
                    !expected.accepts(&batch),
                    "seed {seed}, step {step}: refused {batch:?}"
                );
            }
            Err(error) => panic!("seed {seed}, step {step}: {error}"),
        }
        compare(store, &space, &expected, &mut random).await;
    }
}

async fn compare(
    store: &dyn RecordStore,
    space: &Space,
    expected: &ReferenceRecords,
    random: &mut SplitMix64,
) {
    let keys: Vec<Key> = (0..4).map(|_| data_key(random)).collect();
    let found = store.get(space, &keys).await.unwrap().value;
    let in_map: Vec<_> = keys
        .iter()
        .map(|key| expected.0.get(key).cloned())
        .collect();
    assert_eq!(found, in_map);

    let range = random_range(random);
    let mut all = expected.range(&range);
    assert_eq!(
        store.count(space, &range).await.unwrap().value,
        all.len() as u64
    );
    let limit = usize::try_from(random.below(8)).unwrap();
    let mut up = all.clone();
    up.truncate(limit);
    assert_eq!(
        store
            .scan(space, &range, Direction::Up, Limit::records(limit))
            .await
            .unwrap()
            .value,
        up
    );
    all.reverse();
    all.truncate(limit);
    assert_eq!(
        store
            .scan(space, &range, Direction::Down, Limit::records(limit))
            .await
            .unwrap()
            .value,
        all
    );
}

fn data_key(random: &mut SplitMix64) -> Key {
    let parts = [
        &b""[..],
        &[0],
        &[0, 255],
        &[1],
        b"a",
        b"a\0b",
        &[0xfe],
        &[0xff],
        &[0xff, 0xff],
    ];
    let mut key = vec![b'd'];
    for _ in 0..=random.below(2) {
        key.extend_from_slice(parts[usize::try_from(random.below(9)).unwrap()]);
    }
    Key::from_bytes(key)
}

fn counter_key(random: &mut SplitMix64) -> Key {
    Key::from_bytes(vec![b'c', u8::try_from(random.below(3)).unwrap()])
}

fn random_range(random: &mut SplitMix64) -> KeyRange {
    let (a, b) = (data_key(random), data_key(random));
    match random.below(4) {
        0 => KeyRange {
            start: a,
            end: None,
        },
        1 => KeyRange::prefix(&a),
        2 => KeyRange {
            start: a,
            end: Some(b),
        },
        _ => KeyRange {
            start: a.clone().min(b.clone()),
            end: Some(a.max(b)),
        },
    }
}

fn random_batch(random: &mut SplitMix64, expected: &ReferenceRecords) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.below(6) {
        let key = data_key(random);
        match random.below(10) {
            0 => batch.assert(key, Expect::Absent),
            1 => batch.assert(key, Expect::Present),
            2 => {
                let version = expected.0.get(&key).map_or(1, |r| r.version) + random.below(8) / 7;
                batch.assert(key, Expect::Version(version));
            }
            3 if random.below(3) == 0 => batch.assert_empty(random_range(random)),
            4 | 5 => batch.delete(key),
            6 => batch.add(
                counter_key(random),
                i64::try_from(random.below(100)).unwrap() - 50,
            ),
            7 if random.below(4) == 0 => batch.delete(counter_key(random)),
            _ => {
                let len = match random.below(20) {
                    0 => 20_000,
                    1..=6 => 300 + random.below(500),
                    _ => random.below(40),
                };
                let value =
                    vec![u8::try_from(random.below(256)).unwrap(); usize::try_from(len).unwrap()];
                batch.put(key, value);
            }
        }
    }
    batch
}
