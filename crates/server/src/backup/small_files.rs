//! The small files of a store of back-ups: files of a folder, or objects of a bucket.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_object_store::SmallObjects;
use personium_types::error::chain;

use super::BackupResult;
use crate::key_files;

/// The small files, by names such as `generations/a.json`.
#[derive(Debug, Clone)]
pub(super) enum SmallFiles {
    /// Files below a folder.
    Folder(PathBuf),
    /// Objects of a bucket.
    Bucket {
        /// The objects.
        objects: Arc<SmallObjects>,
        /// Their place, for messages.
        place: String,
    },
}

impl SmallFiles {
    /// The name of a file, for messages.
    pub(super) fn shown(&self, name: &str) -> String {
        match self {
            Self::Folder(root) => root.join(name).display().to_string(),
            Self::Bucket { place, .. } => format!("{place}/{name}"),
        }
    }

    /// Reads a file of at most `max` bytes; `None` if there is none.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn find(&self, name: &str, max: u64) -> BackupResult<Option<Vec<u8>>> {
        let found = match self {
            Self::Folder(root) => match read_small(&root.join(name), max) {
                Ok(found) => Ok(Some(found)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            Self::Bucket { objects, .. } => match objects.find(name, max).await {
                Ok(found) => Ok(found.map(|object| object.bytes.into())),
                Err(error) => Err(chain(&error)),
            },
        };
        found.map_err(|error| format!("{}: {error}", self.shown(name)))
    }

    /// Writes a file in place of one of its name. It is on the disk afterwards.
    ///
    /// # Errors
    /// A text for the operator; then the former file is there.
    pub(super) async fn write(&self, name: &str, bytes: Vec<u8>) -> BackupResult {
        match self {
            Self::Folder(root) => {
                let written = key_files::write_private(&root.join(name), &bytes);
                written.map_err(|error| chain(&error))
            }
            Self::Bucket { objects, .. } => {
                let written = objects.put(name, bytes.into()).await;
                written.map_err(|error| format!("{}: {}", self.shown(name), chain(&error)))
            }
        }
    }

    /// Removes a file. Succeeds if there is none.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn remove(&self, name: &str) -> BackupResult {
        let removed = match self {
            Self::Folder(root) => match fs::remove_file(root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            },
            Self::Bucket { objects, .. } => {
                let removed = objects.remove(name).await;
                removed.map_err(|error| chain(&error))
            }
        };
        removed.map_err(|error| format!("cannot remove {}: {error}", self.shown(name)))
    }

    /// Renames a file. An object is copied first; so after an interruption there may be both.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn rename(&self, from: &str, to: &str, max: u64) -> BackupResult {
        match self {
            Self::Folder(root) => {
                let renamed = fs::rename(root.join(from), root.join(to));
                renamed.map_err(|error| format!("cannot rename {}: {error}", self.shown(from)))
            }
            Self::Bucket { .. } => {
                if let Some(bytes) = self.find(from, max).await? {
                    self.write(to, bytes).await?;
                }
                self.remove(from).await
            }
        }
    }

    /// Lists the names of the files of a folder in it, in their order.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn list(&self, folder: &str) -> BackupResult<Vec<String>> {
        let listed = match self {
            Self::Folder(root) => list_folder(&root.join(folder)).map_err(|e| e.to_string()),
            Self::Bucket { objects, .. } => {
                let listed = objects.list(folder, usize::MAX).await;
                listed.map_err(|error| chain(&error))
            }
        };
        let listed = listed.map_err(|e| format!("cannot list {}: {e}", self.shown(folder)))?;
        let name = |name: String| match name.rsplit_once('/') {
            Some((_, last)) => last.to_owned(),
            None => name,
        };
        Ok(listed.into_iter().map(name).collect())
    }
}

fn list_folder(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    found.sort();
    Ok(found)
}

/// Reads a file of the folder that a unit makes small. The folder may come from elsewhere: what is no file is not opened, because it
/// could have no end.
fn read_small(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let refused = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    if !fs::metadata(path)?.is_file() {
        return refused("it is no file");
    }
    let mut content = Vec::new();
    let read = File::open(path)?
        .take(max.saturating_add(1))
        .read_to_end(&mut content)?;
    match u64::try_from(read) {
        Ok(read) if read <= max => Ok(content),
        _ => refused("it is too large"),
    }
}
