//! What happens to the files: opening, closing, dropping, foreign and damaged ones.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::sync::Arc;

use personium_sqlite::{Settings, SqliteStore, Sync};
use personium_store::{Batch, Direction, Expect, Key, KeyRange, RecordStore, Space, StoreError};
use personium_types::CellId;

fn key(n: u64) -> Key {
    Key::table(b'k').u64(n).build()
}

fn put(n: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(n), vec![b'v'; 500]);
    batch
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(Settings {
        sync: Sync::Normal,
        ..Settings::new(folder.path())
    })
    .unwrap()
}

fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    fn walk(folder: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found)
            } else {
                found.push(path)
            }
        }
    }
    let mut found = Vec::new();
    walk(folder.path(), &mut found);
    found.retain(|path| path.file_name().unwrap() != "lock");
    found.sort();
    found
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random());
    let store = open(&folder);
    let mut last = 0;
    for n in 0..20 {
        last = store.commit(&space, put(n)).await.unwrap();
    }
    store.close().await.unwrap();
    assert!(matches!(
        store.get(&space, &[key(1)]).await,
        Err(StoreError::Down(_))
    ));
    assert!(matches!(
        store.commit(&space, put(1)).await,
        Err(StoreError::Down(_))
    ));
    let names: Vec<_> = files(&folder);
    assert_eq!(names.len(), 1, "logs are moved into the file: {names:?}");

    let store = open(&folder);
    let found = store.get(&space, &[key(0), key(19)]).await.unwrap();
    assert!(found[0].is_some());
    assert_eq!(found[1].as_ref().unwrap().version, last);
    let mut batch = put(19);
    batch.assert(key(19), Expect::Version(last));
    assert_eq!(
        store.commit(&space, batch).await.unwrap(),
        last + 1,
        "stamps go on"
    );
}

#[tokio::test]
async fn reading_makes_no_file_and_dropping_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random());
    let store = open(&folder);
    store.get(&space, &[key(1)]).await.unwrap();
    store
        .drop_space(&Space::Cell(CellId::random()))
        .await
        .unwrap();
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    store.commit(&space, put(1)).await.unwrap();
    assert_ne!(files(&folder), Vec::<PathBuf>::new());
    store.drop_space(&space).await.unwrap();
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    let late = store.commit(&space, put(1)).await;
    assert!(matches!(late, Err(StoreError::Gone)));
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    assert!(matches!(
        SqliteStore::open(Settings::new(folder.path())),
        Err(StoreError::Busy(_))
    ));
    store.close().await.unwrap();
    open(&folder);
}

#[tokio::test]
async fn foreign_newer_and_damaged_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unit.db");
    let error = |folder: &tempfile::TempDir| {
        let store = open(folder);
        async move {
            let read = store.get(&Space::Unit, &[key(1)]).await.unwrap_err();
            let written = store.commit(&Space::Unit, put(1)).await.unwrap_err();
            assert_eq!(read.to_string(), written.to_string());
            read
        }
    };
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(db);
    assert!(
        matches!(error(&folder).await, StoreError::Corrupt(text) if text.contains("not a file of this engine"))
    );

    std::fs::remove_file(&path).unwrap();
    let store = open(&folder);
    store.commit(&Space::Unit, put(1)).await.unwrap();
    store.close().await.unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    assert!(matches!(error(&folder).await, StoreError::Down(text) if text.contains("format 99")));

    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(error(&folder).await, StoreError::Corrupt(_)));
}

#[tokio::test]
async fn a_log_without_its_file_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.commit(&Space::Unit, put(1)).await.unwrap();
    let wal = folder.path().join("unit.db-wal");
    let log = std::fs::read(&wal).unwrap();
    assert!(!log.is_empty());
    store.drop_space(&Space::Unit).await.unwrap();
    store.close().await.unwrap();
    std::fs::write(&wal, log).unwrap();
    let store = open(&folder);
    store.commit(&Space::Unit, put(2)).await.unwrap();
    let found = store.get(&Space::Unit, &[key(1), key(2)]).await.unwrap();
    assert!(found[0].is_none() && found[1].is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(&Space::Unit, put(n)).await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    let mut acknowledged = 0;
    for task in tasks {
        acknowledged += u64::from(task.await.unwrap());
    }
    let all = KeyRange {
        start: Key::from_bytes(Vec::new()),
        end: None,
    };
    let store = open(&folder);
    assert_eq!(store.count(&Space::Unit, &all).await.unwrap(), acknowledged);
    assert_eq!(
        store
            .scan(&Space::Unit, &all, Direction::Up, 1000)
            .await
            .unwrap()
            .len() as u64,
        acknowledged
    );
}
