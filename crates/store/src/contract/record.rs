//! The contract of [`RecordStore`].

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use personium_types::{CellId, SystemRandom};

use super::history::history;
use super::split_mix::SplitMix64;
use crate::{Batch, Direction, Expect, Key, KeyRange, Limit, RecordStore, Space, StoreError};

/// Checks the contract of [`RecordStore`], except closing and crashes.
///
/// # Panics
/// If the store breaks the contract.
pub async fn records(store: Arc<dyn RecordStore>) {
    store.check().await.unwrap();
    new_space_is_empty(&*store).await;
    scans_are_ordered_in_both_directions(&*store).await;
    scan_returns_records_up_to_its_limit(&*store).await;
    scan_ends_with_the_record_that_reaches_the_byte_limit(&*store).await;
    paging_is_stable_under_concurrent_writes(&*store).await;
    spaces_are_separate(&*store).await;
    failed_assertion_refuses_the_whole_batch(&*store).await;
    assertions_check_the_state_before_the_batch(&*store).await;
    last_operation_on_a_key_takes_effect(&*store).await;
    exactly_one_concurrent_creation_succeeds(&store).await;
    no_optimistic_increment_is_lost(&store).await;
    counters_never_conflict(&store).await;
    large_values_and_batches_are_stored(&*store).await;
    get_reads_one_snapshot(&store).await;
    scan_reads_one_snapshot(&store).await;
    commit_is_visible_to_later_reads(&store).await;
    dropped_space_stays_dropped(&store).await;
    fenced_space_refuses_commits(&*store).await;
    for seed in 0..6 {
        history(&*store, seed, 120).await;
    }
}

fn new_space() -> Space {
    Space::Cell(CellId::random(&SystemRandom::new()))
}

fn key(n: u64) -> Key {
    Key::table(b'k').u64(n).build()
}

fn all() -> KeyRange {
    KeyRange {
        start: Key::from_bytes(Vec::new()),
        end: None,
    }
}

fn put(n: u64, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(n), value);
    batch
}

fn i64_of(value: &[u8]) -> i64 {
    i64::from_le_bytes(value.try_into().unwrap())
}

async fn keys_of(
    store: &dyn RecordStore,
    space: &Space,
    range: &KeyRange,
    order: Direction,
) -> Vec<Key> {
    store
        .scan(space, range, order, Limit::records(10_000))
        .await
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

async fn new_space_is_empty(store: &dyn RecordStore) {
    let space = new_space();
    assert_eq!(
        store.get(&space, &[key(1), key(2)]).await.unwrap(),
        vec![None, None]
    );
    assert!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(10))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
    let first = store.commit(&space, Batch::new()).await.unwrap();
    let second = store.commit(&space, put(1, "x")).await.unwrap();
    assert!(second > first);
    assert_eq!(store.get(&space, &[]).await.unwrap(), vec![]);
}

async fn scans_are_ordered_in_both_directions(store: &dyn RecordStore) {
    let space = new_space();
    let raw: [&[u8]; 8] = [
        &[],
        &[0],
        &[0, 0],
        &[0, 1],
        b"a",
        b"ab",
        &[0xff],
        &[0xff, 0xff],
    ];
    let mut batch = Batch::new();
    for bytes in raw.iter().rev() {
        batch.put(Key::from_bytes(bytes.to_vec()), bytes.to_vec());
    }
    let seq = store.commit(&space, batch).await.unwrap();
    let sorted: Vec<Key> = raw
        .iter()
        .map(|bytes| Key::from_bytes(bytes.to_vec()))
        .collect();
    assert_eq!(keys_of(store, &space, &all(), Direction::Up).await, sorted);
    let mut reversed = sorted.clone();
    reversed.reverse();
    assert_eq!(
        keys_of(store, &space, &all(), Direction::Down).await,
        reversed
    );
    let from_to = KeyRange {
        start: sorted[2].clone(),
        end: Some(sorted[5].clone()),
    };
    assert_eq!(
        keys_of(store, &space, &from_to, Direction::Up).await,
        sorted[2..5]
    );
    assert_eq!(
        keys_of(store, &space, &from_to, Direction::Down).await,
        reversed[3..6]
    );
    let last = KeyRange::prefix(&Key::from_bytes(vec![0xff]));
    assert_eq!(
        keys_of(store, &space, &last, Direction::Up).await,
        sorted[6..]
    );
    let inverted = KeyRange {
        start: sorted[5].clone(),
        end: Some(sorted[2].clone()),
    };
    assert!(
        keys_of(store, &space, &inverted, Direction::Down)
            .await
            .is_empty()
    );
    assert!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(0))
            .await
            .unwrap()
            .is_empty()
    );
    for (key, record) in store
        .scan(&space, &all(), Direction::Up, Limit::records(100))
        .await
        .unwrap()
    {
        assert_eq!((&record.value[..], record.version), (key.as_bytes(), seq));
    }
}

