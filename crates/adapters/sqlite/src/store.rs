//! The record store.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use personium_store::{
    Batch, ChangedSpaces, CommitSeq, Direction, JournalPage, JournalPosition, Key, KeyRange, Limit,
    Record, RecordSnapshot, RecordStore, Result, SmallSpace, Snapshot, Space, StoreError,
    StructureVersion, check_sizes,
};
use personium_types::CellId;
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::engine::Engine;
use crate::error::{closed, io_error, panicked, sqlite_error};
use crate::settings::SqliteSettings;
use crate::snapshot::SqliteSnapshot;
use crate::verification;
use crate::write_queue::{PendingCommit, WriteJob};
use crate::writer_pool::WriterPool;
use crate::{journal, read};

/// The maximum number of records that are read on the calling thread. Larger reads run on a blocking thread.
const MAX_INLINE_RECORDS: usize = 512;

/// A store of records in SQLite files.
#[derive(Debug)]
pub struct SqliteStore {
    engine: Arc<Engine>,
    writers: Arc<WriterPool>,
}

impl SqliteStore {
    /// Opens the store. Its folder must not be in use by another process.
    ///
    /// # Errors
    /// [`Busy`](personium_store::StoreError::Busy) if another process uses the folder, [`Down`](personium_store::StoreError::Down) if the folder cannot be used.
    pub fn open(settings: SqliteSettings) -> Result<Self> {
        let engine = Arc::new(Engine::open(settings)?);
        let writers = Arc::new(WriterPool::start(&engine)?);
        Ok(Self { engine, writers })
    }

    /// Opens the store in an existing folder, to read from it only. Nothing is created or removed.
    ///
    /// # Errors
    /// [`Busy`](personium_store::StoreError::Busy) if another process uses the folder, [`Down`](personium_store::StoreError::Down) if the folder cannot be used.
    pub fn inspect(settings: SqliteSettings) -> Result<Self> {
        let engine = Arc::new(Engine::open_existing(settings)?);
        let writers = Arc::new(WriterPool::start(&engine)?);
        Ok(Self { engine, writers })
    }

    /// Returns whether the space has a file.
    ///
    /// # Errors
    /// [`Down`](personium_store::StoreError::Down) if the disk does not say so.
    pub fn has_space(&self, space: &Space) -> Result<bool> {
        let path = self.engine.folder.path(space);
        path.try_exists().map_err(|error| {
            let text = format!("failed to check whether {} exists", path.display());
            io_error(text, error)
        })
    }

    /// Returns the path of the file of a space.
    #[must_use]
    pub fn path(&self, space: &Space) -> PathBuf {
        self.engine.folder.path(space)
    }

    /// Closes the connections of all files, which moves their logs into the files. They are opened again when they are used next. It waits for
    /// those that are in use. With [`CommitSync::ByCaller`](crate::CommitSync::ByCaller), what is synced afterwards is complete.
    pub fn close_connections(&self) {
        self.engine.close_connections();
    }

    /// Returns the cells that have a file.
    ///
    /// # Errors
    /// [`Down`](personium_store::StoreError::Down) if the folder cannot be read.
    pub fn list_cells(&self) -> Result<Vec<CellId>> {
        self.engine.folder.list_cells()
    }

    /// Finds out whether the storage is full or has space again. To be called about once a second.
    pub fn maintain(&self) {
        let engine = &self.engine;
        engine
            .storage
            .maintain(&engine.folder, &engine.settings.health);
    }

