//! Settings of the record store.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigReader;
use super::files::{BlobStoreKind, FileConfig};
use super::section::section;
use super::value_parser::{FilePath, Number, OneOf, Optional, Text};

/// The time at which a commit is synced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordSync {
    /// Before the commit is acknowledged.
    Full,
    /// Shortly after the commit is acknowledged.
    Normal,
}

/// Where records are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStoreKind {
    /// In files in the data folder.
    Sqlite,
    /// In a PostgreSQL database.
    Postgres,
}

const JOURNAL_KEY: &str = "store.journalInHours";

section! {
    /// Settings of the record store.
    StoreConfig "Records" {
        /// Where records are stored: with sqlite, in files in data.dir; with postgres, in a PostgreSQL database, which several
        /// nodes of the unit can share. The other keys of this section are for files, those of the next one for the database.
        kind: RecordStoreKind = "store.type", "sqlite",
            OneOf(&[("sqlite", RecordStoreKind::Sqlite), ("postgres", RecordStoreKind::Postgres)]);
        /// The folder of all data of the unit: records, and by default also file bodies and secrets.
        data_dir: PathBuf = "data.dir", "data", FilePath;
        /// The time at which a commit is synced to the disk. With full, it is synced before it is acknowledged and survives
        /// a power failure. With normal, it is synced shortly after: it survives a crash of the program, but not always a
        /// power failure.
        sync: RecordSync = "store.sync", "full", OneOf(&[("full", RecordSync::Full), ("normal", RecordSync::Normal)]);
        /// The largest number of open database files. Each needs up to ten file descriptors; the limit of the process on
        /// file descriptors can reduce this number.
        open_files_max: usize = "store.openFiles", "500", Number(1..=100_000);
        /// The number of threads that write, and so of the cells that are written at the same time.
        writer_threads: usize = "store.writerThreads", "8", Number(1..=256);
        /// The size of the page cache of each database connection in KiB.
        page_cache_kib: u32 = "store.cacheInKiB", "1024", Number(64..=1 << 20);
        /// The disk space in MiB that is kept in a file in data.dir and given up when the disk is full, so that data can still
        /// be deleted. It takes at most 1/16 of the disk. With 0 there is none.
        reserve_mib: u64 = "store.reserveInMiB", "64", Number(0..=65_536);
        /// The free space of a disk in MiB below which nothing is stored on it any more: if that of the records has less, requests can only
        /// read and delete (503); if that of the file bodies has less, long bodies are refused. It is at most store.minFreePercent of
        /// the disk. With 0 there is no limit.
        min_free_mib: u64 = "store.minFreeInMiB", "512", Number(0..=1 << 30);
        /// The largest part of the disk in percent that store.minFreeInMiB can be. With 0 there is no limit.
        min_free_percent: u64 = "store.minFreePercent", "2", Number(0..=90);
        /// The free space in percent of the limit (store.minFreeInMiB) with which data is stored again.
        resume_free_percent: u64 = "store.resumeFreePercent", "125", Number(100..=1_000);
        /// The number of hours for which each change is kept in a journal in the database files, and each removed file in its folder, so
        /// that back-ups can take them and lead to any time in between. With 0 there is no journal.
        journal_hours: u64 = "store.journalInHours", "0", Number(0..=8_760);
    }
}

impl StoreConfig {
    /// The time for which changes and removed files are kept; `None`: they are not.
    pub(crate) fn journal_time(&self) -> Option<Duration> {
        (self.journal_hours > 0).then(|| Duration::from_secs(self.journal_hours * 3600))
    }

    /// Checks conditions on several keys.
    pub(super) fn check(&self, files: &FileConfig, reader: &mut ConfigReader) {
        if self.journal_hours == 0 {
            return;
        }
        if self.kind == RecordStoreKind::Postgres {
            let text = "must be 0 if store.type is postgres, which has a journal of its own";
            reader.add_key_problem(JOURNAL_KEY, text);
        }
        if files.kind == BlobStoreKind::S3 {
            let text = "must be 0 if blobStore.type is s3: removed files are kept in a folder only";
            reader.add_key_problem(JOURNAL_KEY, text);
        }
    }
}

section! {
    /// Settings of the search engine of other implementations. They have no effect: this version has none.
    SearchEngineConfig "Search engine (no effect)" {
        /// The addresses of the search engine.
        _hosts: String = "es.hosts", "localhost:9200", Text;
        /// The prefix of index names.
        _unit_prefix: String = "es.unitPrefix", "u0", Text;
        /// The largest number of results of an internal search.
        _top: u32 = "es.topnum", "10000", Number(1..=1_000_000);
        /// The number of retries of a failed call.
        _retries: u32 = "es.retryTimes", "3", Number(0..=1000);
        /// The number of milliseconds between two retries.
        _retry_interval_ms: u32 = "es.retryInterval", "1500", Number(0..=600_000);
        /// The number of shards of a new index.
        _shards: u32 = "es.index.numberOfShards", "10", Number(1..=1024);
        /// The number of replicas of a new index.
        _replicas: u32 = "es.index.numberOfReplicas", "0", Number(0..=1024);
        /// The number of merge threads of a new index.
        _merge_threads: Option<u32> = "es.index.merge.scheduler.maxThreadCount", "", Optional(Number(1..=1024));
    }
}
