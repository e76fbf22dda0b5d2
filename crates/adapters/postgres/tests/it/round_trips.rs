//! The number of round trips.

use personium_postgres::PostgresSettings;
use personium_store::{Batch, Direction, Expect, KeyRange, Limit, RecordStore, Space, StoreError};

use crate::database::{Database, counted, counter, key, new_space, open};
use crate::proxy::Proxy;

async fn check(prepared_statements: bool) {
    let database = Database::new().await;
    let proxy = Proxy::start(database.cluster.port()).await;
    let settings = PostgresSettings {
        prepared_statements,
        ..database.settings_at(proxy.port)
    };
    let store = open(&settings);
    let space = new_space();
    // Makes the connection and prepares the statements.
    for n in 0..2 {
        use_all(&*store, &space, n, |_, _| {}).await;
    }
    let before = std::cell::Cell::new(proxy.round_trips());
    use_all(&*store, &space, 2, |what, expected| {
        let now = proxy.round_trips();
        let taken = now - before.replace(now);
        assert_eq!(taken, expected, "{what}");
    })
    .await;
    assert_eq!(proxy.connections(), 1);
}

/// Uses all operations; `count` gets the number of round trips that each may take.
async fn use_all(store: &dyn RecordStore, space: &Space, n: u64, count: impl Fn(&str, usize)) {
    let all = KeyRange::all();
    let mut batch = counted(n);
    batch.put(key(100 + n), vec![b'x'; 5_000]);
    batch.delete(key(200));
    batch.assert(key(n), Expect::Absent);
    batch.assert_empty(KeyRange::prefix(&key(300)));
    batch.assert_empty(KeyRange::prefix(&key(301)));
    store.commit(space, batch).await.unwrap();
    count("commit", 2);
    let mut batch = Batch::new();
    for n in 1_000..1_100 {
        batch.put(key(n), "many");
    }
    store.commit(space, batch).await.unwrap();
    count("commit of many records", 2);
    let mut batch = counted(n);
    batch.assert(key(n), Expect::Absent);
    let refused = store.commit(space, batch).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    count("refused commit", 2);
    store.get(space, &[key(n), counter()]).await.unwrap();
    count("get", 1);
    for order in [Direction::Up, Direction::Down] {
        let limit = Limit::records(50).or_bytes(1_000);
        store.scan(space, &all, order, limit).await.unwrap();
        count("scan", 1);
    }
    store.count(space, &all).await.unwrap();
    count("count", 1);
    store.check().await.unwrap();
    count("check", 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_takes_one_round_trip_and_commit_two() {
    check(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_takes_one_round_trip_and_commit_two_with_unnamed_statements() {
    check(false).await;
}
