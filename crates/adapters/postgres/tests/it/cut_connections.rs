//! Connections that are cut at every byte of a commit: what was acknowledged is there once, what was refused is not there, and
//! nothing is there twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_postgres::PostgresSettings;
use personium_store::{Batch, Expect, Key, RecordStore, Space, StoreError};

use crate::database::{Database, counted, counted_records, key, new_space, open};
use crate::proxy::{Cut, Proxy, Side};

/// The number of bytes by which each of the concurrent tests moves its cut, so that together they cut at every byte.
const WORKERS: usize = 6;

/// The results of a series of commits with cuts.
#[derive(Debug, Default)]
struct Outcome {
    acknowledged: Vec<u64>,
    unknown: Vec<u64>,
    cuts: usize,
}

async fn cut_everywhere(prepared_statements: bool, side: Side, server_later: Duration) {
    let database = Arc::new(Database::new().await);
    let workers = (0..WORKERS).map(|first| {
        let database = Arc::clone(&database);
        tokio::spawn(async move {
            let space = new_space();
            let outcome = cut_at(&database, prepared_statements, &space, |n| Cut {
                side,
                after: first + n * WORKERS,
                server_later,
            })
            .await;
            check(&database, &space, &outcome).await;
            outcome
        })
    });
    let workers: Vec<_> = workers.collect();
    let (mut acknowledged, mut cuts) = (0, 0);
    for worker in workers {
        let outcome = worker.await.unwrap();
        acknowledged += outcome.acknowledged.len();
        cuts += outcome.cuts;
    }
    assert!(cuts > 100, "{cuts}");
    // The outcome is found out, although another process writes into the space.
    assert!(acknowledged * 10 > cuts * 9, "{acknowledged} of {cuts}");
}

/// Commits one batch for each cut, until a commit ends before its cut is due.
async fn cut_at(
    database: &Database,
    prepared_statements: bool,
    space: &Space,
    cut: impl Fn(usize) -> Cut,
) -> Outcome {
    let proxy = Proxy::start(database.cluster.port()).await;
    let settings = PostgresSettings {
        prepared_statements,
        pool_size: 2,
        ..database.settings_at(proxy.port)
    };
    let store = open(&settings);
    store.commit(space, counted(0)).await.unwrap();
    let mut outcome = Outcome {
        acknowledged: vec![0],
        ..Outcome::default()
    };
    for n in 0.. {
        let number = n as u64 + 1;
        let mut batch = counted(number);
        batch.assert(key(number), Expect::Absent);
        proxy.arm(cut(n)).await;
        match store.commit(space, batch).await {
            Ok(_) => outcome.acknowledged.push(number),
            Err(StoreError::Down(_)) => outcome.unknown.push(number),
            Err(error) => panic!("{:?}: {error:?}", cut(n)),
        }
        if proxy.disarm().await {
            return outcome;
        }
        outcome.cuts += 1;
    }
    outcome
}

async fn check(database: &Database, space: &Space, outcome: &Outcome) {
    let (count, found) = counted_records(&*database.store(), space).await;
    assert_eq!(count, i64::try_from(found.len()).unwrap(), "each once");
    for number in &outcome.acknowledged {
        assert!(found.contains(number), "{number} was acknowledged");
    }
    let sent = outcome.acknowledged.len() + outcome.unknown.len();
    assert!(found.len() <= sent, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_whose_requests_are_cut_is_done_once_or_not_at_all() {
    cut_everywhere(true, Side::ToServer, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_whose_answers_are_cut_is_done_once() {
    cut_everywhere(true, Side::ToClient, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_with_unnamed_statements_that_is_cut_is_done_once_or_not_at_all() {
    cut_everywhere(false, Side::ToServer, Duration::ZERO).await;
    cut_everywhere(false, Side::ToClient, Duration::ZERO).await;
}

/// The lost transaction still holds the lock of the space when the client tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_whose_server_learns_late_of_the_cut_is_done_once_or_not_at_all() {
    let later = Duration::from_millis(30);
    cut_everywhere(true, Side::ToServer, later).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outcome_is_found_out_while_another_store_writes_into_the_space() {
    let database = Arc::new(Database::new().await);
    let space = new_space();
    let stop = Arc::new(AtomicBool::new(false));
    let other = {
        let (store, stop) = (database.store(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut written = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                let mut batch = Batch::new();
                batch.add(Key::table(b'o').build(), 1);
                store.commit(&space, batch).await.unwrap();
                written += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            written
        })
    };
    let outcome = cut_at(&database, true, &space, |n| Cut {
        side: Side::ToClient,
        after: n * 3,
        server_later: Duration::ZERO,
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let written = other.await.unwrap();
    check(&database, &space, &outcome).await;
    let store = database.store();
    let other = Key::table(b'o').build();
    let found = store.get(&space, &[other]).await.unwrap().value;
    let found = found[0].as_ref().unwrap();
    assert_eq!(
        i64::from_le_bytes(found.value[..].try_into().unwrap()),
        written
    );
}
