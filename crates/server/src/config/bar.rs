//! Box archives and cell snapshots.

use std::path::PathBuf;

use super::rule::{File, Maybe, Number};
use super::section::section;

section! {
    /// Box archives and cell snapshots.
    Bar "Archives" {
        /// Megabytes of a box archive.
        file_megabytes: u64 = "bar.file.maxSize", "100", Number(1..=1 << 20);
        /// Megabytes of one entry of an archive.
        entry_megabytes: u64 = "bar.entry.maxSize", "10", Number(1..=1 << 20);
        /// Steps between pieces of the answer while links are loaded.
        links_output: u64 = "bar.userdata.linksOutputStreamSize", "5", Number(1..=1_000_000);
        /// Entities that are loaded together.
        bulk_size: u64 = "bar.userdata.bulkSize", "1000", Number(1..=100_000);
        /// The working folder; without a value, it is in the data folder.
        tmp_dir: Option<PathBuf> = "bar.tmp.dir", "", Maybe(File);
        /// The folder of cell snapshots; without a value, it is in the data folder.
        _snapshot_root: Option<PathBuf> = "cellSnapshot.root", "", Maybe(File);
    }
}
