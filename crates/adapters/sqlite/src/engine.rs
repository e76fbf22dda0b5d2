//! The state that the store shares with its writer threads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lru::LruCache;
use parking_lot::Mutex;
use personium_store::{ErrorDetail, Result, Space, StoreError};

use crate::data_folder::DataFolder;
use crate::error::closed;
use crate::file::DbFile;
use crate::ready_files::ReadyFiles;
use crate::settings::{SpaceCreation, SqliteSettings};
use crate::space_changes::SpaceChanges;
use crate::storage_failure::StorageState;
use crate::verification::Verification;
use crate::write_queue::WriteJob;

/// The state of a store.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: SqliteSettings,
    pub(crate) folder: DataFolder,
    pub(crate) storage: StorageState,
    pub(crate) verification: Verification,
    pub(crate) ready: ReadyFiles,
    pub(crate) changes: SpaceChanges,
    files: Mutex<OpenFiles>,
    /// The spaces that were dropped since the store was opened.
    pub(crate) dropped: Mutex<HashSet<Space>>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct OpenFiles {
    open: LruCache<Space, Arc<DbFile>>,
    /// Files that are about to be closed. A file that is used again moves back, so that a path never has two of them.
    evicting: HashMap<Space, Arc<DbFile>>,
}

impl Engine {
    /// Opens the folder.
    ///
    /// # Errors
    /// As [`DataFolder::open`].
    pub(crate) fn open(settings: SqliteSettings) -> Result<Self> {
        let folder = DataFolder::open(&settings)?;
        let storage = StorageState::start(&settings);
        Ok(Self::new(settings, folder, storage))
    }

    /// Opens an existing folder in which nothing is to be changed.
    ///
    /// # Errors
    /// As [`DataFolder::open_existing`].
    pub(crate) fn open_existing(settings: SqliteSettings) -> Result<Self> {
        let folder = DataFolder::open_existing(&settings)?;
        let storage = StorageState::unchanged(&settings);
        Ok(Self::new(settings, folder, storage))
    }

    fn new(settings: SqliteSettings, folder: DataFolder, storage: StorageState) -> Self {
        Self {
            settings,
            folder,
            storage,
            verification: Verification::default(),
            ready: ReadyFiles::default(),
            changes: SpaceChanges::default(),
            files: Mutex::new(OpenFiles {
                open: LruCache::unbounded(),
                evicting: HashMap::new(),
            }),
            dropped: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Verifies a file before it is first used.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it must not be opened, because its log is damaged.
    pub(crate) fn verify(&self, file: &DbFile) -> Result<()> {
        if file.is_verified.load(Ordering::Acquire) || !matches!(file.path.try_exists(), Ok(true)) {
            return Ok(());
        }
        let whole = file.expect_whole_log(&self.settings);
        whole.map_err(|error| self.reported(file, error))?;
        let health = &self.settings.health;
        self.verification.on_open(&file.space, &file.path, health);
        file.is_verified.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether a space was dropped since the store was opened.
    pub(crate) fn is_dropped(&self, space: &Space) -> bool {
        self.dropped.lock().contains(space)
    }

    /// Whether a file that does not exist is one that was lost.
    pub(crate) fn is_lost(&self, space: &Space) -> bool {
        self.settings.spaces == SpaceCreation::Explicit && !self.is_dropped(space)
    }

    /// Reports a lost file, and returns the error of its reading or changing.
    pub(crate) fn lost(&self, file: &DbFile) -> StoreError {
        let path = file.path.display();
        let text = format!("{path} is missing; restore it from a backup");
        self.reported(file, StoreError::Corrupt(ErrorDetail::new(text)))
    }

    /// Reports the damage of a file if the error says so, and returns the error.
    pub(crate) fn reported(&self, file: &DbFile, error: StoreError) -> StoreError {
        if let StoreError::Corrupt(detail) = &error {
            let cause: &(dyn std::error::Error + 'static) = detail;
            let text = std::iter::successors(Some(cause), |error| error.source());
            let text: Vec<String> = text.map(ToString::to_string).collect();
            let text = text.join(": ");
            if self.settings.health.report_damage(&file.space, &text) {
                tracing::error!(file = %file.path.display(), error = text, "stored data is damaged");
            }
        }
        error
    }

    /// Returns the file of a space. It is not evicted as long as the caller holds it.
    ///
    /// # Errors
    /// [`Down`](personium_store::StoreError::Down) if the store is closed.
    pub(crate) fn file(&self, space: &Space) -> Result<Arc<DbFile>> {
        let mut files = self.files.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if let Some(file) = files.open.get(space) {
            return Ok(Arc::clone(file));
        }
        let file = files.evicting.remove(space);
        let file = file.unwrap_or_else(|| Arc::new(DbFile::new(*space, self.folder.path(space))));
        files.open.push(*space, Arc::clone(&file));
        let evicted = self.pick_eviction(&mut files);
        drop(files);
        if let Some(evicted) = evicted {
            self.ready.push(&evicted, WriteJob::Evict);
        }
        Ok(file)
    }

    /// Picks the least recently used file that is not in use, if too many are open.
    fn pick_eviction(&self, files: &mut OpenFiles) -> Option<Arc<DbFile>> {
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
        files.evicting.insert(space, Arc::clone(&file));
        Some(file)
    }

    /// Closes a file that [`Engine::file`] has picked for eviction, unless it is used again.
    pub(crate) fn evict(&self, file: &DbFile) {
        if !self.files.lock().evicting.contains_key(&file.space) {
            return;
        }
        file.close();
        let mut files = self.files.lock();
        if file.is_closed() {
            files.evicting.remove(&file.space);
        }
    }

    /// Closes the connections of all files, which moves their logs into the files. They are opened again when they are used next.
    pub(crate) fn close_connections(&self) {
        let files = self.files.lock();
        let open = files.open.iter().map(|(_, file)| file);
        let all: Vec<_> = open.chain(files.evicting.values()).cloned().collect();
        drop(files);
        for file in all {
            file.close();
        }
    }

    /// Refuses later calls. Returns `false` if that was done before.
    pub(crate) fn begin_close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Closes all files and unlocks the folder. The writer threads must have ended.
    pub(crate) fn close_files(&self) {
        self.verification.stop();
        let mut files = self.files.lock();
        let OpenFiles { open, evicting } = &mut *files;
        for file in open.iter().map(|(_, file)| file).chain(evicting.values()) {
            file.close();
        }
        open.clear();
        evicting.clear();
        self.folder.unlock();
    }
}
