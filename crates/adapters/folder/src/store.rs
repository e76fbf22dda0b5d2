//! The store: where bodies lie, how they are listed and removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use personium_store::{BlobReader, BlobStore, BlobWriter, Result, Space, StoreError};
use personium_types::BlobId;

use crate::disk::{self, absent, blocking, store_error, sync_folder};
use crate::reader::Reader;
use crate::writer::Writer;

/// An unfinished body that was not written to for this long belongs to nobody.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// When a body is handed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Before its id is given: it survives a power cut.
    #[default]
    Full,
    /// When the system finds time: it survives a crash of the process.
    None,
}

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the bodies. Made if it is missing.
    pub folder: PathBuf,
    /// When a body is handed to the disk.
    pub sync: Sync,
    /// Whether no other process uses the folder. Then unfinished bodies found at the start are removed at once,
    /// otherwise after a day.
    pub alone: bool,
}

/// File bodies in a folder.
#[derive(Debug)]
pub struct FolderStore {
    root: Arc<Path>,
    sync: Sync,
}

impl FolderStore {
    /// Opens the store and removes what unfinished work has left.
    ///
    /// # Errors
    /// [`StoreError::Down`] if the folder cannot be used.
    pub fn open(settings: &Settings) -> Result<Self> {
        let root = &settings.folder;
        let failed = |error: io::Error| {
            StoreError::Down(format!("cannot use the folder {}: {error}", root.display()))
        };
        for folder in [disk::TRASH, disk::UNFINISHED] {
            fs::create_dir_all(root.join(folder)).map_err(failed)?;
        }
        remove_leftovers(
            root,
            if settings.alone {
                Duration::ZERO
            } else {
                FORGOTTEN
            },
        )
        .map_err(failed)?;
        Ok(Self {
            root: root.as_path().into(),
            sync: settings.sync,
        })
    }

    fn space_folder(&self, space: &Space) -> PathBuf {
        self.root.join(disk::space_name(space))
    }
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(Writer::new(&self.root, space, self.sync)))
    }

    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>> {
        let path = disk::body(&self.space_folder(space), id);
        let opened = File::open(path).and_then(|file| Ok(Some((file.metadata()?.len(), file))));
        let opened = opened
            .or_else(|error| absent(error, None))
            .map_err(|error| store_error(&error))?;
        Ok(opened.map(|(len, file)| {
            Box::new(Reader {
                file: Arc::new(file),
                len,
            }) as Box<dyn BlobReader>
        }))
    }

    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()> {
        let path = disk::body(&self.space_folder(space), id);
        blocking(move || fs::remove_file(path).or_else(|error| absent(error, ()))).await
    }

    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        age_ms: u64,
        limit: usize,
    ) -> Result<Vec<BlobId>> {
        let folder = self.space_folder(space);
        let unfinished = self.root.join(disk::UNFINISHED);
        let after = after.copied();
        blocking(move || {
            remove_old(&unfinished, FORGOTTEN)?;
            list(&folder, after, Duration::from_millis(age_ms), limit)
        })
        .await
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        let folder = self.space_folder(space);
        let trash = self
            .root
            .join(disk::TRASH)
            .join(BlobId::random().to_string());
        let prefix = disk::space_name(space) + ".";
        let root = Arc::clone(&self.root);
        blocking(move || {
            match fs::rename(&folder, &trash) {
                Ok(()) => {
                    sync_folder(&root)?;
                    fs::remove_dir_all(&trash)?;
                }
                Err(error) => absent(error, ())?,
            }
            for entry in entries(&root.join(disk::UNFINISHED))? {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    fs::remove_file(entry.path()).or_else(|error| absent(error, ()))?;
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
            .join(BlobId::random().to_string());
        blocking(move || {
            let file = File::create_new(&path)?;
            let written = file.sync_all();
            fs::remove_file(&path)?;
            written
        })
        .await
    }
}

/// The entries of a folder; none if there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) => absent(error, Vec::new()),
    }
}

/// Whether the file was last written at least this long ago. A file that is gone is not old.
fn is_old(entry: &fs::DirEntry, age: Duration) -> io::Result<bool> {
    let modified = match entry.metadata().and_then(|meta| meta.modified()) {
        Ok(modified) => modified,
        Err(error) => return absent(error, false),
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "compared with times that the file system made"
    )]
    let now = SystemTime::now();
    Ok(age.is_zero() || now.duration_since(modified).is_ok_and(|since| since >= age))
}

fn list(
    space_folder: &Path,
    after: Option<BlobId>,
    age: Duration,
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
            if is_old(&entry, age)? {
                found.push(id);
            }
        }
    }
    Ok(found)
}

/// Removes what an earlier process did not finish.
fn remove_leftovers(root: &Path, age: Duration) -> io::Result<()> {
    remove_old(&root.join(disk::TRASH), age)?;
    remove_old(&root.join(disk::UNFINISHED), age)
}

/// Removes everything in a folder that was not written to for so long.
fn remove_old(folder: &Path, age: Duration) -> io::Result<()> {
    for entry in entries(folder)? {
        if is_old(&entry, age)? {
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.or_else(|error| absent(error, ()))?;
        }
    }
    Ok(())
}
