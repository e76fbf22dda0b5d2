//! The blob store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use personium_store::{
    BlobReader, BlobStore, BlobWriter, Result, Space, StorageUsage, StoreHealth,
};
use personium_types::{BlobId, Random};

use crate::disk::{self, blocking, ignore_not_found, io_error, sync_folder};
use crate::file_calls::{self, Root, retry_stale};
use crate::reader::{DamageReports, FolderBlobReader};
use crate::settings::{BlobSync, FolderSettings};
use crate::writer::{BlobPaths, FolderBlobWriter, LargeBuffers};

/// The age after which an unfinished body is an orphan.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// The time for which a removed body in a shared folder can be read by those who have opened it.
const SHARED_REMOVAL_DELAY: Duration = Duration::from_secs(60);

/// The message of errors of removals.
const REMOVAL_FAILED: &str = "failed to remove a file body";

/// A store of file bodies in a folder.
#[derive(Debug)]
pub struct FolderStore {
    root: Root,
    sync: BlobSync,
    large_buffers: LargeBuffers,
    exclusive: bool,
    health: Arc<StoreHealth>,
    keep_removed: Option<Duration>,
    random: Arc<dyn Random>,
}

impl FolderStore {
    /// Opens the store and removes orphans: bodies that were not finished and spaces that were not removed completely.
    ///
    /// # Errors
    /// [`Busy`](personium_store::StoreError::Busy) if the storage is full, [`Down`](personium_store::StoreError::Down) if
    /// the folder cannot be used.
    pub fn open(settings: &FolderSettings, random: Arc<dyn Random>) -> Result<Self> {
        let root = &settings.folder;
        let failed = |error: io::Error| {
            io_error(
                format!("failed to open the folder {}", root.display()),
                error,
            )
        };
        for folder in [disk::TRASH, disk::UNFINISHED] {
            fs::create_dir_all(root.join(folder)).map_err(failed)?;
        }
        let orphan_age = match settings.exclusive {
            true => Duration::ZERO,
            false => ORPHAN_AGE,
        };
        for folder in [disk::TRASH, disk::UNFINISHED] {
            remove_old(&root.join(folder), orphan_age).map_err(failed)?;
        }
        Ok(Self {
            root: Root::new(root, settings.witness.as_deref()),
            sync: settings.sync,
            large_buffers: LargeBuffers::default(),
            exclusive: settings.exclusive,
            health: Arc::clone(&settings.health),
            keep_removed: settings.keep_removed,
            random,
        })
    }

    fn space_folder(&self, space: &Space) -> PathBuf {
        self.root.join(disk::space_name(space))
    }

    /// The time for which removed bodies are kept now.
    fn kept_time(&self) -> Option<Duration> {
        let needs_space = self.health.is_full() || self.health.is_low_for_bodies();
        self.keep_removed.filter(|_| !needs_space)
    }
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>> {
        let id = BlobId::random(&self.random);
        self.create_with_id(space, &id).await
    }

