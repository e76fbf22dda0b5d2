//! The database files: opened, closed, dropped, of other programs and damaged.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use personium_sqlite::{CommitSync, SqliteSettings, SqliteStore};
use personium_store::{
    Batch, Direction, Expect, Key, KeyRange, Limit, RecordStore, Space, StoreError,
};
use personium_types::{CellId, SystemRandom};

fn key(n: u64) -> Key {
    Key::table(b'k').u64(n).build()
}

fn put(n: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(n), vec![b'v'; 500]);
    batch
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(SqliteSettings {
        sync: CommitSync::Normal,
        ..SqliteSettings::new(folder.path())
    })
    .unwrap()
}

fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    fn collect(folder: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found)
            } else {
                found.push(path)
            }
        }
    }
    let mut found = Vec::new();
    collect(folder.path(), &mut found);
    found.retain(|path| path.file_name().unwrap() != "lock");
    found.sort();
    found
}

#[tokio::test]
async fn committed_records_are_found_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
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
    assert_eq!(names.len(), 1, "the log is moved into the file: {names:?}");

    let store = open(&folder);
    let found = store.get(&space, &[key(0), key(19)]).await.unwrap().value;
    assert!(found[0].is_some());
    assert_eq!(found[1].as_ref().unwrap().version, last);
    let mut batch = put(19);
    batch.assert(key(19), Expect::Version(last));
    assert_eq!(
        store.commit(&space, batch).await.unwrap(),
        last + 1,
        "the sequence continues"
    );
}

#[tokio::test]
async fn read_creates_no_file_and_drop_removes_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
    let store = open(&folder);
    store.get(&space, &[key(1)]).await.unwrap();
    store
        .drop_space(&Space::Cell(CellId::random(&SystemRandom::new())))
        .await
        .unwrap();
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    store.commit(&space, put(1)).await.unwrap();
    assert_ne!(files(&folder), Vec::<PathBuf>::new());
    store.drop_space(&space).await.unwrap();
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    let late = store.commit(&space, put(1)).await;
    assert!(matches!(late, Err(StoreError::SpaceDropped)));
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn second_store_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    assert!(matches!(
        SqliteStore::open(SqliteSettings::new(folder.path())),
        Err(StoreError::Busy(_))
    ));
    store.close().await.unwrap();
    open(&folder);
}

const OTHER_PROGRAM_PATH: &str = "PERSONIUM_TEST_OTHER_PROGRAM_PATH";

/// The exit code of the other program if the file is locked.
const LOCKED: i32 = 3;

/// Another program that reads a file.
#[test]
fn other_program() {
    let Ok(path) = std::env::var(OTHER_PROGRAM_PATH) else {
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
async fn other_programs_can_read_a_file_only_while_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unit.db");
    let read_by_other_program = || {
        let mut other = std::process::Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "other_program"]);
        other
            .env(OTHER_PROGRAM_PATH, &path)
            .output()
            .unwrap()
            .status
    };
    let store = open(&folder);
    store.commit(&Space::Unit, put(1)).await.unwrap();
    assert_eq!(read_by_other_program().code(), Some(LOCKED));
    let found = store.get(&Space::Unit, &[key(1)]).await.unwrap().value;
    assert!(found[0].is_some(), "the other program has no effect");
    store.close().await.unwrap();
    assert!(read_by_other_program().success());
}

#[tokio::test]
async fn unreadable_folder_is_an_error_and_not_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
    let store = open(&folder);
    store.commit(&space, put(1)).await.unwrap();
    store.close().await.unwrap();
    let (cells, aside) = (folder.path().join("cells"), folder.path().join("aside"));
    let subfolder = std::fs::read_dir(&cells).unwrap().next().unwrap().unwrap();
    std::fs::rename(subfolder.path(), &aside).unwrap();
    // A path through a link to itself cannot be resolved: that is an error other than "not found".
    std::os::unix::fs::symlink(subfolder.path(), subfolder.path()).unwrap();
    let store = open(&folder);
    assert!(store.get(&space, &[key(1)]).await.is_err());
    assert!(store.commit(&space, put(2)).await.is_err());
    store.close().await.unwrap();
    std::fs::remove_file(subfolder.path()).unwrap();
    std::fs::rename(&aside, subfolder.path()).unwrap();
    let found = open(&folder)
        .get(&space, &[key(1), key(2)])
        .await
        .unwrap()
        .value;
    assert!(found[0].is_some() && found[1].is_none());
}

