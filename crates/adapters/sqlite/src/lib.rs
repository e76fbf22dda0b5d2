//! A record store in SQLite files: one file for the unit and one for each cell.
//!
//! Each file has one writer at a time, which merges waiting batches into one commit, and any number of readers on
//! snapshots. Files are opened on first use. The least recently used files are closed when too many are open.

mod apply;
mod data_folder;
mod engine;
mod error;
mod file;
mod journal;
mod log_damage;
mod read;
mod ready_files;
mod reserve;
mod settings;
mod snapshot;
mod space_changes;
mod sql;
mod storage_failure;
mod storage_limits;
mod store;
mod verification;
mod write_queue;
mod writer_pool;

pub use data_folder::record_file;
pub use settings::{CommitSync, JournalSettings, SpaceCreation, SqliteSettings};
pub use store::SqliteStore;