    async fn create_with_id(&self, space: &Space, id: &BlobId) -> Result<Box<dyn BlobWriter>> {
        let paths = BlobPaths::new(&self.root, space, *id);
        let writer = FolderBlobWriter::new(paths, self.sync, self.large_buffers.clone());
        Ok(Box::new(writer))
    }

    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>> {
        let folder = self.space_folder(space);
        let open = |path: &Path| {
            let reports = DamageReports {
                path: path.to_owned(),
                space: *space,
                health: Arc::clone(&self.health),
            };
            file_calls::open(path)
                .and_then(|file| FolderBlobReader::new(file, reports).map(Some))
                .or_else(|error| ignore_not_found(error, None))
        };
        let opened = open(&disk::body_path(&folder, id))
            .and_then(|opened| match opened {
                None if self.keep_removed.is_some() => open(&disk::removed_path(&folder, id)),
                opened => Ok(opened),
            })
            .and_then(|opened| match opened {
                Some(reader) => Ok(Some(reader)),
                None => self.root.check().map(|()| None),
            })
            .map_err(|error| io_error("failed to open a file body", error))?;
        Ok(opened.map(|reader| Box::new(reader) as Box<dyn BlobReader>))
    }

    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()> {
        let folder = self.space_folder(space);
        let path = disk::body_path(&folder, id);
        let (root, id) = (self.root.clone(), *id);
        if self.kept_time().is_some() {
            return blocking(REMOVAL_FAILED, move || {
                root.check()?;
                keep(&folder, &path, &id)
            })
            .await;
        }
        let is_keeping = self.keep_removed.is_some();
        if self.exclusive {
            return blocking(REMOVAL_FAILED, move || {
                root.check()?;
                if is_keeping {
                    // The disk is full, or nearly full.
                    remove_old(&folder.join(disk::REMOVED), Duration::ZERO)?;
                }
                file_calls::remove(&path)
            })
            .await;
        }
        // Another machine may read the file. Its handle stays valid as long as the file exists under some name.
        let trash = root.join(disk::TRASH).join(id.to_string());
        let removed = trash.clone();
        blocking(REMOVAL_FAILED, move || {
            root.check()?;
            let moved = retry_stale(|| fs::rename(&path, &trash));
            moved.or_else(|error| ignore_not_found(error, ()))
        })
        .await?;
        tokio::spawn(async move {
            tokio::time::sleep(SHARED_REMOVAL_DELAY).await;
            let done = blocking(REMOVAL_FAILED, move || file_calls::remove(&removed));
            if let Err(error) = done.await {
                tracing::debug!(%error, "a removed file body stays in the trash until it is old");
            }
        });
        Ok(())
    }

    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        min_age: Duration,
        limit: usize,
    ) -> Result<Vec<BlobId>> {
        let folder = self.space_folder(space);
        let root = self.root.clone();
        let after = after.copied();
        let kept_time = self.kept_time().unwrap_or_default();
        blocking("failed to list file bodies", move || {
            root.check()?;
            // Each scan for orphans comes by here.
            retry_stale(|| remove_old(&folder.join(disk::REMOVED), kept_time))?;
            for leftover in [disk::UNFINISHED, disk::TRASH] {
                retry_stale(|| remove_old(&root.join(leftover), ORPHAN_AGE))?;
            }
            retry_stale(|| list(&folder, after, min_age, limit))
        })
        .await
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        let folder = self.space_folder(space);
        let trash = self
            .root
            .join(disk::TRASH)
            .join(BlobId::random(&self.random).to_string());
        let prefix = disk::space_name(space) + ".";
        let root = self.root.clone();
        blocking("failed to remove the file bodies of a space", move || {
            root.check()?;
            match retry_stale(|| fs::rename(&folder, &trash)) {
                Ok(()) => {
                    sync_folder(&root.path)?;
                    fs::remove_dir_all(&trash)?;
                }
                Err(error) => ignore_not_found(error, ())?,
            }
            for entry in entries(&root.join(disk::UNFINISHED))? {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    file_calls::remove(&entry.path())?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn check(&self) -> Result<()> {
        let path = self
            .root
            .join(disk::TRASH)
            .join(BlobId::random(&self.random).to_string());
        let root = self.root.clone();
        blocking("failed to write a test file", move || {
            root.check()?;
            let file = File::create_new(&path)?;
            let written = file.sync_all();
            fs::remove_file(&path)?;
            written
        })
        .await
    }

    async fn kept_bytes(&self, space: &Space) -> Result<u64> {
        let (root, kept) = (
            self.root.clone(),
            self.space_folder(space).join(disk::REMOVED),
        );
        blocking("failed to look at removed file bodies", move || {
            root.check()?;
            let mut bytes = 0_u64;
            for entry in retry_stale(|| entries(&kept))? {
                let length = entry.metadata().map(|found| found.len());
                // One that is removed meanwhile is not there.
                let length = length.or_else(|error| ignore_not_found(error, 0))?;
                bytes = bytes.saturating_add(length);
            }
            Ok(bytes)
        })
        .await
    }

    async fn free_kept(&self) -> Result<()> {
        if self.keep_removed.is_none() {
            return Ok(());
        }
        let root = self.root.clone();
        blocking(REMOVAL_FAILED, move || {
            root.check()?;
            for space in entries(&root.path)? {
                // The mark of the unit is beside them.
                if !space.file_type()?.is_dir() {
                    continue;
                }
                retry_stale(|| remove_old(&space.path().join(disk::REMOVED), Duration::ZERO))?;
            }
            Ok(())
        })
        .await
    }

    async fn usage(&self) -> Result<Option<StorageUsage>> {
        let root = Arc::clone(&self.root.path);
        blocking("failed to read the free space", move || {
            let stat = rustix::fs::statvfs(&*root)?;
            let blocks_used = stat.f_blocks.saturating_sub(stat.f_bfree);
            Ok(Some(StorageUsage {
                available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
                used_bytes: blocks_used.saturating_mul(stat.f_frsize),
            }))
        })
        .await
    }
}

/// Removes a body from those of its space, and keeps it under another name. Its time becomes that of its removal. Succeeds if there is none.
fn keep(space_folder: &Path, path: &Path, id: &BlobId) -> io::Result<()> {
    let kept = disk::removed_path(space_folder, id);
    let moved = retry_stale(|| fs::rename(path, &kept)).or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound || !path.try_exists()? {
            return Err(error);
        }
        fs::create_dir_all(space_folder.join(disk::REMOVED))?;
        fs::rename(path, &kept)
    });
    match moved {
        Ok(()) => {
            #[expect(
                clippy::disallowed_methods,
                reason = "compared with the times of files, which the operating system sets"
            )]
            let now = SystemTime::now();
            let file = File::options().append(true).open(&kept);
            file.and_then(|file| file.set_modified(now))
                .or_else(|error| ignore_not_found(error, ()))
        }
        // A removal must free space then.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => file_calls::remove(path),
        Err(error) => ignore_not_found(error, ()),
    }
}

