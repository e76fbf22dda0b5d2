//! Settings of file bodies.

use std::path::PathBuf;

use super::section::section;
use super::value_parser::{FilePath, Flag, Number, OneOf, Optional};

/// Where file bodies are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobStoreKind {
    /// In a folder.
    Folder,
    /// In an object store with the protocol of S3.
    S3,
}

section! {
    /// Settings of file bodies.
    FileConfig "Files" {
        /// Where file bodies are stored: in a folder, or in an object store with the protocol of S3.
        kind: BlobStoreKind = "blobStore.type", "folder",
            OneOf(&[("folder", BlobStoreKind::Folder), ("s3", BlobStoreKind::S3)]);
        /// The folder of file bodies; by default, a folder in data.dir. Several nodes can share a folder on a network file system.
        root: Option<PathBuf> = "blobStore.root", "", Optional(FilePath);
        /// Whether a file is synced to the disk before the response, so that it survives a power failure.
        fsync: bool = "binaryData.fsync.enabled", "true", Flag;
        /// Whether deleted files are removed from the disk.
        _physical_delete: bool = "binaryData.physical.delete.mode", "true", Flag;
        /// The number of seconds after a start at which files that no record names are removed: those of uploads that the last
        /// run did not finish.
        first_orphan_scan_secs: u64 = "blobStore.firstOrphanScanInSeconds", "120", Number(1..=86_400);
        /// The number of retries of a file operation.
        _retries: u32 = "binaryData.dav.retry.count", "100", Number(0..=100_000);
        /// The number of milliseconds between two retries.
        _retry_interval_ms: u32 = "binaryData.dav.retry.interval", "50", Number(0..=600_000);
    }
}
