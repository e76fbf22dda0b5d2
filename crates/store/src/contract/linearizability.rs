//! Concurrent batches and reads, whose results must be those of some order in which each took effect at one instant
//! between its call and its return.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use personium_types::{CellId, SystemRandom};

use super::split_mix::SplitMix64;
use crate::{Batch, CommitSeq, Expect, Key, KeyRange, Limit, RecordStore, Space, StoreError};

/// The number of tasks that call the stores at the same time.
const TASKS: u64 = 8;
/// The number of calls of each task.
const CALLS: u64 = 60;
/// The number of keys, few so that there are conflicts.
const KEYS: u64 = 4;

/// The state of a key: the version of its record.
type State = Option<CommitSeq>;

/// A call with the points at which it was made and returned, of a counter that all tasks share.
#[derive(Debug)]
struct Call {
    begin: u64,
    end: u64,
    what: CallResult,
}

#[derive(Debug)]
enum CallResult {
    Read {
        /// The states of the keys that were read.
        found: Vec<(u64, State)>,
        structure: u64,
    },
    Commit {
        asserted: Vec<(u64, State)>,
        /// The keys that are put (`true`) and deleted.
        changed: Vec<(u64, bool)>,
        changes_structure: bool,
        /// The number of the commit; `None` if it was refused.
        seq: Option<CommitSeq>,
    },
}

/// Calls the stores, which are over the same data, from several tasks, and checks the results.
///
/// The versions of each key ascend, a read that begins after a commit was acknowledged sees it or a later one, a batch is
/// seen as a whole, a refused batch has no effect and could be refused, and so for the versions of the structure.
///
/// # Panics
/// If no order explains the results.
pub async fn concurrent_history(stores: &[Arc<dyn RecordStore>], seed: u64) {
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
    let clock = Arc::new(AtomicU64::new(0));
    let tasks = (0..TASKS).map(|task| {
        let store = Arc::clone(&stores[usize::try_from(task).unwrap() % stores.len()]);
        let (clock, random) = (Arc::clone(&clock), SplitMix64::new(seed * TASKS + task));
        tokio::spawn(async move { run(&*store, space, &clock, random).await })
    });
    let mut calls = Vec::new();
    for done in join_all(tasks).await {
        calls.extend(done.unwrap());
    }
    check(seed, &calls);
}

async fn run(
    store: &dyn RecordStore,
    space: Space,
    clock: &AtomicU64,
    mut random: SplitMix64,
) -> Vec<Call> {
    let mut seen: BTreeMap<u64, State> = BTreeMap::new();
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let begin = clock.fetch_add(1, Ordering::SeqCst);
        let what = match random.below(5) {
            0 | 1 => read_some(store, space, &mut random).await,
            2 => read_all(store, space).await,
            _ => commit(store, space, &seen, &mut random).await,
        };
        let end = clock.fetch_add(1, Ordering::SeqCst);
        match &what {
            CallResult::Read { found, .. } => seen.extend(found.iter().copied()),
            CallResult::Commit {
                changed,
                seq: Some(seq),
                ..
            } => seen.extend(changed.iter().map(|(key, put)| (*key, put.then_some(*seq)))),
            CallResult::Commit { .. } => {}
        }
        calls.push(Call { begin, end, what });
    }
    calls
}

fn key(n: u64) -> Key {
    Key::table(b'h').u64(n).build()
}

async fn read_some(store: &dyn RecordStore, space: Space, random: &mut SplitMix64) -> CallResult {
    let numbers: Vec<u64> = (0..=random.below(3)).map(|_| random.below(KEYS)).collect();
    let keys: Vec<Key> = numbers.iter().map(|n| key(*n)).collect();
    let found = store.get(&space, &keys).await.unwrap();
    let versions = found.value.into_iter().map(|slot| slot.map(|r| r.version));
    CallResult::Read {
        found: numbers.into_iter().zip(versions).collect(),
        structure: found.structure,
    }
}

