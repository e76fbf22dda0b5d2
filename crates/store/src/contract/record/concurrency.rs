//! Concurrent commits and snapshots.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{all, i64_of, key, new_space, put};
use crate::{Batch, Direction, Expect, Limit, RecordStore, Space, StoreError};

pub(super) async fn exactly_one_concurrent_creation_succeeds(store: &Arc<dyn RecordStore>) {
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
    let found = store
        .get(&space, &[key(1), key(100 + n)])
        .await
        .unwrap()
        .value;
    assert_eq!(found[0].as_ref().unwrap().value[..], n.to_le_bytes());
    assert_eq!(found[0].as_ref().unwrap().version, seq);
    assert!(found[1].is_some());
    assert_eq!(store.count(&space, &all()).await.unwrap().value, 2);
}

pub(super) async fn no_optimistic_increment_is_lost(store: &Arc<dyn RecordStore>) {
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
                    .value
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
        .value
        .remove(0)
        .unwrap();
    assert_eq!(i64_of(&record.value), i64::try_from(TASKS * EACH).unwrap());
}

pub(super) async fn counters_never_conflict(store: &Arc<dyn RecordStore>) {
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
    let found = store.get(&space, &[key(1), key(2)]).await.unwrap().value;
    assert_eq!(
        i64_of(&found[0].as_ref().unwrap().value),
        10 * (0..40).sum::<i64>()
    );
    assert_eq!(i64_of(&found[1].as_ref().unwrap().value), -400);
}

/// Every batch sets two records to the same number, so a snapshot holds two equal records.
pub(super) async fn get_reads_one_snapshot(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let writer = spawn_pair_writer(store, space);
    while !writer.is_finished() {
        let found = store.get(&space, &[key(1), key(2)]).await.unwrap().value;
        assert_eq!(found[0], found[1]);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

pub(super) async fn scan_reads_one_snapshot(store: &Arc<dyn RecordStore>) {
    let space = new_space();
    let writer = spawn_pair_writer(store, space);
    while !writer.is_finished() {
        let found = store
            .scan(&space, &all(), Direction::Down, Limit::records(1000))
            .await
            .unwrap()
            .value;
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

pub(super) async fn commit_is_visible_to_later_reads(store: &Arc<dyn RecordStore>) {
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
                let record = read.await.unwrap().unwrap().value.remove(0).unwrap();
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
