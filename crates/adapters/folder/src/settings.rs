//! The settings of the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use personium_store::StoreHealth;

/// The time at which a body is synced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlobSync {
    /// Before [`finish`](personium_store::BlobWriter::finish) returns: it survives a power cut.
    #[default]
    Full,
    /// At a time that the operating system chooses: it survives a crash of the process.
    None,
}

/// The settings of a store.
#[derive(Debug, Clone)]
pub struct FolderSettings {
    /// The folder of the bodies. It is created if it is missing.
    pub folder: PathBuf,
    /// The time at which a body is synced to the disk.
    pub sync: BlobSync,
    /// Whether no other process uses the folder. Unfinished bodies are then removed at the start, otherwise after a day.
    pub exclusive: bool,
    /// The name of a file that is in the folder as long as it is mounted. Without it, nothing is read as empty, and nothing is
    /// written.
    pub witness: Option<String>,
    /// Where the store reports damaged bodies, and learns that the disk is full.
    pub health: Arc<StoreHealth>,
    /// The time for which a removed body can still be read by its id. While the disk is full or nearly full, none is kept.
    pub keep_removed: Option<Duration>,
}