async fn read_all(store: &dyn RecordStore, space: Space) -> CallResult {
    let limit = Limit::records(100);
    let all = KeyRange::all();
    let found = store
        .scan(&space, &all, crate::Direction::Up, limit)
        .await
        .unwrap();
    let version = |n: u64| {
        let record = found.value.iter().find(|(of, _)| *of == key(n));
        record.map(|(_, record)| record.version)
    };
    CallResult::Read {
        found: (0..KEYS).map(|n| (n, version(n))).collect(),
        structure: found.structure,
    }
}

async fn commit(
    store: &dyn RecordStore,
    space: Space,
    seen: &BTreeMap<u64, State>,
    random: &mut SplitMix64,
) -> CallResult {
    let mut batch = Batch::new();
    let mut asserted = Vec::new();
    for (n, state) in seen {
        if random.below(3) == 0 {
            batch.assert(key(*n), state.map_or(Expect::Absent, Expect::Version));
            asserted.push((*n, *state));
        }
    }
    let mut changed = BTreeMap::new();
    for _ in 0..=random.below(2) {
        let (n, put) = (random.below(KEYS), random.below(5) > 0);
        changed.insert(n, put);
    }
    for (n, put) in &changed {
        match put {
            true => batch.put(key(*n), "value"),
            false => batch.delete(key(*n)),
        }
    }
    let changes_structure = random.below(4) == 0;
    if changes_structure {
        batch.change_structure();
    }
    let seq = match store.commit(&space, batch).await {
        Ok(seq) => Some(seq),
        Err(StoreError::Conflict) => None,
        Err(error) => panic!("{error}"),
    };
    CallResult::Commit {
        asserted,
        changed: changed.into_iter().collect(),
        changes_structure,
        seq,
    }
}

/// The states of the space after each commit, by its number. Number 0 is the empty space.
struct States {
    after: BTreeMap<CommitSeq, (BTreeMap<u64, State>, u64)>,
    /// The number, begin and end of each commit.
    commits: Vec<(CommitSeq, u64, u64)>,
}

impl States {
    /// Applies the commits in the order of their numbers, and checks that their assertions hold in it.
    fn of(seed: u64, calls: &[Call]) -> Self {
        let mut by_number = BTreeMap::new();
        for call in calls {
            if let CallResult::Commit { seq: Some(seq), .. } = &call.what {
                let replaced = by_number.insert(*seq, call);
                assert!(replaced.is_none(), "seed {seed}: two commits {seq}");
            }
        }
        let (mut keys, mut structure) = (BTreeMap::new(), 0);
        let mut states = Self {
            after: BTreeMap::from([(0, (keys.clone(), 0))]),
            commits: Vec::new(),
        };
        for (seq, call) in by_number {
            let CallResult::Commit {
                asserted,
                changed,
                changes_structure,
                ..
            } = &call.what
            else {
                continue;
            };
            assert!(holds(&keys, asserted), "seed {seed}: accepted {call:?}");
            keys.extend(changed.iter().map(|(n, put)| (*n, put.then_some(seq))));
            structure = if *changes_structure { seq } else { structure };
            states.after.insert(seq, (keys.clone(), structure));
            states.commits.push((seq, call.begin, call.end));
        }
        states
    }

    /// The last commit that was acknowledged before a point.
    fn last_before(&self, point: u64) -> CommitSeq {
        let earlier = self.commits.iter().filter(|(_, _, end)| *end < point);
        earlier.map(|(seq, ..)| *seq).max().unwrap_or(0)
    }

    /// The numbers that a call may have seen as the last: not before a commit that was acknowledged before its begin, and
    /// before every commit that began after its end.
    fn window(&self, call: &Call, min: CommitSeq) -> Vec<CommitSeq> {
        let later = self
            .commits
            .iter()
            .filter(|(_, begin, _)| *begin > call.end);
        let end = later.map(|(seq, ..)| *seq).min().unwrap_or(u64::MAX);
        let begin = self.last_before(call.begin).max(min);
        if begin >= end {
            return Vec::new();
        }
        self.after.range(begin..end).map(|(seq, _)| *seq).collect()
    }
}

fn holds(keys: &BTreeMap<u64, State>, expected: &[(u64, State)]) -> bool {
    let state = |n: &u64| keys.get(n).copied().flatten();
    expected.iter().all(|(n, expect)| state(n) == *expect)
}

