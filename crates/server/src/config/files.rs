//! Where and how file bodies are kept.

use std::path::PathBuf;

use super::rule::{File, Flag, Maybe, Number};
use super::section::section;

section! {
    /// Where and how file bodies are kept.
    Files "Files" {
        /// The folder of file bodies; without a value, the folder files of data.dir.
        root: Option<PathBuf> = "blobStore.root", "", Maybe(File);
        /// Whether a file is handed to the disk before it is acknowledged, so that it survives a power cut.
        fsync: bool = "binaryData.fsync.enabled", "true", Flag;
        /// Removing is always physical; no effect.
        _physical_delete: bool = "binaryData.physical.delete.mode", "true", Flag;
        /// Repetitions of file operations; no effect.
        _retry_count: u32 = "binaryData.dav.retry.count", "100", Number(0..=100_000);
        /// Milliseconds between repetitions; no effect.
        _retry_interval: u32 = "binaryData.dav.retry.interval", "50", Number(0..=600_000);
    }
}
