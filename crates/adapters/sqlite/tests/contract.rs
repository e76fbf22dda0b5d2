//! The contract of the port, also with a minimum of open files.

use std::sync::Arc;

use personium_sqlite::{CommitSync, SqliteSettings, SqliteStore};
use personium_store::{RecordStore, contract};

fn settings(folder: &tempfile::TempDir) -> SqliteSettings {
    SqliteSettings {
        sync: CommitSync::Normal,
        ..SqliteSettings::new(folder.path())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::records(Arc::new(SqliteStore::open(settings(&folder)).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_store_keeps_the_contract_with_one_open_file_and_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        open_files: 1,
        writers: 1,
        idle_readers: 0,
        page_size: 512,
        ..settings(&folder)
    };
    contract::records(Arc::new(SqliteStore::open(settings).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_store_whose_caller_syncs_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        sync: CommitSync::ByCaller,
        ..settings(&folder)
    };
    contract::records(Arc::new(SqliteStore::open(settings).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_are_evicted_and_reopened_during_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(
        SqliteStore::open(SqliteSettings {
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
