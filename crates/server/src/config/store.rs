//! Where and how records are kept.

use std::path::PathBuf;

use super::rule::{File, Maybe, Number, OneOf, Text};
use super::section::section;

/// When a commit is handed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordSync {
    /// Before it is acknowledged.
    Full,
    /// Soon after.
    Normal,
}

section! {
    /// Where and how records are kept.
    Store "Records" {
        /// The folder of all data of the unit: records, and unless other keys say otherwise, files and secrets.
        data_dir: PathBuf = "data.dir", "data", File;
        /// When a change is handed to the disk: full is before it is acknowledged, so that it survives a power cut;
        /// normal is soon after, so that a crash of the program loses nothing, but a power cut may.
        sync: RecordSync = "store.sync", "full", OneOf(&[("full", RecordSync::Full), ("normal", RecordSync::Normal)]);
        /// Database files that stay open. Each needs up to ten file descriptors; the limit of the process bounds this
        /// number too.
        open_files: usize = "store.openFiles", "500", Number(1..=100_000);
        /// Threads that write; as many cells can be written at the same moment.
        writers: usize = "store.writers", "8", Number(1..=256);
        /// Page cache of each connection to a database file, in KiB.
        cache_kib: u32 = "store.cacheInKiB", "1024", Number(64..=1 << 20);
    }
}

section! {
    /// Settings of the search engine that other implementations keep their records in. They are checked and have no
    /// effect.
    Elastic "Search engine (no effect)" {
        /// Addresses of the search engine.
        _hosts: String = "es.hosts", "localhost:9200", Text;
        /// First part of the names of indices.
        _unit_prefix: String = "es.unitPrefix", "u0", Text;
        /// Results of an internal search.
        _top: u32 = "es.topnum", "10000", Number(1..=1_000_000);
        /// Repetitions of a failed call.
        _retry_times: u32 = "es.retryTimes", "3", Number(0..=1000);
        /// Milliseconds between them.
        _retry_interval: u32 = "es.retryInterval", "1500", Number(0..=600_000);
        /// Shards of a new index.
        _shards: u32 = "es.index.numberOfShards", "10", Number(1..=1024);
        /// Replicas of a new index.
        _replicas: u32 = "es.index.numberOfReplicas", "0", Number(0..=1024);
        /// Result window of a new index.
        window: u64 = "es.index.maxResultWindow", "150000", Number(1..=u64::from(u32::MAX));
        /// Merge threads of a new index.
        _merge_threads: Option<u32> = "es.index.merge.scheduler.maxThreadCount", "", Maybe(Number(1..=1024));
    }
}