async fn scan_ends_with_the_record_that_reaches_the_byte_limit(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = Batch::new();
    for (n, size) in (0..).zip([0, 10, 700, 0, 30_000, 5]) {
        batch.put(key(n), vec![b'v'; size]);
    }
    store.commit(&space, batch).await.unwrap();
    for (order, bytes, records, found) in [
        (Direction::Up, 1, 100, 2),
        (Direction::Up, 10, 100, 2),
        (Direction::Up, 11, 100, 3),
        (Direction::Up, 711, 100, 5),
        (Direction::Up, 711, 4, 4),
        (Direction::Up, 1 << 20, 100, 6),
        (Direction::Down, 5, 100, 1),
        (Direction::Down, 6, 100, 2),
    ] {
        let limit = Limit::records(records).or_bytes(bytes);
        let scanned = store.scan(&space, &all(), order, limit).await.unwrap();
        assert_eq!(scanned.len(), found, "{order:?} {limit:?}");
    }
}

/// An engine may treat short and long scans differently.
async fn scan_returns_records_up_to_its_limit(store: &dyn RecordStore) {
    let space = new_space();
    let mut stored = 0;
    for there in [1, 511, 512, 513, 1025] {
        let mut batch = Batch::new();
        for n in stored..there {
            batch.put(key(n), n.to_le_bytes().to_vec());
        }
        stored = there;
        store.commit(&space, batch).await.unwrap();
        for limit in [1, 511, 512, 513, 1024, 1025, 5000] {
            for order in [Direction::Up, Direction::Down] {
                let found = store
                    .scan(&space, &all(), order, Limit::records(limit))
                    .await
                    .unwrap();
                let expected = usize::try_from(there).unwrap().min(limit);
                assert_eq!(found.len(), expected, "{there} records, limit {limit}");
            }
        }
    }
}

async fn paging_is_stable_under_concurrent_writes(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = Batch::new();
    for n in 0..1000 {
        batch.put(key(n * 2), n.to_le_bytes().to_vec());
    }
    store.commit(&space, batch).await.unwrap();
    for order in [Direction::Up, Direction::Down] {
        let mut seen = Vec::new();
        let mut range = all();
        loop {
            let page = store
                .scan(&space, &range, order, Limit::records(70))
                .await
                .unwrap();
            let Some((last, _)) = page.last() else { break };
            range = match order {
                Direction::Up => range.after(last),
                Direction::Down => range.before(last),
            };
            seen.extend(page.iter().map(|(key, _)| key.clone()));
            let at = seen.len() as u64 % 1000;
            let mut between = Batch::new();
            between.put(key(at * 2 + 1), "odd");
            between.put(key(at * 2), "changed");
            store.commit(&space, between).await.unwrap();
        }
        let even: Vec<&Key> = seen
            .iter()
            .filter(|key| key.as_bytes().last().is_some_and(|b| b % 2 == 0))
            .collect();
        assert_eq!(
            even.len(),
            1000,
            "a record that exists throughout is returned exactly once"
        );
        assert!(seen.windows(2).all(|w| if order == Direction::Up {
            w[0] < w[1]
        } else {
            w[0] > w[1]
        }));
    }
}