#[tokio::test]
async fn error_names_a_foreign_newer_or_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unit.db");
    let error = |folder: &tempfile::TempDir| {
        let store = open(folder);
        async move {
            let read = store.get(&Space::Unit, &[key(1)]).await.unwrap_err();
            let written = store.commit(&Space::Unit, put(1)).await.unwrap_err();
            assert_eq!(read.to_string(), written.to_string());
            assert!(read.to_string().contains("unit.db"), "{read}");
            read
        }
    };
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(db);
    assert!(
        matches!(error(&folder).await, StoreError::Corrupt(detail) if detail.to_string().contains("not a file of this engine"))
    );

    std::fs::remove_file(&path).unwrap();
    let store = open(&folder);
    store.commit(&Space::Unit, put(1)).await.unwrap();
    store.close().await.unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    assert!(
        matches!(error(&folder).await, StoreError::Unsupported(detail) if detail.to_string().contains("format 99"))
    );

    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(error(&folder).await, StoreError::Corrupt(_)));
}

#[tokio::test]
async fn log_of_a_dropped_file_is_not_replayed() {
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
    let found = store
        .get(&Space::Unit, &[key(1), key(2)])
        .await
        .unwrap()
        .value;
    assert!(found[0].is_none() && found[1].is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_finishes_queued_commits() {
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
    let all = KeyRange::all();
    let store = open(&folder);
    assert_eq!(
        store.count(&Space::Unit, &all).await.unwrap().value,
        acknowledged
    );
    assert_eq!(
        store
            .scan(&Space::Unit, &all, Direction::Up, Limit::records(1000))
            .await
            .unwrap()
            .value
            .len() as u64,
        acknowledged
    );
}

/// Creates a file of format 1 with a short value and two long ones.
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

/// Returns the lengths of all bodies in the file of the unit, and checks that each belongs to a record.
fn bodies(folder: &tempfile::TempDir) -> Vec<i64> {
    let db = rusqlite::Connection::open(folder.path().join("unit.db")).unwrap();
    let one = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(one("PRAGMA user_version"), 4);
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

/// Returns length and version of each record of the unit.
async fn sizes(store: &SqliteStore) -> Vec<(usize, personium_store::CommitSeq)> {
    let all = KeyRange::prefix(&Key::table(b'k').build());
    let found = store
        .scan(&Space::Unit, &all, Direction::Up, Limit::records(9))
        .await;
    let size = |(_, r): (Key, personium_store::Record)| (r.value.len(), r.version);
    found.unwrap().value.into_iter().map(size).collect()
}

#[tokio::test]
async fn file_of_format_1_is_upgraded() {
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

/// Turns the closed file of the unit into one of format 3.
fn make_format_3(folder: &tempfile::TempDir) {
    let db = rusqlite::Connection::open(folder.path().join("unit.db")).unwrap();
    db.execute_batch(
        "ALTER TABLE state DROP COLUMN structure; ALTER TABLE state DROP COLUMN sealed;
         PRAGMA user_version = 3;",
    )
    .unwrap();
}

#[tokio::test]
async fn file_of_format_3_is_upgraded_and_keeps_its_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let version = store.commit(&Space::Unit, put(2)).await.unwrap();
    store.close().await.unwrap();
    make_format_3(&folder);

    let store = open(&folder);
    assert_eq!(store.structure(&Space::Unit).await.unwrap(), 0);
    assert_eq!(sizes(&store).await, [(500, version)]);
    let mut change = put(3);
    change.change_structure();
    assert_eq!(
        store.commit(&Space::Unit, change).await.unwrap(),
        version + 1
    );
    store.close().await.unwrap();
    assert_eq!(bodies(&folder), Vec::<i64>::new());
    let store = open(&folder);
    assert_eq!(store.structure(&Space::Unit).await.unwrap(), version + 1);
}

#[tokio::test]
async fn seal_and_structure_version_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let mut batch = put(1);
    batch.change_structure();
    let structure = store.commit(&Space::Unit, batch).await.unwrap();
    let mut batch = put(2);
    batch.seal();
    store.commit(&Space::Unit, batch).await.unwrap();
    store.close().await.unwrap();

    let store = open(&folder);
    let late = store.commit(&Space::Unit, put(3)).await;
    assert!(matches!(late, Err(StoreError::Sealed)), "{late:?}");
    assert_eq!(store.structure(&Space::Unit).await.unwrap(), structure);
    let found = store.get(&Space::Unit, &[key(3)]).await.unwrap();
    assert_eq!((found.value, found.structure), (vec![None], structure));
    let mut batch = put(3);
    batch.unseal();
    store.commit(&Space::Unit, batch).await.unwrap();
    store.close().await.unwrap();

    let store = open(&folder);
    store.commit(&Space::Unit, put(4)).await.unwrap();
    assert_eq!(store.structure(&Space::Unit).await.unwrap(), structure);
}

#[tokio::test]
async fn body_is_removed_with_its_record() {
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
            let found = store.get(&Space::Unit, &[key(n)]).await.unwrap().value;
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
async fn missing_body_is_an_error() {
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

/// Closes the store, changes bytes of the file of the unit, and opens the store again.
async fn reopen_changed(
    folder: &tempfile::TempDir,
    store: SqliteStore,
    change: impl FnOnce(&mut Vec<u8>),
) -> SqliteStore {
    store.close().await.unwrap();
    let path = folder.path().join("unit.db");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    open(folder)
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    let found = bytes.windows(text.len()).position(|part| part == text);
    found.unwrap()
}

#[tokio::test]
async fn changed_value_is_damage_of_its_record_only() {
    for length in [40, 4_000] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let mut batch = Batch::new();
        for n in 0..10_u8 {
            batch.put(key(n.into()), vec![b'a' + n; length]);
        }
        store.commit(&Space::Unit, batch).await.unwrap();
        let store = reopen_changed(&folder, store, |bytes| {
            let at = find(bytes, &[b'd'; 40]);
            bytes[at + 20] ^= 1;
        })
        .await;
        for n in 0..12 {
            let found = store.get(&Space::Unit, &[key(n)]).await;
            match n {
                3 => assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}"),
                _ => assert_eq!(found.unwrap().value[0].is_some(), n < 10, "{n}"),
            }
        }
        let all = KeyRange::prefix(&Key::table(b'k').build());
        let scan = store.scan(&Space::Unit, &all, Direction::Up, Limit::records(99));
        assert!(matches!(scan.await, Err(StoreError::Corrupt(_))));
        // A new value mends the record.
        store.commit(&Space::Unit, put(3)).await.unwrap();
        assert!(store.get(&Space::Unit, &[key(3)]).await.unwrap().value[0].is_some());
    }
}

#[tokio::test]
async fn damage_that_may_hide_records_is_an_error_of_every_search_without_result() {
    for kind in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let mut batch = Batch::new();
        for n in 0..2_000 {
            batch.put(key(n), n.to_string().repeat(9));
        }
        store.commit(&Space::Unit, batch).await.unwrap();
        let store = reopen_changed(&folder, store, |bytes| match kind {
            // The content of a page, its header, and one bit of a key.
            0 => {
                let page = find(bytes, "1234".repeat(9).as_bytes()) / 8192 * 8192;
                bytes[page + 4096..page + 8192].fill(0);
            }
            1 => {
                let page = find(bytes, "1234".repeat(9).as_bytes()) / 8192 * 8192;
                bytes[page..page + 4096].fill(0);
            }
            _ => {
                // Also in copies that moved rows left behind.
                let key = key(1234);
                let at = |n: &usize| bytes[*n..].starts_with(key.as_bytes());
                for n in (0..bytes.len()).filter(at).collect::<Vec<_>>() {
                    bytes[n + key.len() - 1] ^= 0x40;
                }
            }
        })
        .await;
        let mut lost = 0;
        for n in 0..2_000 {
            match store.get(&Space::Unit, &[key(n)]).await {
                Ok(found) => {
                    let value = found.value[0].as_ref().unwrap().value.clone();
                    assert_eq!(value, n.to_string().repeat(9));
                }
                Err(StoreError::Corrupt(_)) => lost += 1,
                Err(other) => panic!("{kind}: {other}"),
            }
        }
        assert!(lost > 0, "{kind}");
        let absent = store.get(&Space::Unit, &[key(9_999)]).await;
        assert!(matches!(absent, Err(StoreError::Corrupt(_))), "{kind}");
        let all = KeyRange::prefix(&Key::table(b'k').build());
        let count = store.count(&Space::Unit, &all).await;
        assert!(matches!(count, Err(StoreError::Corrupt(_))), "{kind}");
        let written = store.commit(&Space::Unit, put(1)).await;
        assert!(matches!(written, Err(StoreError::Corrupt(_))), "{kind}");
    }
}

#[tokio::test]
async fn changed_spaces_are_those_of_commits_since_and_another_process_knows_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let cell = |n: u8| Space::Cell(CellId::from_bytes([n; 16]));
    let since = |store: &SqliteStore, number: u64| {
        let found = store.changed_spaces(Some(number)).unwrap();
        let changed = found.changed.map(|mut changed| {
            changed.sort();
            changed
        });
        (found.number, changed)
    };
    store.commit(&cell(1), put(1)).await.unwrap();
    store.commit(&cell(2), put(1)).await.unwrap();
    let (first, changed) = since(&store, 0);
    assert_eq!(changed, Some(vec![cell(1), cell(2)]));
    assert_eq!(since(&store, first), (first, Some(vec![])));
    // Reading changes nothing; commits, removals and what is refused may.
    store.get(&cell(1), &[key(1)]).await.unwrap();
    store.snapshot(&cell(2)).await.unwrap();
    assert_eq!(since(&store, first), (first, Some(vec![])));
    store.commit(&cell(2), put(2)).await.unwrap();
    let (second, changed) = since(&store, first);
    assert_eq!(changed, Some(vec![cell(2)]));
    store.drop_space(&cell(1)).await.unwrap();
    store.create_space(&cell(3)).await.unwrap();
    let (_, changed) = since(&store, second);
    assert_eq!(changed, Some(vec![cell(1), cell(3)]));
    store.close().await.unwrap();
    drop(store);
    let store = open(&folder);
    assert_eq!(since(&store, second), (0, None));
}

#[tokio::test]
async fn small_space_is_that_of_a_snapshot_and_a_larger_one_is_not_read_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
    let limit = Limit::records(5);
    let none = store.small_space(&space, limit).await.unwrap().unwrap();
    assert_eq!((none.last_commit, none.records.len()), (0, 0));
    for n in 0..6 {
        let last = store.commit(&space, put(n)).await.unwrap();
        let found = store.small_space(&space, limit).await.unwrap();
        let mut snapshot = store.snapshot(&space).await.unwrap();
        let all = snapshot.scan(&KeyRange::all(), Limit::records(100)).await;
        match found {
            Some(small) => assert_eq!((small.last_commit, small.records), (last, all.unwrap())),
            None => assert!(n >= 4),
        }
        // Of 500 bytes each.
        let few = store
            .small_space(&space, limit.or_bytes(700))
            .await
            .unwrap();
        assert_eq!(few.is_some(), n < 1);
    }
    let found = store.small_space(&space, limit).await.unwrap();
    assert_eq!(found, None);
    store.drop_space(&space).await.unwrap();
    let dropped = store.small_space(&space, limit).await;
    assert!(matches!(dropped, Err(StoreError::SpaceDropped)));
}
