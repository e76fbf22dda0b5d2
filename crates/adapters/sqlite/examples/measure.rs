//! Measures the engine beside a bare loop of SQLite that writes the same records: `measure FOLDER PAGE_SIZE...`.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool for the developer"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use personium_sqlite::{CommitSync, SqliteSettings, SqliteStore};
use personium_store::contract::SplitMix64;
use personium_store::{Batch, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_types::{CellId, SystemRandom};

const MEASURED_TIME: Duration = Duration::from_secs(2);

/// Returns the records that the creation of an entity writes: one of 0.9 KB and four index keys.
fn records(random: &mut SplitMix64) -> Vec<(Key, Vec<u8>)> {
    let id = (random.below(u64::MAX), random.below(u64::MAX));
    let mut out = vec![(
        Key::table(b'e').u64(id.0).u64(id.1).build(),
        vec![b'v'; 900],
    )];
    for index in 0..4 {
        out.push((
            Key::table(b'i')
                .u64(index)
                .u64(random.below(100))
                .u64(id.0)
                .u64(id.1)
                .build(),
            Vec::new(),
        ));
    }
    out
}

fn bare_loop(folder: &Path, group: usize, page_size: u32) -> f64 {
    let path = folder.join(format!("bare-{group}-{page_size}.db"));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "page_size", page_size).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch("CREATE TABLE r (k BLOB PRIMARY KEY, n INTEGER NOT NULL, v BLOB NOT NULL) STRICT, WITHOUT ROWID")
        .unwrap();
    let mut random = SplitMix64::new(1);
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < MEASURED_TIME {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..group {
            let mut put = db
                .prepare_cached("INSERT OR REPLACE INTO r VALUES (?1, ?2, ?3)")
                .unwrap();
            for (key, value) in records(&mut random) {
                put.execute(rusqlite::params![key.as_bytes(), 1, value])
                    .unwrap();
            }
        }
        db.execute_batch("COMMIT").unwrap();
        done += group;
    }
    done as f64 / start.elapsed().as_secs_f64()
}

async fn engine(store: &Arc<SqliteStore>, committers: u64, cells: u64) -> f64 {
    let spaces: Vec<Space> = (0..cells)
        .map(|_| Space::Cell(CellId::random(&SystemRandom::new())))
        .collect();
    for space in &spaces {
        store.commit(space, Batch::new()).await.unwrap();
    }
    let done = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..committers)
        .map(|n| {
            let (store, done, spaces) = (Arc::clone(store), Arc::clone(&done), spaces.clone());
            tokio::spawn(async move {
                let mut random = SplitMix64::new(n);
                while start.elapsed() < MEASURED_TIME {
                    let mut batch = Batch::new();
                    for (key, value) in records(&mut random) {
                        batch.put(key, value);
                    }
                    let space = &spaces[usize::try_from(random.below(cells)).unwrap()];
                    store.commit(space, batch).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

async fn reads(store: &Arc<SqliteStore>, size: usize) -> (f64, f64) {
    let space = Space::Cell(CellId::random(&SystemRandom::new()));
    let key = |n: u64| Key::table(b'e').u64(n).build();
    for chunk in 0..100u64 {
        let mut batch = Batch::new();
        for n in 0..1000u64 {
            batch.put(
                key((chunk * 1000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                vec![b'v'; size],
            );
        }
        store.commit(&space, batch).await.unwrap();
    }
    let mut random = SplitMix64::new(3);
    let start = Instant::now();
    for _ in 0..100_000 {
        let n = random.below(100_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(store.get(&space, &[key(n)]).await.unwrap().value[0].is_some());
    }
    let get = start.elapsed().as_secs_f64() * 10.0;
    let start = Instant::now();
    for _ in 0..10_000 {
        let range = KeyRange {
            start: key(random.below(u64::MAX / 2)),
            end: None,
        };
        assert_eq!(
            store
                .scan(&space, &range, Direction::Up, Limit::records(25))
                .await
                .unwrap()
                .value
                .len(),
            25
        );
    }
    (get, start.elapsed().as_secs_f64() * 100.0)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let root = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let sizes = std::env::args()
        .skip(2)
        .map(|size| size.parse().expect("a page size"));
    for page_size in sizes {
        let folder = tempfile::tempdir_in(&root).unwrap();
        let settings = SqliteSettings {
            page_size,
            ..SqliteSettings::new(folder.path())
        };
        println!("page size {page_size}");
        for group in [1, 16, 64] {
            println!(
                "  bare loop, groups of {group}: {:.0} commits/s",
                bare_loop(folder.path(), group, page_size)
            );
        }
        let store = Arc::new(SqliteStore::open(settings.clone()).unwrap());
        for (committers, cells) in [(1, 1), (16, 1), (64, 1), (16, 100)] {
            let rate = engine(&store, committers, cells).await;
            println!("  engine, {committers} committers, {cells} cells: {rate:.0} commits/s");
        }
        for size in [200, 900, 2000] {
            let (get, scan) = reads(&store, size).await;
            println!("  {size} bytes: get {get:.1} µs, scan of 25 {scan:.1} µs");
        }
        store.close().await.unwrap();
        let normal = SqliteSettings {
            sync: CommitSync::Normal,
            folder: folder.path().join("normal"),
            ..settings
        };
        let store = Arc::new(SqliteStore::open(normal).unwrap());
        println!(
            "  engine, normal, 64 committers, 1 cell: {:.0} commits/s",
            engine(&store, 64, 1).await
        );
    }
}
