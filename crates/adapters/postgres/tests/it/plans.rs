//! The plans of the statements, with many records.

use personium_store::{Direction, Expect, KeyRange, Limit, RecordStore, Space};
use personium_types::CellId;

use crate::database::{Database, key};

/// The number of records of the large space.
const RECORDS: u64 = 50_000;

/// The statistics of the database about the large space.
#[derive(Debug, Clone, Copy)]
enum Statistics {
    /// Nothing: the tables were never analyzed.
    None,
    /// It has all records.
    Known,
    /// It is one of thousands, which have few records on average.
    OneOfMany,
}

/// With many records, no statement reads a table from its beginning, and the key limits what is read, whatever the statistics say.
#[tokio::test]
async fn keys_are_found_by_the_index() {
    let database = Database::new().await;
    let space = Space::Cell(CellId::from_bytes([7; 16]));
    let store = database.store();
    store.create_space(&space).await.unwrap();
    store.close().await.unwrap();
    database.sql(&format!(
        "INSERT INTO personium.records SELECT '\\x07070707070707070707070707070707', \
         '\\x6b'::bytea || int8send(n), '\\x00', 1, 0 FROM generate_series(1, {RECORDS}) n"
    ));
    for statistics in [Statistics::None, Statistics::Known, Statistics::OneOfMany] {
        match statistics {
            Statistics::None => {}
            Statistics::Known => drop(database.sql("ANALYZE")),
            Statistics::OneOfMany => drop(database.sql(
                "INSERT INTO personium.records SELECT decode(md5(n::text), 'hex'), '\\x6b', '\\x00', 1, 0 \
                 FROM generate_series(1, 5000) n; ANALYZE",
            )),
        }
        let before = reads(&database);
        let store = database.store();
        use_statements(&*store, &space).await;
        // The server counts what a session read when the session ends.
        store.close().await.unwrap();
        let after = ended_reads(&database, before).await;
        assert_eq!(after.by_table, before.by_table, "{statistics:?}");
        let by_index = after.by_index - before.by_index;
        assert!(by_index < 100, "{statistics:?}: {by_index} entries");
    }
}

/// The number of rows of the records that were read one after the other, and by an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reads {
    by_table: u64,
    by_index: u64,
}

fn reads(database: &Database) -> Reads {
    let line = database.sql(
        "SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname LIKE 'records%'), \
         (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname LIKE 'records%')",
    );
    let mut numbers = line.split('|').map(|number| number.parse().unwrap());
    Reads {
        by_table: numbers.next().unwrap(),
        by_index: numbers.next().unwrap(),
    }
}

/// Waits until the sessions of a store have ended and something was counted.
async fn ended_reads(database: &Database, before: Reads) -> Reads {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                    AND backend_type = 'client backend'";
    for _ in 0..3_000 {
        if database.sql(sessions) == "0" {
            let now = reads(database);
            if now != before {
                return now;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nothing was counted");
}

/// Checksums of these records are wrong, so only what finds none, or does not look at them, is used.
async fn use_statements(store: &dyn RecordStore, space: &Space) {
    let missing = [key(900_000), key(900_001)];
    assert_eq!(
        store.get(space, &missing).await.unwrap().value,
        [None, None]
    );
    assert_eq!(store.get(space, &missing[..1]).await.unwrap().value, [None]);
    for order in [Direction::Up, Direction::Down] {
        let none = KeyRange::prefix(&key(900_000));
        store
            .scan(space, &none, order, Limit::records(10))
            .await
            .unwrap();
    }
    let two = KeyRange {
        start: key(10),
        end: Some(key(12)),
    };
    assert_eq!(store.count(space, &two).await.unwrap().value, 2);
    let mut batch = crate::database::counted(900_002);
    batch.assert(key(10), Expect::Version(1));
    batch.assert(key(20_000), Expect::Version(1));
    batch.delete(key(900_002));
    batch.assert_empty(KeyRange::prefix(&key(900_000)));
    store.commit(space, batch).await.unwrap();
}
