//! What happens to the files: opening, closing, dropping, foreign and damaged ones.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::sync::Arc;

use personium_sqlite::{Settings, SqliteStore, Sync};
use personium_store::{
    Batch, Direction, Expect, Key, KeyRange, Limit, RecordStore, Space, StoreError,
};
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

const READ_BY_OTHERS: &str = "PERSONIUM_TEST_READ_BY_OTHERS";

/// What the other program ends with if the file is locked.
const LOCKED: i32 = 3;

/// Another program that looks into a file.
#[test]
fn other_program() {
    let Ok(path) = std::env::var(READ_BY_OTHERS) else {
        return;
    };
    let db = rusqlite::Connection::open(path).unwrap();
    db.busy_timeout(std::time::Duration::ZERO).unwrap();
    let read = db.query_row("SELECT count(*) FROM record", [], |row| {
        row.get::<_, u64>(0)
    });
    match read {
        Ok(count) => assert_eq!(count, 1),
        Err(error) => {
            let code = error.sqlite_error_code();
            assert_eq!(code, Some(rusqlite::ErrorCode::DatabaseBusy), "{error}");
            std::process::exit(LOCKED);
        }
    }
}

#[tokio::test]
async fn other_programs_read_a_file_only_when_it_is_not_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unit.db");
    let by_others = || {
        let mut other = std::process::Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "other_program"]);
        other.env(READ_BY_OTHERS, &path).output().unwrap().status
    };
    let store = open(&folder);
    store.commit(&Space::Unit, put(1)).await.unwrap();
    assert_eq!(by_others().code(), Some(LOCKED));
    let found = store.get(&Space::Unit, &[key(1)]).await.unwrap();
    assert!(found[0].is_some(), "whoever tried does not disturb");
    store.close().await.unwrap();
    assert!(by_others().success());
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random());
    let store = open(&folder);
    store.commit(&space, put(1)).await.unwrap();
    store.close().await.unwrap();
    let (cells, aside) = (folder.path().join("cells"), folder.path().join("aside"));
    let shelf = std::fs::read_dir(&cells).unwrap().next().unwrap().unwrap();
    std::fs::rename(shelf.path(), &aside).unwrap();
    // To look behind a link to itself is an error, and not that nothing is there.
    std::os::unix::fs::symlink(shelf.path(), shelf.path()).unwrap();
    let store = open(&folder);
    assert!(store.get(&space, &[key(1)]).await.is_err());
    assert!(store.commit(&space, put(2)).await.is_err());
    store.close().await.unwrap();
    std::fs::remove_file(shelf.path()).unwrap();
    std::fs::rename(&aside, shelf.path()).unwrap();
    let found = open(&folder).get(&space, &[key(1), key(2)]).await.unwrap();
    assert!(found[0].is_some() && found[1].is_none());
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
            .scan(&Space::Unit, &all, Direction::Up, Limit::records(1000))
            .await
            .unwrap()
            .len() as u64,
        acknowledged
    );
}

/// Makes a file as programs before format 2 did, with a short and a long value.
fn make_format_1(path: &std::path::Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x5072736d; PRAGMA user_version = 1;
         CREATE TABLE record (key BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL)
             STRICT, WITHOUT ROWID;
         CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), stamp INTEGER NOT NULL) STRICT;
         INSERT INTO state (id, stamp) VALUES (1, 7);",
    )
    .unwrap();
    for (n, size) in [(1, 10), (2, 3000), (3, 3000)] {
        let mut row = db
            .prepare("INSERT INTO record VALUES (?1, ?2, ?3)")
            .unwrap();
        row.execute((key(n).as_bytes(), 7, vec![b'o'; size]))
            .unwrap();
    }
}

/// The lengths of all bodies of the unit's file, each of which must belong to a record.
fn bodies(folder: &tempfile::TempDir) -> Vec<i64> {
    let db = rusqlite::Connection::open(folder.path().join("unit.db")).unwrap();
    let one = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(one("PRAGMA user_version"), 2);
    assert_eq!(
        one("SELECT count(*) FROM body"),
        one("SELECT count(*) FROM record JOIN body ON body.id = record.body"),
    );
    assert_eq!(
        one("SELECT count(*) FROM record WHERE body IS NOT NULL AND value <> x''"),
        0
    );
    let mut sizes = db
        .prepare("SELECT length(value) FROM body ORDER BY 1")
        .unwrap();
    sizes
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Length and version of each record of the unit's file.
async fn sizes(store: &SqliteStore) -> Vec<(usize, personium_store::Stamp)> {
    let all = KeyRange::prefix(&Key::table(b'k').build());
    let found = store
        .scan(&Space::Unit, &all, Direction::Up, Limit::records(9))
        .await;
    let size = |(_, r): (Key, personium_store::Record)| (r.value.len(), r.version);
    found.unwrap().into_iter().map(size).collect()
}

#[tokio::test]
async fn a_file_of_the_first_format_is_kept_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    make_format_1(&folder.path().join("unit.db"));
    let store = open(&folder);
    assert_eq!(sizes(&store).await, [(10, 7), (3000, 7), (3000, 7)]);
    let mut batch = put(2);
    batch.put(key(3), vec![b'n'; 2000]);
    batch.put(key(4), vec![b'n'; 1000]);
    assert_eq!(store.commit(&Space::Unit, batch).await.unwrap(), 8);
    store.close().await.unwrap();

    let store = open(&folder);
    assert_eq!(
        sizes(&store).await,
        [(10, 7), (500, 8), (2000, 8), (1000, 8)]
    );
    store.close().await.unwrap();
    assert_eq!(bodies(&folder), [1000, 2000]);
}

#[tokio::test]
async fn no_body_outlives_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let sizes = [0, 512, 513, 600, 20_000];
    let mut n = 0;
    for before in sizes {
        for after in sizes.map(Some).into_iter().chain([None]) {
            n += 1;
            let mut first = Batch::new();
            first.put(key(n), vec![b'a'; before]);
            store.commit(&Space::Unit, first).await.unwrap();
            let mut second = Batch::new();
            match after {
                Some(size) => second.put(key(n), vec![b'b'; size]),
                None => second.delete(key(n)),
            }
            store.commit(&Space::Unit, second).await.unwrap();
            let found = store.get(&Space::Unit, &[key(n)]).await.unwrap();
            assert_eq!(
                found[0].as_ref().map(|r| r.value.clone()),
                after.map(|size| vec![b'b'; size].into())
            );
        }
    }
    store.close().await.unwrap();
    let expected = [513, 600, 20_000].map(|size| [size; 5]).concat();
    assert_eq!(bodies(&folder), expected);
}

#[tokio::test]
async fn a_missing_body_is_an_error_not_an_empty_value() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let mut batch = Batch::new();
    batch.put(key(1), vec![b'a'; 1000]);
    store.commit(&Space::Unit, batch).await.unwrap();
    store.close().await.unwrap();
    let db = rusqlite::Connection::open(folder.path().join("unit.db")).unwrap();
    assert_eq!(db.execute("DELETE FROM body", []).unwrap(), 1);
    drop(db);

    let store = open(&folder);
    let got = store.get(&Space::Unit, &[key(1)]).await;
    assert!(matches!(got, Err(StoreError::Corrupt(_))), "{got:?}");
    let all = KeyRange::prefix(&Key::table(b'k').build());
    let scanned = store
        .scan(&Space::Unit, &all, Direction::Up, Limit::records(9))
        .await;
    assert!(
        matches!(scanned, Err(StoreError::Corrupt(_))),
        "{scanned:?}"
    );
}
