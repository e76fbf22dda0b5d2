//! The server is killed again and again while it is written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_postgres::PostgresStore;
use personium_store::{RecordStore, Space, StoreError};
use personium_testkit::PostgresCluster;

use crate::database::{Database, counted, counted_records, new_space};

const ROUNDS: usize = 5;
const SPACES: usize = 3;
const TASKS: u64 = 4;

/// The knowledge of a writer about its commits.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    unknown: Vec<u64>,
}

async fn write(
    store: Arc<PostgresStore>,
    space: Space,
    task: u64,
    stop: Arc<AtomicBool>,
) -> Ledger {
    let mut ledger = Ledger::default();
    let mut number = task << 32;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        match store.commit(&space, counted(number)).await {
            Ok(_) => ledger.acknowledged.push(number),
            Err(StoreError::Down(_)) => ledger.unknown.push(number),
            Err(_) => ledger.refused.push(number),
        }
        if ledger.unknown.last() == Some(&number) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_and_nothing_is_done_twice_when_the_server_is_killed() {
    let cluster = tokio::task::spawn_blocking(PostgresCluster::start);
    let database = Database::on(Arc::new(cluster.await.unwrap())).await;
    let store = database.store();
    let stop = Arc::new(AtomicBool::new(false));
    let spaces: Vec<Space> = (0..SPACES).map(|_| new_space()).collect();
    let mut writers = Vec::new();
    for space in &spaces {
        for task in 0..TASKS {
            let writer = write(Arc::clone(&store), *space, task, Arc::clone(&stop));
            writers.push((*space, tokio::spawn(writer)));
        }
    }
    for _ in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let cluster = Arc::clone(&database.cluster);
        let restarted = tokio::task::spawn_blocking(move || {
            cluster.kill();
            cluster.restart();
        });
        restarted.await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, Ordering::Relaxed);
    let mut ledgers = Vec::new();
    for (space, writer) in writers {
        ledgers.push((space, writer.await.unwrap()));
    }
    let mut acknowledged = 0;
    for (space, ledger) in ledgers {
        let (count, found) = counted_records(&*store, &space).await;
        assert_eq!(count, i64::try_from(found.len()).unwrap(), "each once");
        for number in &ledger.acknowledged {
            assert!(found.contains(number), "{number} was acknowledged");
        }
        for number in &ledger.refused {
            assert!(!found.contains(number), "{number} was refused");
        }
        acknowledged += ledger.acknowledged.len();
    }
    assert!(acknowledged > 100, "{acknowledged}");
}
