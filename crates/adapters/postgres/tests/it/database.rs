//! A database of a test.

use std::sync::Arc;
use std::time::Duration;

use personium_postgres::{PostgresHost, PostgresSettings, PostgresStore};
use personium_store::{Batch, Key, RecordStore, Space};
use personium_testkit::PostgresCluster;
use personium_types::{CellId, SystemRandom};

/// The number of parts of the table of records.
pub(crate) const PARTITIONS: u32 = 4;

/// A database with the tables of the store.
pub(crate) struct Database {
    pub(crate) cluster: Arc<PostgresCluster>,
    pub(crate) name: String,
}

impl Database {
    /// A new database on the shared server.
    pub(crate) async fn new() -> Self {
        let cluster = tokio::task::spawn_blocking(PostgresCluster::shared);
        Self::on(cluster.await.unwrap()).await
    }

    /// A new database on this server.
    pub(crate) async fn on(cluster: Arc<PostgresCluster>) -> Self {
        let database = Self::without_tables(cluster);
        let store = database.store();
        store.create_schema(PARTITIONS).await.unwrap();
        store.close().await.unwrap();
        database
    }

    /// A new database without tables.
    pub(crate) fn without_tables(cluster: Arc<PostgresCluster>) -> Self {
        let name = cluster.create_database();
        Self { cluster, name }
    }

    /// The settings of a store, with times that suit a test.
    pub(crate) fn settings(&self) -> PostgresSettings {
        self.settings_at(self.cluster.port())
    }

    /// The settings of a store that calls the server through this port.
    pub(crate) fn settings_at(&self, port: u16) -> PostgresSettings {
        PostgresSettings {
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(20),
            pool_timeout: Duration::from_secs(20),
            ..PostgresSettings::new(host(port), &self.name, self.cluster.user())
        }
    }

    pub(crate) fn store(&self) -> Arc<PostgresStore> {
        open(&self.settings())
    }

    pub(crate) fn sql(&self, statements: &str) -> String {
        self.cluster.sql(&self.name, statements)
    }
}

pub(crate) fn host(port: u16) -> PostgresHost {
    PostgresHost {
        name: "127.0.0.1".to_owned(),
        port,
    }
}

pub(crate) fn open(settings: &PostgresSettings) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::new(settings, Arc::new(SystemRandom::new())).unwrap())
}

pub(crate) fn new_space() -> Space {
    Space::Cell(CellId::random(&SystemRandom::new()))
}

pub(crate) fn key(n: u64) -> Key {
    Key::table(b'k').u64(n).build()
}

pub(crate) fn counter() -> Key {
    Key::table(b'c').build()
}

/// A batch that creates a record and counts it.
pub(crate) fn counted(n: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(n), n.to_le_bytes().to_vec());
    batch.add(counter(), 1);
    batch
}

/// The value of the counter, and the numbers of the records that [`counted`] created.
pub(crate) async fn counted_records(store: &dyn RecordStore, space: &Space) -> (i64, Vec<u64>) {
    use personium_store::{Direction, KeyRange, Limit};

    let range = KeyRange::prefix(&Key::table(b'k').build());
    let found = store
        .scan(space, &range, Direction::Up, Limit::records(1_000_000))
        .await
        .unwrap();
    let numbers = found
        .value
        .iter()
        .map(|(_, record)| u64::from_le_bytes(record.value[..].try_into().unwrap()));
    let count = store.get(space, &[counter()]).await.unwrap().value;
    let count = count[0].as_ref().map_or(0, |record| {
        i64::from_le_bytes(record.value[..].try_into().unwrap())
    });
    (count, numbers.collect())
}
