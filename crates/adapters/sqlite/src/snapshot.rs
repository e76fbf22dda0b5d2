//! A snapshot of a file: a connection of its own with a read transaction.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use personium_store::{
    CommitSeq, Direction, Key, KeyRange, Limit, RangeState, Record, RecordSnapshot, Result,
    StoreError,
};
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use crate::engine::Engine;
use crate::error::{panicked, sqlite_error};
use crate::file::DbFile;
use crate::{read, sql};

/// The records of a file as they were at one time. The file is not evicted meanwhile; the log grows until the snapshot is dropped.
pub(crate) struct SqliteSnapshot {
    engine: Arc<Engine>,
    file: Arc<DbFile>,
    /// `None`: there is no file, since nothing was ever put into the space.
    db: Option<Arc<Mutex<Connection>>>,
    last_commit: CommitSeq,
}

impl SqliteSnapshot {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// As a read.
    pub(crate) fn begin(engine: Arc<Engine>, file: Arc<DbFile>) -> Result<Self> {
        let shared = file.connections_lock.read();
        engine.verify(&file)?;
        let opened = file.open_reader();
        let reader = opened.map_err(|error| engine.reported(&file, error))?;
        if reader.is_none() {
            read::check_absence(&engine, &file)?;
        }
        let db = reader.map(|reader| reader.db);
        let begun = db.as_ref().map(|db| -> rusqlite::Result<CommitSeq> {
            db.execute_batch(sql::BEGIN_READ)?;
            db.query_row(sql::STATE, [], |row| row.get(0))
        });
        let last_commit = begun.transpose().map_err(|error| {
            let text = format!("failed to read from {}", file.path.display());
            engine.reported(&file, sqlite_error(text, error))
        })?;
        drop(shared);
        Ok(Self {
            engine,
            file,
            db: db.map(|db| Arc::new(Mutex::new(db))),
            last_commit: last_commit.unwrap_or(0),
        })
    }
}

impl SqliteSnapshot {
    /// Runs a query on a blocking thread. `None` if there is no file.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let Some(db) = self.db.clone() else {
            return Ok(None);
        };
        let found = spawn_blocking(move || query(&db.lock()));
        let found = found.await.map_err(panicked)?;
        self.engine.verification.check(&self.file.space)?;
        let found = found.map_err(|error| -> StoreError {
            let text = format!("failed to read from {}", self.file.path.display());
            self.engine.reported(&self.file, sqlite_error(text, error))
        });
        found.map(Some)
    }
}

#[async_trait]
impl RecordSnapshot for SqliteSnapshot {
    fn last_commit(&self) -> CommitSeq {
        self.last_commit
    }

    async fn scan(&mut self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>> {
        let range = range.clone();
        let found = self.read(move |db| read::scan(db, &range, Direction::Up, limit));
        Ok(found.await?.unwrap_or_default())
    }

    async fn state(&mut self, range: &KeyRange) -> Result<Option<RangeState>> {
        let range = range.clone();
        let found = self.read(move |db| read::range_state(db, &range)).await?;
        Ok(Some(found.unwrap_or_default()))
    }
}
