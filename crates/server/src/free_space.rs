//! The free space of the disks that a unit stores something on. Below a limit nothing more is stored there, until there is more again. Nor is it
//! when another file system is mounted at one of the folders, or its own unmounted.
//!
//! Each process looks at its own disks: one that is shared is seen by all nodes, a local one concerns the node alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use personium_model::Unit;
use personium_model::low_space::DiskContent;
use personium_model::temp_folder;
use personium_store::StoreHealth;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::{BlobStoreKind, Config, RecordStoreKind, StoreConfig};
use crate::data_folder::{self, BodyPlace};
use crate::folders;
use crate::model_settings;

/// The free space below which a disk is nearly full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreeSpaceLimit {
    min_bytes: u64,
    /// The largest part of the disk that the limit can be.
    min_percent: u64,
    /// The part of the limit, at least 100, with which the disk is no longer nearly full.
    resume_percent: u64,
}

/// The size of a file system, and how much of it ordinary processes can still use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskSpace {
    free_bytes: u64,
    size_bytes: u64,
}

/// A folder that a unit stores something in.
#[derive(Debug, Clone)]
struct StorageFolder {
    content: DiskContent,
    path: PathBuf,
    /// The folder at the start; `None` if it could not be looked at.
    place: Option<FolderPlace>,
}

/// By what a folder is told from another one that is mounted in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FolderPlace {
    device: u64,
    /// The id of the unit in the folder, if it has one.
    mark: Option<String>,
}

impl FolderPlace {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            device: temp_folder::device_of(path)?,
            mark: data_folder::find_mark(path),
        })
    }

    /// Whether what is there now is not what was there. A file system that is mounted anew can have another number.
    fn is_replaced_by(&self, now: &Self) -> bool {
        self.device != now.device && (self.mark.is_none() || self.mark != now.mark)
    }
}

impl StorageFolder {
    fn new(content: DiskContent, path: PathBuf) -> Self {
        Self {
            content,
            place: FolderPlace::of(&path).ok(),
            path,
        }
    }

    fn is_displaced(&self) -> bool {
        match (&self.place, FolderPlace::of(&self.path)) {
            (Some(place), Ok(now)) => place.is_replaced_by(&now),
            _ => false,
        }
    }
}

/// The watch over the disks of a unit.
pub struct FreeSpaceWatch {
    unit: Arc<Unit>,
    health: Arc<StoreHealth>,
    folders: Vec<StorageFolder>,
    limit: FreeSpaceLimit,
}

impl FreeSpaceLimit {
    /// The limit that the settings name.
    pub(crate) fn new(config: &StoreConfig) -> Self {
        Self {
            min_bytes: config.min_free_mib << 20,
            min_percent: config.min_free_percent,
            resume_percent: config.resume_free_percent,
        }
    }

    /// The limit for a disk in bytes.
    pub(crate) fn bytes_of(self, disk: DiskSpace) -> u64 {
        let part = disk.size_bytes / 100 * self.min_percent;
        self.min_bytes.min(part)
    }

    /// Whether a disk is nearly full. One that was needs a bit more space not to be.
    pub(crate) fn is_low(self, disk: DiskSpace, was_low: bool) -> bool {
        let limit = self.bytes_of(disk);
        match was_low {
            true => disk.free_bytes < limit / 100 * self.resume_percent,
            false => disk.free_bytes < limit,
        }
    }
}

