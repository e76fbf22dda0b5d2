//! Reads that come at the same time.

use std::sync::Arc;

use personium_postgres::PostgresStore;
use personium_store::{Key, Record, RecordStore, Result, Snapshot, Space, StoreError};

use crate::database::{Database, counted, counter, key, new_space, open};
use crate::proxy::{Cut, Proxy, Side};

/// The number of reads at the same time.
const READS: u64 = 64;

async fn fill(store: &PostgresStore, space: &Space, records: u64) {
    for n in 0..records {
        store.commit(space, counted(n)).await.unwrap();
    }
}

/// Reads at the same time.
async fn read_all(
    store: &Arc<PostgresStore>,
    reads: Vec<(Space, Vec<Key>)>,
) -> Vec<Result<Snapshot<Vec<Option<Record>>>>> {
    let tasks = reads.into_iter().map(|(space, keys)| {
        let store = Arc::clone(store);
        async move { store.get(&space, &keys).await }
    });
    futures_util::future::join_all(tasks).await
}

fn number(record: &Option<Record>) -> Option<u64> {
    let bytes = record.as_ref()?.value[..].try_into().unwrap();
    Some(u64::from_le_bytes(bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_at_the_same_time_get_their_own_records_in_few_round_trips() {
    let database = Database::new().await;
    let proxy = Proxy::start(database.cluster.port()).await;
    let store = open(&database.settings_at(proxy.port));
    let (one, other, absent) = (new_space(), new_space(), new_space());
    fill(&store, &one, 4).await;
    let mut structure = counted(100);
    structure.change_structure();
    let other_structure = store.commit(&other, structure).await.unwrap();
    let reads = || {
        let of = |n: u64| match n % 4 {
            0 => (one, vec![key(n % 8)]),
            1 => (other, vec![key(100), key(n), key(100)]),
            2 => (absent, vec![key(1)]),
            _ => (one, vec![]),
        };
        (0..READS).map(of).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        let before = proxy.round_trips();
        let found = read_all(&store, reads()).await;
        let taken = proxy.round_trips() - before;
        for (n, found) in (0..READS).zip(found) {
            let found = found.unwrap();
            let numbers: Vec<Option<u64>> = found.value.iter().map(number).collect();
            let (expected, structure) = match n % 4 {
                0 => (vec![(n % 8 < 4).then_some(n % 8)], 0),
                1 => (vec![Some(100), None, Some(100)], other_structure),
                2 => (vec![None], 0),
                _ => (vec![], 0),
            };
            assert_eq!((numbers, found.structure), (expected, structure), "{n}");
        }
        // The first time, statements are prepared on each connection.
        if taken * 2 < usize::try_from(READS).unwrap() {
            return;
        }
    }
    panic!("each read took a round trip of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_record_and_dropped_space_fail_only_the_reads_of_them() {
    let database = Database::new().await;
    let store = database.store();
    let (space, dropped) = (new_space(), new_space());
    fill(&store, &space, 3).await;
    fill(&store, &dropped, 1).await;
    store.drop_space(&dropped).await.unwrap();
    database.sql("UPDATE personium.records SET sum = sum + 1 WHERE key = '\\x6b0000000000000001'");
    let reads = (0..READS).map(|n| match n % 4 {
        3 => (dropped, vec![key(0)]),
        n => (space, vec![key(n)]),
    });
    let found = read_all(&store, reads.collect()).await;
    for (n, found) in (0..READS).zip(found) {
        match (n % 4, found) {
            (1, Err(StoreError::Corrupt(_))) | (3, Err(StoreError::SpaceDropped)) => {}
            (0 | 2, Ok(found)) => assert_eq!(number(&found.value[0]), Some(n % 4)),
            (_, found) => panic!("{n}: {found:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_whose_connection_is_cut_return_what_was_acknowledged_or_fail() {
    let database = Database::new().await;
    let proxy = Proxy::start(database.cluster.port()).await;
    let store = open(&database.settings_at(proxy.port));
    let space = new_space();
    for n in 0..20 {
        store.commit(&space, counted(n)).await.unwrap();
        proxy
            .arm(Cut {
                side: Side::ToClient,
                after: 40 * usize::try_from(n).unwrap(),
                server_later: std::time::Duration::ZERO,
            })
            .await;
        let reads = (0..READS)
            .map(|_| (space, vec![key(n), counter()]))
            .collect();
        for found in read_all(&store, reads).await {
            match found {
                Ok(found) => assert_eq!(number(&found.value[0]), Some(n)),
                // The connection was cut while it was made.
                Err(error) => assert!(matches!(error, StoreError::Down(_)), "{error:?}"),
            }
        }
        proxy.disarm().await;
        let after = store.get(&space, &[key(n)]).await.unwrap();
        assert_eq!(number(&after.value[0]), Some(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_given_up_do_not_delay_others() {
    let database = Database::new().await;
    let store = database.store();
    let space = new_space();
    fill(&store, &space, 1).await;
    for _ in 0..50 {
        let given_up = (0..READS).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.get(&space, &[key(0)]).await })
        });
        let given_up: Vec<_> = given_up.collect();
        tokio::task::yield_now().await;
        for read in given_up {
            read.abort();
        }
        let found = store.get(&space, &[key(0)]).await.unwrap();
        assert_eq!(number(&found.value[0]), Some(0));
    }
}

#[tokio::test]
async fn record_that_exists_against_expectation_is_replaced() {
    let database = Database::new().await;
    let store = database.store();
    let space = new_space();
    fill(&store, &space, 3).await;
    for n in 10..13 {
        // What a batch that creates something puts is taken for new.
        let mut batch = counted(n);
        batch.assert(key(n), personium_store::Expect::Absent);
        batch.put(key(1), n.to_le_bytes().to_vec());
        let version = store.commit(&space, batch).await.unwrap();
        let found = store.get(&space, &[key(1), key(n)]).await.unwrap().value;
        let found: Vec<_> = found
            .iter()
            .map(|r| (number(r), r.as_ref().unwrap().version))
            .collect();
        assert_eq!(found, [(Some(n), version); 2]);
    }
}
