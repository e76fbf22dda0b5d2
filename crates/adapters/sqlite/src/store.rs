//! The engine: which files are open, and the port.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use lru::LruCache;
use parking_lot::Mutex;
use personium_store::{
    Batch, Direction, Key, KeyRange, Limit, Record, RecordStore, Result, Seal, Space, Stamp,
    StoreError,
};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::closed;
use crate::file::{DbFile, Job, Waiting};
use crate::folder::Folder;
use crate::pool::{Pool, gone};
use crate::{Settings, read};

/// Scans and counts that find up to this many records run on the calling thread; longer ones on a thread of their own.
const SHORT: usize = 512;

/// Bytes that the key and value of a record may have together.
const MAX_RECORD: usize = 256 << 20;

/// Records in SQLite files.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) pool: Pool,
    files: Mutex<Files>,
    /// Spaces that were dropped since the store was opened.
    pub(crate) dropped: Mutex<HashSet<Space>>,
    /// Spaces that are closed to commits for the time being. Only the writer of a file adds its own.
    pub(crate) sealed: Mutex<HashSet<Space>>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Files {
    open: LruCache<Space, Arc<DbFile>>,
    /// Files that are about to be closed. Whoever wants one takes it back, so that a path never has two of them.
    retiring: HashMap<Space, Arc<DbFile>>,
}

impl SqliteStore {
    /// Opens the engine in its folder, which no other process may use.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process uses the folder, [`StoreError::Down`] if the folder cannot be used.
    pub fn open(settings: Settings) -> Result<Self> {
        let folder = Folder::open(&settings)?;
        let files = Files {
            open: LruCache::unbounded(),
            retiring: HashMap::new(),
        };
        let inner = Arc::new(Inner {
            settings,
            folder,
            pool: Pool::default(),
            files: Mutex::new(files),
            dropped: Mutex::default(),
            sealed: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        Pool::start(&inner)?;
        Ok(Self { inner })
    }

    async fn read<T: Send + 'static>(
        &self,
        space: &Space,
        none: T,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = self.inner.file(space)?;
        let inner = Arc::clone(&self.inner);
        let reading =
            tokio::task::spawn_blocking(move || read::read(&file, &inner.settings, none, work));
        reading
            .await
            .map_err(|error| StoreError::Down(error.to_string()))?
    }

    fn read_here<T>(
        &self,
        space: &Space,
        none: T,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        read::read(&*self.inner.file(space)?, &self.inner.settings, none, work)
    }
}

impl Inner {
    /// The file of a space. As long as the caller has it, it is not closed for want of room.
    fn file(&self, space: &Space) -> Result<Arc<DbFile>> {
        let mut files = self.files.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if let Some(file) = files.open.get(space) {
            return Ok(Arc::clone(file));
        }
        let file = files.retiring.remove(space);
        let file = file.unwrap_or_else(|| Arc::new(DbFile::new(*space, self.folder.path(space))));
        files.open.push(*space, Arc::clone(&file));
        let surplus = self.make_room(&mut files);
        drop(files);
        if let Some(surplus) = surplus {
            self.pool.push(&surplus, Job::Retire);
        }
        Ok(file)
    }

    /// Picks the file that was not used longest and that nobody has at the moment, if too many are open.
    fn make_room(&self, files: &mut Files) -> Option<Arc<DbFile>> {
        if files.open.len() <= self.settings.open_files.max(1) {
            return None;
        }
        let (space, _) = files
            .open
            .iter()
            .rev()
            .find(|(_, file)| Arc::strong_count(file) == 1)?;
        let space = *space;
        let file = files.open.pop(&space)?;
        files.retiring.insert(space, Arc::clone(&file));
        Some(file)
    }

    /// Closes a file that was picked by [`Inner::make_room`], unless somebody wants it again.
    pub(crate) fn retire(&self, file: &DbFile) {
        if !self.files.lock().retiring.contains_key(&file.space) {
            return;
        }
        file.close();
        let mut files = self.files.lock();
        if file.is_closed() {
            files.retiring.remove(&file.space);
        }
    }

    fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.pool.stop();
        let mut files = self.files.lock();
        let Files { open, retiring } = &mut *files;
        for file in open.iter().map(|(_, file)| file).chain(retiring.values()) {
            file.close();
        }
        open.clear();
        retiring.clear();
        self.folder.release();
    }
}

#[async_trait]
impl RecordStore for SqliteStore {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        if keys.len() <= SHORT {
            return self.read_here(space, vec![None; keys.len()], |db| read::get(db, keys));
        }
        let keys = keys.to_vec();
        self.read(space, vec![None; keys.len()], move |db| {
            read::get(db, &keys)
        })
        .await
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Vec<(Key, Record)>> {
        let first = Limit {
            records: limit.records.min(SHORT),
            ..limit
        };
        let found = self.read_here(space, Vec::new(), |db| read::scan(db, range, order, first))?;
        if found.len() < first.records || first == limit {
            return Ok(found);
        }
        // All of it anew, so that it comes from one snapshot.
        let range = range.clone();
        self.read(space, Vec::new(), move |db| {
            read::scan(db, &range, order, limit)
        })
        .await
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<u64> {
        let first = SHORT as u64 + 1;
        let found = self.read_here(space, 0, |db| read::count(db, range, first))?;
        if found < first {
            return Ok(found);
        }
        let range = range.clone();
        self.read(space, 0, move |db| read::count(db, &range, u64::MAX))
            .await
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<Stamp> {
        use personium_store::Op;
        let too_large =
            |op: &Op| matches!(op, Op::Put(key, value) if key.len() + value.len() > MAX_RECORD);
        if batch.ops().iter().any(too_large) {
            return Err(StoreError::Down(format!(
                "a record is larger than {MAX_RECORD} bytes"
            )));
        }
        let file = self.inner.file(space)?;
        let (answer, done) = oneshot::channel();
        self.inner
            .pool
            .push(&file, Job::Commit(Waiting { batch, answer }));
        drop(file);
        done.await.map_err(gone)?
    }

    async fn seal(&self, space: &Space, empty: &[KeyRange]) -> Result<Seal> {
        let file = self.inner.file(space)?;
        let (answer, done) = oneshot::channel();
        let job = Job::Seal(empty.to_vec(), answer);
        self.inner.pool.push(&file, job);
        drop(file);
        done.await.map_err(gone)?
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        let file = self.inner.file(space)?;
        let (answer, done) = oneshot::channel();
        self.inner.pool.push(&file, Job::Drop(answer));
        drop(file);
        done.await.map_err(gone)?
    }

    async fn check(&self) -> Result<()> {
        let none = Key::from_bytes(Vec::new());
        self.read_here(&Space::Unit, Vec::new(), |db| read::get(db, &[none]))
            .map(drop)
    }

    async fn close(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let closing = tokio::task::spawn_blocking(move || inner.close());
        closing
            .await
            .map_err(|error| StoreError::Down(error.to_string()))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.inner.close();
    }
}