/// Lists the entries of a folder, which need not exist.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) => ignore_not_found(error, Vec::new()),
    }
}

/// Whether the file was last written at least `min_age` ago. A file that does not exist any more is not old.
fn is_old(entry: &fs::DirEntry, min_age: Duration) -> io::Result<bool> {
    let modified = match entry.metadata().and_then(|meta| meta.modified()) {
        Ok(modified) => modified,
        Err(error) => return ignore_not_found(error, false),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the times of files, which the operating system sets"
    )]
    let now = SystemTime::now();
    Ok(min_age.is_zero() || now.duration_since(modified).is_ok_and(|age| age >= min_age))
}

fn list(
    space_folder: &Path,
    after: Option<BlobId>,
    min_age: Duration,
    limit: usize,
) -> io::Result<Vec<BlobId>> {
    let first_shelf = after.map_or(String::new(), |id| id.to_string().chars().take(2).collect());
    let mut shelves = entries(space_folder)?;
    shelves.retain(|shelf| shelf.file_name().len() == 2 && *shelf.file_name() >= *first_shelf);
    shelves.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for shelf in shelves {
        let mut ids: Vec<(BlobId, fs::DirEntry)> = entries(&shelf.path())?
            .into_iter()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry)))
            .filter(|(id, _)| after.is_none_or(|after| *id > after))
            .collect();
        ids.sort_by_key(|(id, _)| *id);
        for (id, entry) in ids {
            if found.len() == limit {
                return Ok(found);
            }
            if is_old(&entry, min_age)? {
                found.push(id);
            }
        }
    }
    Ok(found)
}

/// Removes the entries of a folder that were last written at least `min_age` ago.
fn remove_old(folder: &Path, min_age: Duration) -> io::Result<()> {
    for entry in entries(folder)? {
        if is_old(&entry, min_age)? {
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.or_else(|error| ignore_not_found(error, ()))?;
        }
    }
    Ok(())
}
