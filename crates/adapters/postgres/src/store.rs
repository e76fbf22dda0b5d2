//! The record store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Key, KeyRange, Limit, Record, RecordSnapshot,
    RecordStore, Result, Snapshot, Space, StoreError, StructureVersion, check_sizes,
};
use personium_types::Random;
use tokio::sync::Semaphore;

use crate::connections::Connections;
use crate::error::FailureKind;
use crate::news::News;
use crate::read::{self, ReadPlace, bounds, column};
use crate::read_queue::ReadQueue;
use crate::schema::{self, SchemaError};
use crate::server_facts::{self, ServerFacts};
use crate::settings::PostgresSettings;
use crate::snapshot::PostgresSnapshot;
use crate::write_queue::WriteQueues;
use crate::writer::Writer;
use crate::{space_key, statement};

/// The number of records of a dropped space that one statement removes.
const DROP_PAGE: i64 = 1_000;

/// A store of records in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    connections: Arc<Connections>,
    reads: Arc<ReadQueue>,
    writer: Arc<Writer>,
    news: Arc<News>,
    is_closed: AtomicBool,
}

impl PostgresStore {
    /// Makes the store. Connections are made when they are needed; [`check_schema`](Self::check_schema) makes the first.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] if the settings cannot be used.
    pub fn new(settings: &PostgresSettings, random: Arc<dyn Random>) -> Result<Self> {
        let connections = Arc::new(Connections::new(settings)?);
        let size = settings.pool_size.max(2);
        let news = Arc::new(News::new(&connections, settings, &*random));
        let writer = Writer {
            connections: Arc::clone(&connections),
            health: Arc::clone(&settings.health),
            random,
            news: Arc::clone(&news),
            queues: WriteQueues::default(),
            transactions: Semaphore::new(size - size.div_ceil(4)),
        };
        let reads = ReadQueue::new(&connections, &settings.health, size);
        Ok(Self {
            connections,
            reads: Arc::new(reads),
            writer: Arc::new(writer),
            news,
            is_closed: AtomicBool::new(false),
        })
    }

    /// Checks that the database answers and has the tables of this version.
    ///
    /// # Errors
    /// [`SchemaError`] if not.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        schema::check(&self.connections).await
    }

    /// Asks the server for its version and time.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn server_facts(&self) -> Result<ServerFacts> {
        server_facts::ask(&self.connections).await
    }

    /// Asks the server for the timeline of its log, which is another one after each restore to a point in time and each promotion of a standby.
    /// Numbers of commits of different timelines may be equal although the commits are not.
    ///
    /// # Errors
    /// If it does not answer, or is no PostgreSQL that has one.
    pub async fn timeline(&self) -> Result<String> {
        server_facts::ask_timeline(&self.connections).await
    }

    /// Makes the tables unless they exist, with this number of parts of the table of records; 0 for none.
    ///
    /// # Errors
    /// [`SchemaError`] if the database refuses, or has tables of a newer version.
    pub async fn create_schema(&self, partitions: u32) -> Result<(), SchemaError> {
        schema::create(&self.connections, partitions).await
    }

    /// Returns the statements by which a database administrator makes role, database, tables and rights.
    #[must_use]
    pub fn administrator_sql(settings: &PostgresSettings, partitions: u32) -> String {
        schema::administrator_sql(&settings.user, &settings.database, partitions)
    }

    fn check_open(&self) -> Result<()> {
        match self.is_closed.load(Ordering::Acquire) {
            true => Err(StoreError::Down(ErrorDetail::new("the store is closed"))),
            false => Ok(()),
        }
    }

    /// Removes the records of a dropped space. Repeating it after an interruption goes on.
    async fn remove_records(&self, space: &Space) -> Result<()> {
        let failed = "failed to remove the records of a dropped space";
        let name = space_key::of(space);
        let all = KeyRange::all();
        let (start, end) = bounds(&all);
        loop {
            let rows = self
                .connections
                .read(&statement::KEYS, &[&name, &start, &end, &DROP_PAGE])
                .await
                .map_err(|failure| failure.into_store_error(failed))?;
            let keys = rows.iter().map(|row| column::<&[u8]>(row, 0));
            let keys = keys.collect::<Result<Vec<&[u8]>>>()?;
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
                return Ok(());
            };
            let removed = self
                .connections
                .read(&statement::DELETE_RANGE, &[&name, first, last])
                .await;
            match removed {
                Err(failure) if failure.kind() != FailureKind::Contention => {
                    return Err(failure.into_store_error(failed));
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl RecordStore for PostgresStore {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        self.check_open()?;
        self.reads.get(space, keys).await
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        self.check_open()?;
        let wanted = (range, order, limit);
        let place = ReadPlace::Pool(&self.connections);
        read::scan(place, &self.writer.health, space, wanted).await
    }

    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        self.check_open()?;
        let begun = PostgresSnapshot::begin(&self.connections, &self.writer.health, space);
        Ok(Box::new(begun.await?))
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        self.check_open()?;
        read::count(&self.connections, space, range).await
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        Ok(self.get(space, &[]).await?.structure)
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        self.check_open()?;
        check_sizes(&batch)?;
        self.writer.commit(space, batch).await
    }

    async fn create_space(&self, space: &Space) -> Result<()> {
        self.check_open()?;
        self.writer.create_space(space).await
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        self.check_open()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut first = after.map(space_key::of).unwrap_or_default();
        if after.is_some() {
            first.push(0);
        }
        let rows = self
            .connections
            .read(&statement::LIST, &[&first, &limit])
            .await
            .map_err(|failure| failure.into_store_error("failed to list the spaces"))?;
        let names = rows.iter().map(|row| column::<&[u8]>(row, 0));
        let spaces = names.map(|name| {
            let unknown = || crate::error::corrupt("the name of a space is unknown");
            space_key::parse(name?).ok_or_else(unknown)
        });
        spaces.collect()
    }

    async fn next_sequenced(&self) -> Option<Space> {
        self.news.next().await
    }

    fn has_news(&self) -> bool {
        self.news.is_listening()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        self.writer.health.is_full()
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        self.check_open()?;
        self.writer.mark_dropped(space).await?;
        self.writer.health.forget(space);
        self.remove_records(space).await
    }

    async fn check(&self) -> Result<()> {
        self.structure(&Space::Unit).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        self.is_closed.store(true, Ordering::Release);
        self.writer.queues.wait_until_empty().await;
        self.connections.close();
        Ok(())
    }
}
