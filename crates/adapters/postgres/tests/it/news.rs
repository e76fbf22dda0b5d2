//! News of records that were sequenced, between stores over one database.

use futures_util::FutureExt;
use personium_postgres::PostgresSettings;
use personium_store::{Batch, Key, RecordStore};
use personium_testkit::wait_until;

use crate::database::{Database, counted, new_space, open};

fn sequenced() -> Batch {
    let mut batch = Batch::new();
    batch.put_sequenced(Key::table(b's').build(), "x");
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_stores_hear_where_records_were_sequenced() {
    let database = Database::new().await;
    let (one, other) = (database.store(), database.store());
    assert!(!one.has_news());
    // What was sequenced before is unknown to whoever begins to listen.
    assert_eq!(one.next_sequenced().await, None);
    assert_eq!(other.next_sequenced().await, None);
    assert!(one.has_news());
    let (of_one, of_other) = (new_space(), new_space());
    one.commit(&of_one, counted(1)).await.unwrap();
    one.commit(&of_one, sequenced()).await.unwrap();
    assert_eq!(other.next_sequenced().await, Some(of_one));
    other.commit(&of_other, sequenced()).await.unwrap();
    // Not its own.
    assert_eq!(one.next_sequenced().await, Some(of_other));
    database.sql("NOTIFY personium, 'garbage'; NOTIFY personium");
    for _ in 0..50 {
        one.commit(&of_one, sequenced()).await.unwrap();
    }
    assert_eq!(other.next_sequenced().await, Some(of_one));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_listens_is_made_again_and_what_was_missed_is_said() {
    let database = Database::new().await;
    let (one, other) = (database.store(), database.store());
    assert_eq!(other.next_sequenced().await, None);
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    wait_until("the loss is noticed", async || !other.has_news()).await;
    let space = new_space();
    one.commit(&space, sequenced()).await.unwrap();
    assert_eq!(other.next_sequenced().await, None);
    assert!(other.has_news());
    one.commit(&space, sequenced()).await.unwrap();
    assert_eq!(other.next_sequenced().await, Some(space));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_behind_a_pooler_neither_listens_nor_tells() {
    let database = Database::new().await;
    let pooled = open(&PostgresSettings {
        prepared_statements: false,
        ..database.settings()
    });
    let direct = database.store();
    assert_eq!(direct.next_sequenced().await, None);
    pooled.commit(&new_space(), sequenced()).await.unwrap();
    assert_eq!(pooled.next_sequenced().now_or_never(), None);
    assert!(!pooled.has_news());
    let space = new_space();
    let third = database.store();
    third.commit(&space, sequenced()).await.unwrap();
    assert_eq!(direct.next_sequenced().await, Some(space));
}
