//! The journal of a space that has no commits any more.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use personium_sqlite::{JournalSettings, SqliteSettings, SqliteStore};
use personium_store::{Batch, JournalPosition, Key, Limit, RecordStore, Space};
use personium_types::Clock;

#[derive(Debug, Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    #[expect(clippy::disallowed_methods, reason = "nothing depends on it")]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

async fn put(store: &SqliteStore, n: u64) {
    let mut batch = Batch::new();
    batch.put(Key::table(b'k').u64(n).build(), "value");
    store.commit(&Space::Unit, batch).await.unwrap();
}

/// The commits in the journal, and the last commit.
async fn journal(store: &SqliteStore) -> (Vec<u64>, u64) {
    let after = JournalPosition::end_of(0);
    let page = store.journal(&Space::Unit, after, Limit::records(100));
    let page = page.await.unwrap().unwrap();
    let commits = page.entries.iter().map(|entry| entry.position.commit());
    (commits.collect(), page.last_commit)
}

#[tokio::test]
async fn journal_of_a_space_without_commits_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock::default());
    let settings = SqliteSettings {
        journal: Some(JournalSettings {
            keep: Duration::from_secs(60),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        }),
        ..SqliteSettings::new(folder.path())
    };
    let store = SqliteStore::open(settings).unwrap();
    for n in 0..3 {
        clock
            .0
            .store(i64::try_from(n).unwrap() * 10_000, Ordering::SeqCst);
        put(&store, n).await;
    }
    clock.0.store(60_000, Ordering::SeqCst);
    store.prune_journal(&Space::Unit).await.unwrap();
    assert_eq!(journal(&store).await, (vec![1, 2, 3], 3));
    clock.0.store(75_000, Ordering::SeqCst);
    store.prune_journal(&Space::Unit).await.unwrap();
    assert_eq!(journal(&store).await, (vec![3], 3));
    clock.0.store(900_000, Ordering::SeqCst);
    store.prune_journal(&Space::Unit).await.unwrap();
    assert_eq!(journal(&store).await, (Vec::new(), 3));
    put(&store, 9).await;
    assert_eq!(journal(&store).await, (vec![4], 4));
    store.close().await.unwrap();
}