async fn spaces_are_separate(store: &dyn RecordStore) {
    let (a, b) = (new_space(), new_space());
    store.commit(&a, put(1, "a")).await.unwrap();
    store.commit(&Space::Unit, put(1, "unit")).await.unwrap();
    assert_eq!(store.get(&b, &[key(1)]).await.unwrap(), vec![None]);
    store.commit(&b, put(1, "b")).await.unwrap();
    for (space, value) in [(&a, "a"), (&b, "b"), (&Space::Unit, "unit")] {
        let found = store.get(space, &[key(1)]).await.unwrap();
        assert_eq!(found[0].as_ref().unwrap().value, value);
    }
    assert_eq!(store.count(&a, &all()).await.unwrap(), 1);
}

async fn failed_assertion_refuses_the_whole_batch(store: &dyn RecordStore) {
    let space = new_space();
    let first = store.commit(&space, put(1, "one")).await.unwrap();
    let second = store.commit(&space, put(2, "two")).await.unwrap();
    let refused = [
        (key(1), Expect::Absent),
        (key(3), Expect::Present),
        (key(3), Expect::Version(first)),
        (key(1), Expect::Version(second)),
        (key(1), Expect::Version(0)),
    ];
    for (key_, expect) in refused {
        let mut batch = put(9, "never");
        batch.delete(key(2));
        batch.add(key(8), 1);
        batch.assert(key_, expect);
        assert!(matches!(
            store.commit(&space, batch).await,
            Err(StoreError::Conflict)
        ));
    }
    let mut batch = put(9, "never");
    batch.assert_empty(KeyRange {
        start: key(2),
        end: Some(key(3)),
    });
    assert!(matches!(
        store.commit(&space, batch).await,
        Err(StoreError::Conflict)
    ));
    assert_eq!(
        keys_of(store, &space, &all(), Direction::Up).await,
        [key(1), key(2)]
    );

    let mut batch = Batch::new();
    batch.assert(key(1), Expect::Present);
    batch.assert(key(1), Expect::Version(first));
    batch.assert(key(2), Expect::Version(second));
    batch.assert(key(3), Expect::Absent);
    batch.assert_empty(KeyRange {
        start: key(3),
        end: None,
    });
    batch.assert_empty(KeyRange {
        start: key(3),
        end: Some(key(1)),
    });
    batch.put(key(1), "new");
    let third = store.commit(&space, batch).await.unwrap();
    let found = store.get(&space, &[key(1), key(2)]).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().version, third);
    assert_eq!(found[1].as_ref().unwrap().version, second);
}

async fn assertions_check_the_state_before_the_batch(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = put(1, "x");
    batch.assert(key(1), Expect::Absent);
    batch.assert_empty(all());
    store.commit(&space, batch).await.unwrap();
    let mut batch = Batch::new();
    batch.delete(key(1));
    batch.assert(key(1), Expect::Present);
    store.commit(&space, batch).await.unwrap();
    assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
    let mut batch = Batch::new();
    batch.delete(key(1));
    store.commit(&space, batch).await.unwrap();
}

async fn last_operation_on_a_key_takes_effect(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = put(1, "a");
    batch.delete(key(1));
    batch.delete(key(2));
    batch.put(key(2), "b");
    batch.put(key(2), "c");
    batch.add(key(3), 5);
    batch.add(key(3), -7);
    batch.put(key(4), 100i64.to_le_bytes().to_vec());
    batch.add(key(4), 1);
    store.commit(&space, batch).await.unwrap();
    let found = store
        .get(&space, &[key(1), key(2), key(3), key(4)])
        .await
        .unwrap();
    assert!(found[0].is_none());
    assert_eq!(found[1].as_ref().unwrap().value, "c");
    assert_eq!(i64_of(&found[2].as_ref().unwrap().value), -2);
    assert_eq!(i64_of(&found[3].as_ref().unwrap().value), 101);
    let mut batch = put(5, "refused");
    batch.add(key(2), 1);
    assert!(
        matches!(
            store.commit(&space, batch).await,
            Err(StoreError::Corrupt(_))
        ),
        "not a counter"
    );
    assert_eq!(store.get(&space, &[key(5)]).await.unwrap(), vec![None]);
}

