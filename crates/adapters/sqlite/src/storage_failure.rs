//! The causes of failed changes: a full storage, a read-only one, or something else. Recovery from a full disk.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use personium_store::{ErrorDetail, StoreError, StoreHealth};
use rusqlite::ErrorCode;

use crate::data_folder::DataFolder;
use crate::error::sqlite_error;
use crate::file::DbFile;
use crate::reserve::{self, Reserve, file_size_limit};
use crate::settings::SqliteSettings;
use crate::storage_limits::FileLimits;

/// The space that must be free for the storage not to be full.
const PROBE_BYTES: u64 = 256 << 10;

/// The longest pause between two attempts to go on after data was removed, in calls of [`StorageState::maintain`].
const MAX_PAUSE: u32 = 64;

/// The state of the storage of a store, and the reserve.
#[derive(Debug)]
pub(crate) struct StorageState {
    reserve: Reserve,
    pub(crate) limits: FileLimits,
    /// The commits since the storage was found to be full.
    commits_while_full: AtomicU64,
    retry: Mutex<Retry>,
}

/// When to try whether removed data has made space that the file system does not show: pages inside of database files.
#[derive(Debug, Default)]
struct Retry {
    pause: u32,
    calls_left: u32,
}

/// The kind of a failure of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Full,
    /// One file cannot grow, others can.
    FileLimit,
    ReadOnly,
    Other,
}

impl StorageState {
    /// Takes the reserve. If there is no space for it, the storage is full.
    pub(crate) fn start(settings: &SqliteSettings) -> Self {
        let path = settings.folder.join("reserve");
        let reserve = Reserve::new(path, settings.reserve_bytes);
        let state = Self::new(reserve, settings);
        let health = &settings.health;
        if let Err(error) = state.reserve.allocate(state.reserve.bytes()) {
            match failure_of(&error) {
                Failure::Full => drop(health.set_full(true)),
                Failure::ReadOnly => drop(health.set_read_only(true)),
                Failure::FileLimit | Failure::Other => {
                    tracing::warn!(%error, "failed to reserve disk space");
                }
            }
        }
        state
    }

    /// The state of a storage in which nothing is to be changed.
    pub(crate) fn unchanged(settings: &SqliteSettings) -> Self {
        Self::new(Reserve::new(settings.folder.join("reserve"), 0), settings)
    }

    fn new(reserve: Reserve, settings: &SqliteSettings) -> Self {
        Self {
            limits: FileLimits::new(reserve.bytes(), settings.page_size),
            reserve,
            commits_while_full: AtomicU64::new(0),
            retry: Mutex::default(),
        }
    }

    /// Notes a commit that was made although the storage is full.
    pub(crate) fn committed_while_full(&self) {
        self.commits_while_full.fetch_add(1, Ordering::Relaxed);
    }

    /// Converts the error of a commit to a file, and gives up the reserve if the storage is full.
    pub(crate) fn commit_failed(
        &self,
        folder: &DataFolder,
        health: &StoreHealth,
        file: &DbFile,
        error: rusqlite::Error,
    ) -> StoreError {
        let operation = format!("failed to commit to {}", file.path.display());
        let failure = match error.sqlite_error_code() {
            Some(code @ (ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
            | Some(code @ (ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
                match probe(folder, PROBE_BYTES) {
                    Err(error) => failure_of(&error),
                    Ok(()) if code == ErrorCode::DiskFull || is_at_limit(file) => {
                        Failure::FileLimit
                    }
                    Ok(()) => Failure::Other,
                }
            }
            _ => Failure::Other,
        };
        self.note(failure, health);
        let detail = |error| ErrorDetail::new(operation.clone()).with_source(error);
        match failure {
            Failure::Full | Failure::FileLimit => StoreError::Full(detail(error)),
            Failure::ReadOnly => StoreError::ReadOnly(detail(error)),
            Failure::Other => sqlite_error(operation, error),
        }
    }

    /// Gives up the reserve if the error of a change says that the storage is full.
    pub(crate) fn change_failed(
        &self,
        folder: &DataFolder,
        health: &StoreHealth,
        error: StoreError,
    ) -> StoreError {
        let failure = match &error {
            StoreError::Full(_) => {
                probe(folder, PROBE_BYTES).map_or_else(|e| failure_of(&e), |()| Failure::FileLimit)
            }
            StoreError::ReadOnly(_) => Failure::ReadOnly,
            _ => Failure::Other,
        };
        self.note(failure, health);
        error
    }

    fn note(&self, failure: Failure, health: &StoreHealth) {
        match failure {
            Failure::Full => self.enter_full(health),
            Failure::ReadOnly => drop(health.set_read_only(true)),
            Failure::FileLimit | Failure::Other => {}
        }
    }

    fn enter_full(&self, health: &StoreHealth) {
        if health.set_full(true) {
            self.commits_while_full.store(0, Ordering::Relaxed);
        }
        if let Err(error) = self.reserve.release() {
            tracing::warn!(%error, "failed to release the reserved disk space");
        }
    }

    /// Finds out whether the storage is full, or has space again. To be called about once a second.
    pub(crate) fn maintain(&self, folder: &DataFolder, health: &StoreHealth) {
        if health.is_full() {
            if self.has_space_again(folder) {
                health.set_full(false);
            }
            return;
        }
        match probe(folder, PROBE_BYTES) {
            Ok(()) => drop(health.set_read_only(false)),
            Err(error) => self.note(failure_of(&error), health),
        }
    }

    /// Takes the reserve again if there is space for it and for new data. After data was removed, half of it is enough.
    fn has_space_again(&self, folder: &DataFolder) -> bool {
        let whole = self.reserve.bytes();
        let takes = |bytes: u64| {
            self.reserve.allocate(bytes).is_ok()
                && probe(folder, PROBE_BYTES.max(whole / 8)).is_ok()
        };
        let mut retry = self.retry.lock();
        if takes(whole) {
            *retry = Retry::default();
            return true;
        }
        if self.commits_while_full.load(Ordering::Relaxed) > 0 {
            if retry.calls_left == 0 {
                retry.pause = (retry.pause * 2).clamp(1, MAX_PAUSE);
                retry.calls_left = retry.pause;
                if takes(whole / 2) {
                    return true;
                }
            }
            retry.calls_left = retry.calls_left.saturating_sub(1);
        }
        if let Err(error) = self.reserve.release() {
            tracing::warn!(%error, "failed to release the reserved disk space");
        }
        false
    }
}

/// Allocates space in a temporary file and removes it.
fn probe(folder: &DataFolder, bytes: u64) -> io::Result<()> {
    let path = folder.trash_name();
    let allocated = reserve::allocate(&path, bytes);
    let removed = fs::remove_file(&path);
    allocated.and(removed)
}

fn failure_of(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full,
        io::ErrorKind::FileTooLarge => Failure::FileLimit,
        io::ErrorKind::ReadOnlyFilesystem => Failure::ReadOnly,
        _ => Failure::Other,
    }
}

/// Whether the file or its log has nearly the largest size that the process may write.
fn is_at_limit(file: &DbFile) -> bool {
    let Some(limit) = file_size_limit() else {
        return false;
    };
    let mut log = file.path.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &std::path::Path| fs::metadata(path).map_or(0, |file| file.len());
    size(&file.path).max(size(log.as_ref())) + PROBE_BYTES >= limit
}
