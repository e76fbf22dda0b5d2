//! The settings of the engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use personium_store::StoreHealth;
use personium_types::Clock;

/// The time at which a commit is synced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitSync {
    /// Before it is acknowledged: it survives a power cut.
    #[default]
    Full,
    /// Soon after: it survives a crash of the process, but the last commits may be lost in a power cut.
    Normal,
    /// That of a cell, and its file, only when its caller syncs the file system: after a power cut before that, the file can be
    /// damaged. Those of the unit as with [`Normal`](Self::Normal).
    ByCaller,
}

/// The way in which spaces come into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpaceCreation {
    /// A commit creates its space. Reading a space without a file finds nothing.
    #[default]
    ByCommit,
    /// Only [`create_space`](personium_store::RecordStore::create_space) creates a space. A space without a file has lost its
    /// data: reads and commits are refused as those of damaged data, unless the space was dropped.
    Explicit,
}

/// The settings of the journals.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// The time for which an entry is kept at least. It is removed with one of the commits that follow.
    pub keep: Duration,
    /// The clock of the times of commits.
    pub clock: Arc<dyn Clock>,
}

impl JournalSettings {
    /// The time from which on entries are kept, in milliseconds since 1970.
    pub(crate) fn kept_from_ms(&self) -> i64 {
        let keep_ms = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        self.clock.now_ms().saturating_sub(keep_ms)
    }
}

/// The settings of a store.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The folder of the database files. It is created if it is missing.
    pub folder: PathBuf,
    /// The time at which a commit is synced to the disk.
    pub sync: CommitSync,
    /// The maximum number of open files, at least 1. The writer and each reader of a file need two descriptors each.
    pub open_files: usize,
    /// The number of threads that commit, which is also the number of files written concurrently, at least 1.
    pub writers: usize,
    /// The number of idle read connections kept for each open file.
    pub idle_readers: usize,
    /// The page cache of a connection to a small file, in KiB.
    pub cache_kib: u32,
    /// The maximum page cache of a connection to a large file, in KiB. The writer may use 1/16 of the size of the file,
    /// each reader 1/64.
    pub large_cache_kib: u32,
    /// The page size of new files in bytes: a power of two from 512 to 65536.
    pub page_size: u32,
    /// The way in which spaces come into being.
    pub spaces: SpaceCreation,
    /// The size of the file that is kept to be given up when the disk is full, in bytes; 0 for none. It takes at most 1/16 of
    /// the disk.
    pub reserve_bytes: u64,
    /// Where the store reports a full disk and damaged data.
    pub health: Arc<StoreHealth>,
    /// How each space keeps a journal of its commits; without it, none does.
    pub journal: Option<JournalSettings>,
}

impl SqliteSettings {
    /// Creates the default settings for this folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            sync: CommitSync::Full,
            open_files: 500,
            writers: 8,
            idle_readers: 4,
            cache_kib: 1024,
            large_cache_kib: 16 << 10,
            page_size: 8192,
            spaces: SpaceCreation::ByCommit,
            reserve_bytes: 0,
            health: Arc::default(),
            journal: None,
        }
    }
}
