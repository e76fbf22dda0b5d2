//! The folders that a unit writes to: tried before a port opens, by the start and by the check alike.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{BlobStoreKind, Config};
use crate::data_folder::BodyPlace;
use crate::system;

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {} ({setting})", path.display())]
pub struct FolderError {
    /// The setting that names it.
    setting: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A folder that a unit writes to.
#[derive(Debug)]
pub(crate) struct UsedFolder {
    /// The setting that names it.
    pub(crate) setting: &'static str,
    /// The path.
    pub(crate) path: PathBuf,
}

/// Returns the folders that the settings name.
pub(crate) fn used(config: &Config) -> Vec<UsedFolder> {
    let folder = |setting, path| UsedFolder { setting, path };
    let mut folders = vec![folder("data.dir", config.store.data_dir.clone())];
    if config.files.kind == BlobStoreKind::Folder
        && let BodyPlace::Folder { path, .. } = BodyPlace::folder(config)
    {
        folders.push(folder("blobStore.root", path));
    }
    let temp_dir = config.archives.temp_dir.clone();
    folders.extend(temp_dir.map(|path| folder("bar.tmp.dir", path)));
    let log = config.log.access_file.as_deref().and_then(Path::parent);
    let log = log.filter(|path| !path.as_os_str().is_empty());
    folders.extend(log.map(|path| folder("log.access.file", path.to_owned())));
    folders
}

/// Tries to write to each folder.
///
/// # Errors
/// [`FolderError`] of the first one that cannot be used.
pub(crate) fn check(config: &Config) -> Result<(), FolderError> {
    for folder in used(config) {
        match folder.try_write() {
            // A unit on a full disk still serves reads and deletions.
            Err(error) if !error.is_full() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

impl FolderError {
    /// Whether the folder could be written to if there were space.
    pub(crate) fn is_full(&self) -> bool {
        let kind = self.source.kind();
        matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

impl UsedFolder {
    /// Whether the folder exists.
    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Writes, syncs, renames and removes a temporary file in the folder, or in the nearest one above it that exists.
    /// Returns the time until it was renamed.
    ///
    /// # Errors
    /// [`FolderError`] if a step fails.
    pub(crate) fn try_write(&self) -> Result<Duration, FolderError> {
        let tried = nearest_existing(&self.path).and_then(|folder| time_durable_write(&folder));
        tried.map_err(|source| FolderError {
            setting: self.setting,
            path: self.path.clone(),
            source,
        })
    }
}

/// The folder itself, or the nearest one above it that exists.
pub(crate) fn nearest_existing(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for folder in path.ancestors() {
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => return Ok(folder.to_owned()),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn time_durable_write(folder: &Path) -> io::Result<Duration> {
    let (clock, random) = (system::clock(), system::random());
    let name = || folder.join(format!(".personium-{}", random.uuid()));
    let (first, second) = (name(), name());
    let start = clock.monotonic();
    let mut file = File::create_new(&first)?;
    let written = file
        .write_all(b"check")
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&first, &second));
    let elapsed = clock.monotonic().saturating_duration_since(start);
    let left = if written.is_ok() { &second } else { &first };
    fs::remove_file(left)?;
    written.map(|()| elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_that_does_not_exist_is_tried_above() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, is_usable) in [
            (folder.path().to_owned(), true),
            (folder.path().join("a/b/c"), true),
            (file.clone(), false),
            (file.join("a"), false),
            ("/proc/x".into(), false),
        ] {
            let used = UsedFolder {
                setting: "data.dir",
                path: path.clone(),
            };
            assert_eq!(used.try_write().is_ok(), is_usable, "{}", path.display());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
