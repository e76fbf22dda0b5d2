//! The plans of the statements, with many records.

use personium_store::Space;
use personium_store::{Direction, KeyRange, Limit, RecordStore};
use personium_types::CellId;

use crate::database::{Database, key};

/// With many records, no statement reads a table from its beginning, and the key limits what is read.
#[tokio::test]
async fn keys_are_found_by_the_index() {
    let database = Database::new().await;
    // Written by the statements themselves, before the database has statistics, then counted after it has them.
    let space = Space::Cell(CellId::from_bytes([7; 16]));
    let store = database.store();
    store.create_space(&space).await.unwrap();
    database.sql(
        "INSERT INTO personium.records SELECT '\\x07070707070707070707070707070707', \
         '\\x6b'::bytea || int8send(n), '\\x00', 1, 0 FROM generate_series(1, 50000) n",
    );
    for analyzed in [false, true] {
        if analyzed {
            database.sql("ANALYZE");
        }
        database.sql("SELECT pg_stat_reset()");
        // Checksums of these records are wrong, so only what finds none, or does not look at them, is used.
        store
            .get(&space, &[key(900_000), key(900_001)])
            .await
            .unwrap();
        for order in [Direction::Up, Direction::Down] {
            let none = KeyRange::prefix(&key(900_000));
            store
                .scan(&space, &none, order, Limit::records(10))
                .await
                .unwrap();
        }
        let two = KeyRange {
            start: key(10),
            end: Some(key(12)),
        };
        assert_eq!(store.count(&space, &two).await.unwrap().value, 2);
        let mut batch = crate::database::counted(900_002);
        batch.assert(key(10), personium_store::Expect::Version(1));
        batch.delete(key(900_002));
        batch.assert_empty(KeyRange::prefix(&key(900_000)));
        store.commit(&space, batch).await.unwrap();
    }
    store.close().await.unwrap();
    let scans = || {
        database.sql(
            "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname LIKE 'records%'",
        )
    };
    assert_eq!(scans(), "0");
}