impl DiskSpace {
    /// The file system of a folder, or of the nearest one above it that exists; `None` if the system does not say.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let folder = folders::nearest_existing(folder).ok()?;
        let found = rustix::fs::statvfs(&folder).ok()?;
        // A file system without a size does not know what is free.
        (found.f_blocks > 0).then(|| Self {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            size_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

/// The folders that a unit with these settings stores something in. The content of an earlier one concerns more.
fn storage_folders(config: &Config) -> Vec<StorageFolder> {
    let folder = StorageFolder::new;
    let mut folders = Vec::new();
    if config.store.kind == RecordStoreKind::Sqlite {
        folders.push(folder(DiskContent::Records, config.store.data_dir.clone()));
    }
    if config.files.kind == BlobStoreKind::Folder
        && let BodyPlace::Folder { path, .. } = BodyPlace::folder(config)
    {
        folders.push(folder(DiskContent::Bodies, path));
    }
    let temporary = model_settings::temporary_folder(config);
    folders.push(folder(DiskContent::TemporaryFiles, temporary));
    folders
}

/// The first folder on each file system, as they are mounted now: more than that content cannot be stored there either.
fn one_for_each_disk(folders: &[StorageFolder]) -> Vec<&StorageFolder> {
    let mut seen = BTreeSet::new();
    let is_first = |folder: &&StorageFolder| match temp_folder::device_of(&folder.path) {
        Ok(device) => seen.insert(device),
        Err(_) => true,
    };
    folders.iter().filter(is_first).collect()
}

impl FreeSpaceWatch {
    /// The watch over the disks of a unit with these settings, after its first look.
    #[must_use]
    pub fn start(config: &Config, unit: &Arc<Unit>, health: &Arc<StoreHealth>) -> Arc<Self> {
        let watch = Arc::new(Self {
            unit: Arc::clone(unit),
            health: Arc::clone(health),
            folders: storage_folders(config),
            limit: FreeSpaceLimit::new(&config.store),
        });
        watch.look();
        watch
    }

    /// The unit.
    pub(crate) fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Looks at each disk once, and logs what has changed.
    pub fn look(&self) {
        self.look_for_displaced();
        let watched = one_for_each_disk(&self.folders);
        for folder in &self.folders {
            // It shares the disk of another one now.
            if !watched
                .iter()
                .any(|watched| watched.content == folder.content)
            {
                self.unit.low_space().set(folder.content, false);
            }
        }
        for StorageFolder { content, path, .. } in watched {
            let Some(disk) = DiskSpace::of(path) else {
                continue;
            };
            let was_low = self.unit.low_space().is_low(*content);
            // On a full disk the reserve is given up, and its space looks free.
            let keeps = was_low && *content == DiskContent::Records && self.unit.store().is_full();
            let is_low = keeps || self.limit.is_low(disk, was_low);
            if !self.unit.low_space().set(*content, is_low) {
                continue;
            }
            let (content, folder) = (content.name(), path.display());
            let (free, limit) = (disk.free_bytes >> 20, self.limit.bytes_of(disk) >> 20);
            match is_low {
                true => tracing::error!(
                    content, %folder, free_mib = free, limit_mib = limit,
                    "the disk has little space left"
                ),
                false => tracing::info!(
                    content, %folder, free_mib = free,
                    "the disk has enough space again"
                ),
            }
        }
        self.health.set_low_for_bodies(self.is_low_for_bodies());
    }

    /// Whether the disk of the file bodies is nearly full, which may be that of the records.
    fn is_low_for_bodies(&self) -> bool {
        let watched = one_for_each_disk(&self.folders);
        let mut contents = watched.iter().map(|folder| folder.content);
        let content = match contents.any(|content| content == DiskContent::Bodies) {
            true => DiskContent::Bodies,
            false => DiskContent::Records,
        };
        self.unit.low_space().is_low(content)
    }

    /// Finds folders that are on another file system than at the start, and logs what has changed.
    fn look_for_displaced(&self) {
        for folder in &self.folders {
            let is_displaced = folder.is_displaced();
            if !self
                .unit
                .low_space()
                .set_displaced(folder.content, is_displaced)
            {
                continue;
            }
            let (content, folder) = (folder.content.name(), folder.path.display());
            match is_displaced {
                true => tracing::error!(
                    content, %folder,
                    "the folder is on another file system than at the start: mount its own again, or restart the unit"
                ),
                false => tracing::info!(content, %folder, "the folder is on its file system again"),
            }
        }
    }

    /// Texts about what cannot be done at present, one for each kind of content.
    pub(crate) fn degradation(&self) -> Vec<String> {
        let displaced = self
            .folders
            .iter()
            .filter(|folder| self.unit.low_space().is_displaced(folder.content));
        let displaced = displaced.map(|folder| {
            format!(
                "{} is on another file system than at the start: nothing is stored there",
                folder.path.display()
            )
        });
        let low = self.unit.low_space().contents().into_iter();
        let low = low.map(|content| {
            let (what, effect) = match content {
                DiskContent::Records => ("records", "only reading and deleting are possible"),
                DiskContent::Bodies => ("file bodies", "long ones cannot be stored"),
                DiskContent::TemporaryFiles => ("temporary files", "archives may fail"),
            };
            format!("the disk of the {what} is nearly full: {effect}")
        });
        displaced.chain(low).collect()
    }
}

/// Metrics of the disks of a unit.
pub(crate) struct FreeSpaceCollector(pub(crate) Arc<FreeSpaceWatch>);

impl fmt::Debug for FreeSpaceCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreeSpaceCollector")
    }
}

impl Collector for FreeSpaceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let metric_type = gauge(0).metric_type();
        let watch = &self.0;
        let mut family = encoder.encode_descriptor(
            "personium_disk_free_bytes",
            "Free bytes of the disk of each kind of content.",
            None,
            metric_type,
        )?;
        let watched = one_for_each_disk(&watch.folders);
        for StorageFolder { content, path, .. } in &watched {
            if let Some(disk) = DiskSpace::of(path) {
                let label = [("content", content.name())];
                gauge(disk.free_bytes).encode(family.encode_family(&label)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "personium_disk_low",
            "Whether the disk of each kind of content has less free space than the limit.",
            None,
            metric_type,
        )?;
        for StorageFolder { content, .. } in &watched {
            let label = [("content", content.name())];
            let is_low = watch.unit.low_space().is_low(*content);
            gauge(is_low.into()).encode(family.encode_family(&label)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "personium_disk_displaced",
            "Whether the folder of each kind of content is on another file system than at the start.",
            None,
            metric_type,
        )?;
        for StorageFolder { content, .. } in &watch.folders {
            let label = [("content", content.name())];
            let is_displaced = watch.unit.low_space().is_displaced(*content);
            gauge(is_displaced.into()).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_the_smaller_of_both_and_ends_with_more_space_than_it_began() {
        let limit = FreeSpaceLimit {
            min_bytes: 400,
            min_percent: 10,
            resume_percent: 150,
        };
        for (size, free, was_low, is_low) in [
            (1_000, 99, false, true),
            (1_000, 100, false, false),
            (1_000, 149, true, true),
            (1_000, 150, true, false),
            (100_000, 399, false, true),
            (100_000, 400, false, false),
            (100_000, 599, true, true),
            (100_000, 600, true, false),
            (0, 0, false, false),
        ] {
            let disk = DiskSpace {
                free_bytes: free,
                size_bytes: size,
            };
            let found = limit.is_low(disk, was_low);
            assert_eq!(found, is_low, "{free} of {size}, {was_low}");
        }
    }

    #[test]
    fn folder_is_displaced_on_another_file_system_unless_it_has_the_mark_of_the_same_unit() {
        let place = |device, mark: Option<&str>| FolderPlace {
            device,
            mark: mark.map(str::to_owned),
        };
        for (before, now, is_replaced) in [
            (place(1, None), place(1, None), false),
            (place(1, None), place(2, None), true),
            (place(1, None), place(2, Some("a")), true),
            (place(1, Some("a")), place(1, Some("b")), false),
            (place(1, Some("a")), place(2, None), true),
            (place(1, Some("a")), place(2, Some("b")), true),
            (place(1, Some("a")), place(2, Some("a")), false),
        ] {
            assert_eq!(
                before.is_replaced_by(&now),
                is_replaced,
                "{before:?} {now:?}"
            );
        }
    }

    #[test]
    fn without_a_limit_no_disk_is_low() {
        for (min_bytes, min_percent) in [(0, 50), (1 << 40, 0)] {
            let limit = FreeSpaceLimit {
                min_bytes,
                min_percent,
                resume_percent: 125,
            };
            let disk = DiskSpace {
                free_bytes: 0,
                size_bytes: 1 << 40,
            };
            assert!(!limit.is_low(disk, false) && !limit.is_low(disk, true));
        }
    }
}
