//! The place of the file bodies of a unit, and the mark in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_object_store::S3BlobStore;
use personium_store::StoreError;
use personium_types::CellId;

use super::{DataFolderError, evidence, file_error, marks};
use crate::config::Config;

/// The folder of file bodies in the data folder, unless the settings name another.
const FILES_DIR: &str = "files";

/// The place of the file bodies of a unit.
#[derive(Debug, Clone)]
pub enum BodyPlace {
    /// A folder.
    Folder {
        /// Its path.
        path: PathBuf,
        /// Whether it is inside the data folder.
        is_own: bool,
    },
    /// A bucket.
    Bucket(Arc<S3BlobStore>),
}

impl BodyPlace {
    /// The name by which an object store has called itself.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        match self {
            Self::Bucket(store) => store.server_name(),
            Self::Folder { .. } => None,
        }
    }

    /// The folder of the settings.
    #[must_use]
    pub fn folder(config: &Config) -> Self {
        let configured = config.files.root.clone();
        Self::Folder {
            is_own: configured.is_none(),
            path: configured.unwrap_or_else(|| config.store.data_dir.join(FILES_DIR)),
        }
    }

    /// The folder.
    pub(super) fn folder_path(&self) -> Option<&Path> {
        match self {
            Self::Folder { path, .. } => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// The folder, if it is not inside the data folder.
    pub(super) fn foreign_folder(&self) -> Option<&Path> {
        match self {
            Self::Folder {
                path,
                is_own: false,
            } => Some(path),
            _ => None,
        }
    }

    /// The file of the mark.
    pub(super) fn mark_file(&self) -> Option<PathBuf> {
        match self {
            Self::Folder { path, .. } => Some(marks::path(path)),
            Self::Bucket(_) => None,
        }
    }

    /// The name of the mark, for messages.
    pub(super) fn mark_name(&self) -> String {
        match self {
            Self::Folder { path, .. } => marks::path(path).display().to_string(),
            Self::Bucket(store) => format!("the object unit.id in {}", store.place()),
        }
    }

    /// Returns the mark of the unit whose file bodies are here; `None` if there is none.
    ///
    /// # Errors
    /// [`DataFolderError`] if it cannot be read.
    pub async fn find_mark(&self) -> Result<Option<String>, DataFolderError> {
        match self {
            Self::Folder { path, .. } => {
                let path = marks::path(path);
                marks::read(&path).map_err(|source| file_error(&path, source))
            }
            Self::Bucket(store) => {
                let found = store.find_mark().await;
                let found = found.map_err(|source| bucket_error(store, source))?;
                let mark = found.map(|text| {
                    marks::parse(&text).map_err(|e| file_error(Path::new(store.place()), e))
                });
                mark.transpose()
            }
        }
    }

    /// Writes the mark.
    ///
    /// # Errors
    /// [`DataFolderError`] if it cannot be written, or a bucket has another one.
    pub(super) async fn put_mark(&self, mark: &str) -> Result<(), DataFolderError> {
        match self {
            Self::Folder { path, .. } => {
                let path = marks::path(path);
                marks::write(&path, mark).map_err(|source| file_error(&path, source))
            }
            Self::Bucket(store) => {
                let put = store.put_mark(&marks::text(mark)).await;
                put.map_err(|source| bucket_error(store, source))
            }
        }
    }

    /// Writes the mark in place of another one.
    ///
    /// # Errors
    /// [`DataFolderError`] if it cannot be written.
    pub(super) async fn replace_mark(&self, mark: &str) -> Result<(), DataFolderError> {
        match self {
            Self::Folder { .. } => self.put_mark(mark).await,
            Self::Bucket(store) => {
                let replaced = store.replace_mark(&marks::text(mark)).await;
                replaced.map_err(|source| bucket_error(store, source))
            }
        }
    }

    /// Whether there are file bodies, or anything else in the bucket.
    pub(super) async fn has_bodies(&self) -> Result<bool, DataFolderError> {
        match self {
            Self::Folder { path, .. } => evidence::has_entry(path, evidence::is_folder_of_cell)
                .map_err(|source| file_error(path, source)),
            Self::Bucket(store) => {
                let is_empty = store.is_empty().await;
                Ok(!is_empty.map_err(|source| bucket_error(store, source))?)
            }
        }
    }

    /// Whether the folder has one for a cell. Units from before there were marks have no bucket.
    pub(super) fn has_folder_of(&self, cell: &CellId) -> bool {
        match self {
            Self::Folder { path, .. } => path.join(cell.to_string()).exists(),
            Self::Bucket(_) => false,
        }
    }
}

fn bucket_error(store: &S3BlobStore, source: StoreError) -> DataFolderError {
    DataFolderError::Bodies {
        place: store.place().to_owned(),
        source,
    }
}
