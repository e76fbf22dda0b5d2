//! Random histories of an engine, compared with a `BTreeMap`.

use std::collections::BTreeMap;

use bytes::Bytes;
use personium_types::CellId;

use crate::{
    Batch, Direction, Expect, Key, KeyRange, Limit, Op, Record, RecordStore, Space, Stamp,
    StoreError,
};

/// A small repeatable source of numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What a space should hold.
#[derive(Debug, Default)]
pub struct Model(BTreeMap<Key, Record>);

impl Model {
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

    fn apply(&mut self, batch: &Batch, stamp: Stamp) {
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => {
                    self.0.insert(
                        key.clone(),
                        Record {
                            value: value.clone(),
                            version: stamp,
                        },
                    );
                }
                Op::Delete(key) => {
                    self.0.remove(key);
                }
                Op::Add(key, delta) => {
                    let now = self.0.get(key).map_or(0, |r| {
                        i64::from_le_bytes(r.value.as_ref().try_into().unwrap())
                    });
                    let value = Bytes::copy_from_slice(&(now + delta).to_le_bytes());
                    self.0.insert(
                        key.clone(),
                        Record {
                            value,
                            version: stamp,
                        },
                    );
                }
                Op::Assert(..) | Op::AssertEmpty(_) => {}
            }
        }
    }
}

/// Does `steps` random batches and reads in a new space and compares each answer with the model.
pub async fn history(store: &dyn RecordStore, seed: u64, steps: usize) {
    let space = Space::Cell(CellId::random());
    let mut rng = Rng::new(seed);
    let mut model = Model::default();
    let mut last: Stamp = 0;
    for step in 0..steps {
        let batch = random_batch(&mut rng, &model);
        let changes = batch
            .ops()
            .iter()
            .any(|op| !matches!(op, Op::Assert(..) | Op::AssertEmpty(_)));
        match store.commit(&space, batch.clone()).await {
            Ok(stamp) => {
                assert!(
                    model.accepts(&batch),
                    "seed {seed}, step {step}: accepted {batch:?}"
                );
                assert!(
                    if changes { stamp > last } else { stamp >= last },
                    "seed {seed}, step {step}: stamp {stamp}"
                );
                model.apply(&batch, stamp);
                last = stamp;
            }
            Err(StoreError::Conflict) => {
                assert!(
                    !model.accepts(&batch),
                    "seed {seed}, step {step}: refused {batch:?}"
                );
            }
            Err(error) => panic!("seed {seed}, step {step}: {error}"),
        }
        compare(store, &space, &model, &mut rng).await;
    }
}

async fn compare(store: &dyn RecordStore, space: &Space, model: &Model, rng: &mut Rng) {
    let keys: Vec<Key> = (0..4).map(|_| data_key(rng)).collect();
    let expected: Vec<_> = keys.iter().map(|key| model.0.get(key).cloned()).collect();
    assert_eq!(store.get(space, &keys).await.unwrap(), expected);

    let range = random_range(rng);
    let mut all = model.range(&range);
    assert_eq!(store.count(space, &range).await.unwrap(), all.len() as u64);
    let limit = usize::try_from(rng.below(8)).unwrap();
    let mut up = all.clone();
    up.truncate(limit);
    assert_eq!(
        store
            .scan(space, &range, Direction::Up, Limit::records(limit))
            .await
            .unwrap(),
        up
    );
    all.reverse();
    all.truncate(limit);
    assert_eq!(
        store
            .scan(space, &range, Direction::Down, Limit::records(limit))
            .await
            .unwrap(),
        all
    );
}

fn data_key(rng: &mut Rng) -> Key {
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
    for _ in 0..=rng.below(2) {
        key.extend_from_slice(parts[usize::try_from(rng.below(9)).unwrap()]);
    }
    Key::from_bytes(key)
}

fn counter_key(rng: &mut Rng) -> Key {
    Key::from_bytes(vec![b'c', u8::try_from(rng.below(3)).unwrap()])
}

fn random_range(rng: &mut Rng) -> KeyRange {
    let (a, b) = (data_key(rng), data_key(rng));
    match rng.below(4) {
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

fn random_batch(rng: &mut Rng, model: &Model) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..rng.below(6) {
        let key = data_key(rng);
        match rng.below(10) {
            0 => batch.assert(key, Expect::Absent),
            1 => batch.assert(key, Expect::Present),
            2 => {
                let version = model.0.get(&key).map_or(1, |r| r.version) + rng.below(8) / 7;
                batch.assert(key, Expect::Version(version));
            }
            3 if rng.below(3) == 0 => batch.assert_empty(random_range(rng)),
            4 | 5 => batch.delete(key),
            6 => batch.add(
                counter_key(rng),
                i64::try_from(rng.below(100)).unwrap() - 50,
            ),
            7 if rng.below(4) == 0 => batch.delete(counter_key(rng)),
            _ => {
                let len = match rng.below(20) {
                    0 => 20_000,
                    1..=6 => 300 + rng.below(500),
                    _ => rng.below(40),
                };
                let value =
                    vec![u8::try_from(rng.below(256)).unwrap(); usize::try_from(len).unwrap()];
                batch.put(key, value);
            }
        }
    }
    batch
}
