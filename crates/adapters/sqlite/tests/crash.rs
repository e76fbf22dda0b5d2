//! Durability and atomicity of commits when the process is killed.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::contract::SplitMix64;
use personium_store::{Batch, Direction, Key, KeyRange, Limit, RecordStore, Space};

const FOLDER: &str = "PERSONIUM_TEST_CRASH_FOLDER";
const WRITERS: u64 = 8;
const PARTS: u64 = 5;

fn part_key(writer: u64, n: u64, part: u64) -> Key {
    Key::table(b't').u64(writer).u64(n).u64(part).build()
}

fn counter() -> Key {
    Key::table(b'c').build()
}

/// The process that is killed. Its writers commit batches and print which were acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let store = Arc::new(SqliteStore::open(SqliteSettings::new(folder)).unwrap());
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let range = KeyRange::prefix(&Key::table(b't').u64(writer).build());
            let first = store.count(&Space::Unit, &range).await.unwrap().value / PARTS;
            for n in first.. {
                let mut batch = Batch::new();
                for part in 0..PARTS {
                    batch.put(part_key(writer, n, part), vec![b'x'; 700]);
                }
                batch.add(counter(), 1);
                store.commit(&Space::Unit, batch).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nack {writer} {n}")
                    .and_then(|()| out.flush())
                    .unwrap();
            }
        });
    }
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
}

#[tokio::test]
async fn acknowledged_batches_survive_a_kill_and_no_batch_is_partial() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = SplitMix64::new(std::process::id().into());
    let mut acknowledged = [0; WRITERS as usize];
    for _ in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kill_after = 20 + random.below(300);
        let mut acks = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ack", writer, n] = words[..] {
                acknowledged[writer.parse::<usize>().unwrap()] = n.parse::<u64>().unwrap() + 1;
                acks += 1;
                if acks == kill_after {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(acks >= kill_after, "the child exited early");
        check(&folder, &acknowledged).await;
    }
}

async fn check(folder: &tempfile::TempDir, acknowledged: &[u64]) {
    let store = SqliteStore::open(SqliteSettings::new(folder.path())).unwrap();
    let mut batches = 0;
    for (writer, acknowledged) in (0..).zip(acknowledged) {
        let range = KeyRange::prefix(&Key::table(b't').u64(writer).build());
        let found = store
            .scan(
                &Space::Unit,
                &range,
                Direction::Up,
                Limit::records(usize::MAX),
            )
            .await
            .unwrap()
            .value;
        let done = found.len() as u64 / PARTS;
        assert!(
            done >= *acknowledged,
            "writer {writer}: {acknowledged} acknowledged, {done} found"
        );
        let expected: Vec<Key> = (0..done)
            .flat_map(|n| (0..PARTS).map(move |p| part_key(writer, n, p)))
            .collect();
        let keys: Vec<Key> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected, "whole batches only");
        batches += done;
    }
    let count = store
        .get(&Space::Unit, &[counter()])
        .await
        .unwrap()
        .value
        .remove(0)
        .unwrap();
    assert_eq!(count.value[..], batches.to_le_bytes());
    store.close().await.unwrap();
}
