//! Watches the storage of a running unit: full disks, read-only file systems, lost and damaged data.

use std::sync::Arc;
use std::time::Duration;

use personium_sqlite::SqliteStore;
use personium_store::{Space, StoreHealth};
use personium_types::Clock;
use personium_types::error::chain;
use tokio::task::spawn_blocking;

use crate::data_folder::{self, DataFolder};
use crate::free_space::FreeSpaceWatch;

/// The time between two looks at the disk.
const DISK_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two removals of kept file bodies while space is needed: what was kept just before it was is left by the first one.
const FREE_INTERVAL: Duration = Duration::from_secs(5);

/// The time between two log lines about a storage that takes no data.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The time between two comparisons of the catalogue of cells with their files.
const CELLS_INTERVAL: Duration = Duration::from_secs(3600);

/// The number of damaged spaces that are named in full.
const MAX_NAMED: usize = 10;

/// The watch over the storage of a unit.
pub struct StorageWatch {
    /// The data folder.
    pub folder: DataFolder,
    /// The files of records, if the records are in files.
    pub records: Option<Arc<SqliteStore>>,
    /// The state that the stores report.
    pub health: Arc<StoreHealth>,
    /// The free space of the disks.
    pub free_space: Arc<FreeSpaceWatch>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl StorageWatch {
    /// Returns why the unit cannot work, if a part of it was removed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let missing = self.folder.missing_part()?;
        Some(format!(
            "{} is missing; stop the unit and restore it from a backup",
            missing.display()
        ))
    }

    /// Returns what does not work at present although the unit does.
    #[must_use]
    pub fn degradation(&self) -> Vec<String> {
        let mut found = self.storage_state();
        found.extend(self.free_space.degradation());
        found
    }

    fn storage_state(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.health.is_read_only() {
            found.push("the file system is read-only: only reading is possible".to_owned());
        }
        if self.health.is_full() {
            found.push("the storage is full: only reading and deleting are possible".to_owned());
        }
        let damaged = self.health.damaged_spaces();
        found.extend(damaged.iter().take(MAX_NAMED).map(|(_, what)| what.clone()));
        if damaged.len() > MAX_NAMED {
            let more = damaged.len() - MAX_NAMED;
            found.push(format!("{more} more cells have lost or damaged data"));
        }
        found
    }

    /// Watches until the task is aborted.
    pub async fn run(self: Arc<Self>) {
        let cells = Arc::clone(&self);
        let cells = async move {
            let Some(records) = &cells.records else {
                return;
            };
            loop {
                cells.find_lost_cells(records).await;
                tokio::time::sleep(CELLS_INTERVAL).await;
            }
        };
        tokio::join!(cells, self.watch_disk(), self.watch_free_space());
    }

    async fn watch_free_space(&self) {
        let mut freed = None;
        loop {
            tokio::time::sleep(DISK_INTERVAL).await;
            let free_space = Arc::clone(&self.free_space);
            if let Err(error) = spawn_blocking(move || free_space.look()).await {
                tracing::error!(%error, "failed to look at the free space of the disks");
            }
            let needs_space = self.health.is_full() || self.health.is_low_for_bodies();
            let now = self.clock.monotonic();
            let is_due =
                freed.is_none_or(|last| now.saturating_duration_since(last) >= FREE_INTERVAL);
            if needs_space && is_due {
                freed = Some(now);
                self.free_kept_bodies().await;
            }
        }
    }

    /// Removes the removed bodies that are kept for a journal. Those that are removed from now on are not kept, as long as space is needed.
    async fn free_kept_bodies(&self) {
        if let Err(error) = self.free_space.unit().blobs().free_kept().await {
            tracing::warn!(error = %chain(&error), "failed to remove the kept file bodies of a full disk");
        }
    }

    async fn watch_disk(&self) {
        let mut logged = None;
        loop {
            if let Some(records) = self.records.clone()
                && let Err(error) = spawn_blocking(move || records.maintain()).await
            {
                tracing::error!(%error, "failed to look at the disk");
            }
            let now = self.clock.monotonic();
            let is_broken = self.health.is_full() || self.health.is_read_only();
            match (is_broken, logged) {
                (false, None) => {}
                (false, Some(_)) => {
                    tracing::info!("the storage takes data again");
                    logged = None;
                }
                (true, Some(last)) if now.saturating_duration_since(last) < LOG_INTERVAL => {}
                (true, _) => {
                    let state = self.storage_state().join("; ");
                    tracing::error!(state, "the storage takes no data");
                    logged = Some(now);
                }
            }
            tokio::time::sleep(DISK_INTERVAL).await;
        }
    }

    async fn find_lost_cells(&self, records: &Arc<SqliteStore>) {
        match data_folder::list_lost_cells(records).await {
            Ok(lost) => {
                for cell in lost {
                    let space = Space::Cell(cell);
                    let path = records.path(&space);
                    let what = format!("{} is missing; restore it from a backup", path.display());
                    if self.health.report_damage(&space, &what) {
                        tracing::error!(file = %path.display(), "the file of a cell is missing");
                    }
                }
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "failed to compare the cells with their files");
            }
        }
    }
}
