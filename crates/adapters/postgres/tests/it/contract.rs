//! The contract of the port.

use std::sync::Arc;

use personium_postgres::PostgresSettings;
use personium_store::{RecordStore, StoreError, contract};

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