    /// Runs a query on the calling thread.
    fn read_inline<T>(
        &self,
        space: &Space,
        absent: T,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Snapshot<T>> {
        let file = self.engine.file(space)?;
        read::read(&self.engine, &file, absent, query)
    }

    /// Runs a query on a blocking thread.
    async fn read_blocking<T: Send + 'static>(
        &self,
        space: &Space,
        absent: T,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Snapshot<T>> {
        let file = self.engine.file(space)?;
        let engine = Arc::clone(&self.engine);
        spawn_blocking(move || read::read(&engine, &file, absent, query))
            .await
            .map_err(panicked)?
    }

    /// Queues a job for the writer of a space and waits for its result.
    async fn write<T>(
        &self,
        space: &Space,
        job: impl FnOnce(oneshot::Sender<Result<T>>) -> WriteJob,
    ) -> Result<T> {
        let file = self.engine.file(space)?;
        let (reply, result) = oneshot::channel();
        self.engine.ready.push(&file, job(reply));
        drop(file);
        result.await.map_err(|_| closed())?
    }
}

/// Finishes queued jobs, then closes the files.
fn close(engine: &Engine, writers: &WriterPool) {
    if engine.begin_close() {
        writers.stop(engine);
        engine.close_files();
    }
}

#[async_trait]
impl RecordStore for SqliteStore {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        let absent = vec![None; keys.len()];
        let found = if keys.len() <= MAX_INLINE_RECORDS {
            self.read_inline(space, absent, |db| read::get(db, keys))?
        } else {
            let keys = keys.to_vec();
            self.read_blocking(space, absent, move |db| read::get(db, &keys))
                .await?
        };
        if found.value.contains(&None) {
            self.engine.verification.check(space)?;
        }
        Ok(found)
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        let first = Limit {
            records: limit.records.min(MAX_INLINE_RECORDS),
            ..limit
        };
        let found =
            self.read_inline(space, Vec::new(), |db| read::scan(db, range, order, first))?;
        self.engine.verification.check(space)?;
        if found.value.len() < first.records || first == limit {
            return Ok(found);
        }
        // Read from the start again, so that the result comes from one snapshot.
        let range = range.clone();
        self.read_blocking(space, Vec::new(), move |db| {
            read::scan(db, &range, order, limit)
        })
        .await
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        let first = MAX_INLINE_RECORDS as u64 + 1;
        let found = self.read_inline(space, 0, |db| read::count(db, range, first))?;
        self.engine.verification.check(space)?;
        if found.value < first {
            return Ok(found);
        }
        let range = range.clone();
        self.read_blocking(space, 0, move |db| read::count(db, &range, u64::MAX))
            .await
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        let file = self.engine.file(space)?;
        if let Some(version) = file.known_structure() {
            return Ok(version);
        }
        Ok(read::read(&self.engine, &file, (), |_| Ok(()))?.structure)
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        check_sizes(&batch)?;
        self.write(space, |reply| {
            WriteJob::Commit(PendingCommit { batch, reply })
        })
        .await
    }

    async fn create_space(&self, space: &Space) -> Result<()> {
        self.write(space, WriteJob::Create).await
    }

    fn changed_spaces(&self, since: Option<u64>) -> Option<ChangedSpaces> {
        Some(self.engine.changes.since(since))
    }

    fn is_full(&self) -> bool {
        self.engine.settings.health.is_full()
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        let (engine, after) = (Arc::clone(&self.engine), after.copied());
        spawn_blocking(move || engine.folder.list_spaces(after.as_ref(), limit))
            .await
            .map_err(panicked)?
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        self.write(space, WriteJob::Drop).await
    }

    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        let (engine, file) = (Arc::clone(&self.engine), self.engine.file(space)?);
        let begun = spawn_blocking(move || SqliteSnapshot::begin(engine, file));
        Ok(Box::new(begun.await.map_err(panicked)??))
    }

    async fn small_space(&self, space: &Space, limit: Limit) -> Result<Option<SmallSpace>> {
        let absent = Some(SmallSpace::default());
        let read = move |db: &Connection| read::small_space(db, limit);
        let found = self.read_blocking(space, absent, read).await?;
        self.engine.verification.check(space)?;
        Ok(found.value)
    }

    async fn journal(
        &self,
        space: &Space,
        after: JournalPosition,
        limit: Limit,
    ) -> Result<Option<JournalPage>> {
        if self.engine.settings.journal.is_none() {
            return Ok(None);
        }
        let absent = JournalPage::default();
        let read = move |db: &Connection| journal::read(db, after, limit);
        let found = self.read_blocking(space, absent, read).await?;
        Ok(Some(found.value))
    }

    async fn prune_journal(&self, space: &Space) -> Result<()> {
        let Some(settings) = &self.engine.settings.journal else {
            return Ok(());
        };
        let before_ms = settings.kept_from_ms();
        let is_due = move |db: &Connection| journal::has_entry_before(db, before_ms);
        match self.read_blocking(space, false, is_due).await?.value {
            true => self.write(space, WriteJob::Prune).await,
            false => Ok(()),
        }
    }

    async fn find_damage(&self, space: &Space) -> Result<Option<String>> {
        let (engine, file) = (Arc::clone(&self.engine), self.engine.file(space)?);
        if !self.has_space(space)? {
            return Ok(None);
        }
        let found = spawn_blocking(move || {
            // The file is neither closed nor removed meanwhile.
            let _shared = file.connections_lock.read();
            match file.expect_whole_log(&engine.settings) {
                Err(StoreError::Corrupt(what)) => return Ok(Some(what.to_string())),
                other => other?,
            }
            let what = verification::find_hiding_damage(&file.path)
                .map_err(|error| sqlite_error("failed to verify a file".to_owned(), error))?;
            Ok(what.map(|what| format!("{} is damaged ({what})", file.path.display())))
        });
        found.await.map_err(panicked)?
    }

    async fn check(&self) -> Result<()> {
        let any_key = Key::from_bytes(Vec::new());
        self.read_inline(&Space::Unit, Vec::new(), |db| read::get(db, &[any_key]))
            .map(drop)
    }

    async fn close(&self) -> Result<()> {
        let (engine, writers) = (Arc::clone(&self.engine), Arc::clone(&self.writers));
        spawn_blocking(move || close(&engine, &writers))
            .await
            .map_err(panicked)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        close(&self.engine, &self.writers);
    }
}
