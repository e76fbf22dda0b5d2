//! The contract of the port.

use std::sync::Arc;

use personium_postgres::PostgresSettings;
use personium_store::{Batch, Key, RecordStore, StoreError, contract};

use crate::database::{Database, new_space, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_store_keeps_the_contract() {
    let database = Database::new().await;
    contract::records(database.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_store_keeps_the_contract_with_unnamed_statements_and_two_connections() {
    let database = Database::new().await;
    let settings = PostgresSettings {
        prepared_statements: false,
        pool_size: 2,
        ..database.settings()
    };
    contract::records(open(&settings)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_over_one_database_behave_as_one() {
    let database = Database::new().await;
    contract::records_shared(database.store(), database.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn spaces_are_changed_concurrently() {
    let database = Database::new().await;
    let store = database.store();
    let tasks: Vec<_> = (0..6)
        .map(|seed| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { contract::history(&*store, seed + 100, 60).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.close().await.unwrap();
    let late = store.get(&new_space(), &[]).await;
    assert!(matches!(late, Err(StoreError::Down(_))), "{late:?}");
}

#[tokio::test]
async fn longest_key_is_stored_and_a_longer_one_is_refused() {
    let database = Database::new().await;
    let store = database.store();
    let space = new_space();
    // Bytes that the database cannot make shorter.
    let mut random = personium_testkit::SplitMix64::new(3);
    let bytes: Vec<u8> = (0..2_601)
        .map(|_| random.next_u64().to_le_bytes()[0])
        .collect();
    let longest = Key::from_bytes(bytes[..2_600].to_vec());
    let mut batch = Batch::new();
    batch.put(longest.clone(), "x");
    store.commit(&space, batch).await.unwrap();
    assert!(store.get(&space, &[longest]).await.unwrap().value[0].is_some());
    let mut batch = Batch::new();
    batch.put(Key::from_bytes(bytes), "x");
    let refused = store.commit(&space, batch).await;
    assert!(
        matches!(refused, Err(StoreError::Unsupported(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn damaged_record_is_reported_and_not_returned() {
    let database = Database::new().await;
    let settings = database.settings();
    let store = open(&settings);
    let space = new_space();
    store
        .commit(&space, crate::database::counted(1))
        .await
        .unwrap();
    database.sql("UPDATE personium.records SET value = '\\x0102030405060708'");
    for key in [crate::database::key(1), crate::database::counter()] {
        let read = store.get(&space, &[key]).await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    }
    let added = store.commit(&space, crate::database::counted(2)).await;
    assert!(matches!(added, Err(StoreError::Corrupt(_))), "{added:?}");
    assert_eq!(settings.health.damaged_spaces().len(), 1);
}