fn check(seed: u64, calls: &[Call]) {
    let states = States::of(seed, calls);
    for (seq, begin, _) in &states.commits {
        assert!(
            states.last_before(*begin) < *seq,
            "seed {seed}: commit {seq} began after a later one was acknowledged"
        );
    }
    let mut in_order: Vec<&Call> = calls.iter().collect();
    in_order.sort_by_key(|call| call.begin);
    // The ends of reads, and the earliest state that explains each.
    let mut reads: Vec<(u64, CommitSeq)> = Vec::new();
    for call in in_order {
        match &call.what {
            CallResult::Read { found, structure } => {
                let earlier = reads.iter().filter(|(end, _)| *end < call.begin);
                let min = earlier.map(|(_, seq)| *seq).max().unwrap_or(0);
                let window = states.window(call, min);
                let explains = |seq: &CommitSeq| holds(&states.after[seq].0, found);
                let first = window.iter().find(|seq| explains(seq));
                let last = window.iter().rev().find(|seq| explains(seq));
                let (Some(first), Some(last)) = (first, last) else {
                    panic!("seed {seed}: no state explains {call:?}, {window:?}");
                };
                // The version may lack commits that were not acknowledged when the read began.
                let acknowledged = states.after[&states.last_before(call.begin)].1;
                assert!(
                    (acknowledged..=states.after[last].1).contains(structure),
                    "seed {seed}: structure of {call:?} is not from {acknowledged}"
                );
                reads.push((call.end, *first));
            }
            CallResult::Commit {
                asserted,
                seq: None,
                ..
            } => {
                let window = states.window(call, 0);
                let refutes = |seq: &CommitSeq| !holds(&states.after[seq].0, asserted);
                assert!(window.iter().any(refutes), "seed {seed}: refused {call:?}");
            }
            CallResult::Commit { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(begin: u64, end: u64, found: &[(u64, State)], structure: u64) -> Call {
        let found = found.to_vec();
        let what = CallResult::Read { found, structure };
        Call { begin, end, what }
    }

    fn commit(begin: u64, end: u64, keys: &[u64], seq: Option<CommitSeq>) -> Call {
        let what = CallResult::Commit {
            asserted: Vec::new(),
            changed: keys.iter().map(|n| (*n, true)).collect(),
            changes_structure: true,
            seq,
        };
        Call { begin, end, what }
    }

    fn is_refused(calls: &[Call]) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(0, calls))).is_err()
    }

    #[test]
    fn possible_histories_are_accepted() {
        let first = || commit(0, 3, &[0, 1], Some(1));
        assert!(!is_refused(&[
            first(),
            read(1, 2, &[(0, None), (1, None)], 0)
        ]));
        assert!(!is_refused(&[
            first(),
            read(1, 2, &[(0, Some(1)), (1, Some(1))], 1)
        ]));
        assert!(!is_refused(&[
            first(),
            read(4, 5, &[(0, Some(1)), (2, None)], 1)
        ]));
    }

    #[test]
    fn impossible_histories_are_refused() {
        let first = || commit(0, 3, &[0, 1], Some(1));
        let lost = read(4, 5, &[(0, None)], 1);
        assert!(
            is_refused(&[first(), lost]),
            "an acknowledged commit is lost"
        );
        let partial = read(1, 2, &[(0, Some(1)), (1, None)], 1);
        assert!(is_refused(&[first(), partial]), "a part of a batch is seen");
        let stale = read(4, 5, &[(0, Some(1))], 0);
        assert!(is_refused(&[first(), stale]), "the structure is stale");
        let back = [
            first(),
            read(1, 2, &[(0, Some(1))], 1),
            read(3, 4, &[(0, None)], 0),
        ];
        assert!(
            is_refused(&back),
            "a later read sees less than an earlier one"
        );
        let twice = [first(), commit(4, 5, &[0], Some(1))];
        assert!(is_refused(&twice), "a number is given twice");
        let reversed = [commit(0, 3, &[0], Some(2)), commit(4, 5, &[0], Some(1))];
        assert!(is_refused(&reversed), "numbers do not ascend");
        let refused = [first(), commit(4, 5, &[0], None)];
        assert!(is_refused(&refused), "a batch is refused without a reason");
    }
}
