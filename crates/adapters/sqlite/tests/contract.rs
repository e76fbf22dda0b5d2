//! The promises of the port, kept by this engine, also when hardly any file may stay open.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use personium_sqlite::{Settings, SqliteStore, Sync};
use personium_store::{RecordStore, contract};

fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings {
        sync: Sync::Normal,
        ..Settings::new(folder.path())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::records(Arc::new(SqliteStore::open(settings(&folder)).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract_with_one_open_file_and_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        open_files: 1,
        writers: 1,
        idle_readers: 0,
        page_size: 512,
        ..settings(&folder)
    };
    contract::records(Arc::new(SqliteStore::open(settings).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_come_and_go_while_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(
        SqliteStore::open(Settings {
            open_files: 2,
            ..settings(&folder)
        })
        .unwrap(),
    );
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
}
