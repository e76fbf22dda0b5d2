//! Settings of box archives and cell snapshots.

use std::path::PathBuf;

use super::section::section;
use super::value_parser::{FilePath, Number, Optional};

section! {
    /// Settings of box archives and cell snapshots.
    ArchiveConfig "Archives" {
        /// The largest size of a box archive in megabytes.
        archive_max_megabytes: u64 = "bar.file.maxSize", "100", Number(1..=1 << 20);
        /// The largest size of an entry of a box archive in megabytes.
        entry_max_megabytes: u64 = "bar.entry.maxSize", "10", Number(1..=1 << 20);
        /// The number of link requests between two updates of the progress while an archive is installed.
        links_per_update: u64 = "bar.userdata.linksOutputStreamSize", "5", Number(1..=1_000_000);
        /// The number of entities that are created in one commit while an archive is installed.
        entities_per_commit: u64 = "bar.userdata.bulkSize", "1000", Number(1..=100_000);
        /// The folder of temporary files for archives and request bodies; by default, a folder in data.dir.
        temp_dir: Option<PathBuf> = "bar.tmp.dir", "", Optional(FilePath);
        /// The folder of cell snapshots.
        _snapshot_dir: Option<PathBuf> = "cellSnapshot.root", "", Optional(FilePath);
    }
}
