//! Records in SQLite: one file for the unit, one for each cell.
//!
//! Every file has one writer at a time, which merges the batches that wait into one commit, and any number of
//! readers on snapshots. Files are opened when they are used and closed when others are used instead.

mod apply;
mod error;
mod file;
mod folder;
mod pool;
mod read;
mod settings;
mod sql;
mod store;

pub use settings::{Settings, Sync};
pub use store::SqliteStore;
