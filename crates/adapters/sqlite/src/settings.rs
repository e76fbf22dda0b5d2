//! What can be chosen about the engine.

use std::path::PathBuf;

/// When a commit is handed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Before it is acknowledged: it survives a power cut.
    #[default]
    Full,
    /// Soon after: it survives a crash of the process, but the last commits may be lost in a power cut.
    Normal,
}

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the database files. Made if it is missing.
    pub folder: PathBuf,
    /// When a commit is handed to the disk.
    pub sync: Sync,
    /// Files that stay open, at least 1. Each needs two descriptors for its writer and for each reader.
    pub open_files: usize,
    /// Threads that commit; as many files can be written at the same time. At least 1.
    pub writers: usize,
    /// Idle readers kept for each open file.
    pub idle_readers: usize,
    /// Page cache of a connection to a small file, in KiB.
    pub cache_kib: u32,
    /// Page cache that a connection to a large file may have, in KiB: a sixteenth of the file for the writer, a 64th
    /// for each reader, up to this much.
    pub large_cache_kib: u32,
    /// Bytes of a page of new files: a power of two from 512 to 65536.
    pub page_size: u32,
}

impl Settings {
    /// The defaults, in this folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            sync: Sync::Full,
            open_files: 500,
            writers: 8,
            idle_readers: 4,
            cache_kib: 1024,
            large_cache_kib: 16 << 10,
            page_size: 8192,
        }
    }
}