async fn exactly_one_concurrent_creation_succeeds(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let tasks = (0..64u64).map(|n| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut batch = put(1, n.to_le_bytes().to_vec());
            batch.assert(key(1), Expect::Absent);
            batch.put(key(100 + n), "trace");
            store.commit(&space, batch).await.map(|seq| (n, seq))
        })
    });
    let mut winners = Vec::new();
    for answer in join_all(tasks).await {
        match answer.unwrap() {
            Ok(won) => winners.push(won),
            Err(StoreError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let (n, seq) = winners[0];
    let found = store.get(&space, &[key(1), key(100 + n)]).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().value[..], n.to_le_bytes());
    assert_eq!(found[0].as_ref().unwrap().version, seq);
    assert!(found[1].is_some());
    assert_eq!(store.count(&space, &all()).await.unwrap(), 2);
}

async fn no_optimistic_increment_is_lost(store: &Arc<dyn RecordStore>) {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let space = new_space();
    store
        .commit(&space, put(1, 0i64.to_le_bytes().to_vec()))
        .await
        .unwrap();
    let tasks = (0..TASKS).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut done = 0;
            while done < EACH {
                let record = store
                    .get(&space, &[key(1)])
                    .await
                    .unwrap()
                    .remove(0)
                    .unwrap();
                let mut batch = put(1, (i64_of(&record.value) + 1).to_le_bytes().to_vec());
                batch.assert(key(1), Expect::Version(record.version));
                match store.commit(&space, batch).await {
                    Ok(_) => done += 1,
                    Err(StoreError::Conflict) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let record = store
        .get(&space, &[key(1)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(i64_of(&record.value), i64::try_from(TASKS * EACH).unwrap());
}

async fn counters_never_conflict(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let tasks = (0..40i64).map(|n| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut batch = Batch::new();
                batch.add(key(1), n);
                batch.add(key(2), -1);
                store.commit(&space, batch).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let found = store.get(&space, &[key(1), key(2)]).await.unwrap();
    assert_eq!(
        i64_of(&found[0].as_ref().unwrap().value),
        10 * (0..40).sum::<i64>()
    );
    assert_eq!(i64_of(&found[1].as_ref().unwrap().value), -400);
}

async fn large_values_and_batches_are_stored(store: &dyn RecordStore) {
    let space = new_space();
    let mut random = SplitMix64::new(7);
    let large: Vec<u8> = (0..5 << 20).map(|_| random.below(256) as u8).collect();
    store.commit(&space, put(1, large.clone())).await.unwrap();
    store.commit(&space, put(2, Bytes::new())).await.unwrap();
    let long_key = Key::table(b'z').bytes(&vec![b'x'; 2000]).build();
    let mut batch = Batch::new();
    batch.put(long_key.clone(), "long");
    for n in 1000..3000 {
        batch.put(key(n), vec![b'v'; 100]);
    }
    store.commit(&space, batch).await.unwrap();
    let found = store
        .get(&space, &[key(1), key(2), long_key, key(2999)])
        .await
        .unwrap();
    assert!(found[0].as_ref().unwrap().value == large);
    assert_eq!(found[1].as_ref().unwrap().value, "");
    assert_eq!(found[2].as_ref().unwrap().value, "long");
    assert!(found[3].is_some());
    assert_eq!(store.count(&space, &all()).await.unwrap(), 2003);
    assert_eq!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(5000))
            .await
            .unwrap()
            .len(),
        2003
    );
}

/// Every batch sets two records to the same number, so a snapshot holds two equal records.
async fn get_reads_one_snapshot(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let writer = spawn_pair_writer(store, space);
    while !writer.is_finished() {
        let found = store.get(&space, &[key(1), key(2)]).await.unwrap();
        assert_eq!(found[0], found[1]);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn scan_reads_one_snapshot(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let writer = spawn_pair_writer(store, space);
    while !writer.is_finished() {
        let found = store
            .scan(&space, &all(), Direction::Down, Limit::records(1000))
            .await
            .unwrap();
        assert!(found.is_empty() || found.len() == 2);
        assert!(found.windows(2).all(|pair| pair[0].1 == pair[1].1));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

fn spawn_pair_writer(store: &Arc<dyn RecordStore>, space: Space) -> tokio::task::JoinHandle<()> {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        for n in 0..200u64 {
            let mut batch = put(1, n.to_le_bytes().to_vec());
            batch.put(key(2), n.to_le_bytes().to_vec());
            store.commit(&space, batch).await.unwrap();
        }
    })
}

async fn commit_is_visible_to_later_reads(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let tasks = (0..8u64).map(|task| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for n in 0..40u64 {
                let seq = store
                    .commit(&space, put(task, n.to_le_bytes().to_vec()))
                    .await
                    .unwrap();
                let reader = Arc::clone(&store);
                let read = tokio::spawn(async move { reader.get(&space, &[key(task)]).await });
                let record = read.await.unwrap().unwrap().remove(0).unwrap();
                assert_eq!(
                    (&record.value[..], record.version),
                    (&n.to_le_bytes()[..], seq)
                );
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
}

async fn dropped_space_stays_dropped(store: &Arc<dyn RecordStore>) {
    let other = new_space();
    store.drop_space(&new_space()).await.unwrap();
    store.commit(&other, put(1, "stays")).await.unwrap();
    for round in 0..5 {
        let space = new_space();
        for n in 0..5 {
            store
                .commit(&space, put(n, vec![b'x'; 10_000]))
                .await
                .unwrap();
        }
        let reading = (0..4).map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                store
                    .scan(&space, &all(), Direction::Up, Limit::records(10))
                    .await
                    .unwrap()
                    .len()
            })
        });
        let reading: Vec<_> = reading.collect();
        store.drop_space(&space).await.unwrap();
        for seen in join_all(reading).await {
            assert!(
                [0, 5].contains(&seen.unwrap()),
                "a reader sees all records of a dropped space or none"
            );
        }
        assert_eq!(
            store.get(&space, &[key(1)]).await.unwrap(),
            vec![None],
            "round {round}"
        );
        assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
        let late = store.commit(&space, put(1, "again")).await;
        assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");
        assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
        store.drop_space(&space).await.unwrap();
    }
    assert_eq!(
        store.get(&other, &[key(1)]).await.unwrap()[0]
            .as_ref()
            .unwrap()
            .value,
        "stays"
    );
}

async fn fenced_space_refuses_commits(store: &dyn RecordStore) {
    let (space, other) = (new_space(), new_space());
    let range = |start, end| KeyRange {
        start: key(start),
        end: Some(key(end)),
    };
    store.commit(&space, put(1, "kept")).await.unwrap();
    let refused = store.fence(&space, &[range(5, 6), range(0, 2)]).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    store.commit(&space, put(2, "not fenced")).await.unwrap();

    let fence = store
        .fence(&space, &[range(5, 6), range(3, 4)])
        .await
        .unwrap();
    for batch in [put(3, "late"), Batch::new()] {
        let late = store.commit(&space, batch).await;
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    }
    let twice = store.fence(&space, &[]).await;
    assert!(matches!(twice, Err(StoreError::Conflict)), "{twice:?}");
    assert_eq!(store.count(&space, &all()).await.unwrap(), 2);
    store.commit(&other, put(3, "elsewhere")).await.unwrap();
    drop(fence);
    store.commit(&space, put(3, "in time")).await.unwrap();

    let fence = store.fence(&space, &[]).await.unwrap();
    store.drop_space(&space).await.unwrap();
    for _ in 0..2 {
        let late = store.commit(&space, put(1, "again")).await;
        assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");
    }
    drop(fence);
    let late = store.commit(&space, put(1, "again")).await;
    assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");
    let late = store.fence(&space, &[]).await;
    assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");

    let never_there = new_space();
    drop(store.fence(&never_there, &[all()]).await.unwrap());
    store.commit(&never_there, put(1, "x")).await.unwrap();
}
