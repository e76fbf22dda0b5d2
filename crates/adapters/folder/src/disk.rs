//! Names of files, and work that may wait for the disk.

use std::io;
use std::path::{Path, PathBuf};

use personium_store::{Result, Space, StoreError};
use personium_types::BlobId;

/// Where bodies lie that are being written: `<space>.<id>`.
pub(crate) const UNFINISHED: &str = "unfinished";

/// Where spaces are moved that are being removed.
pub(crate) const TRASH: &str = "trash";

/// The name of a space as a folder.
pub(crate) fn space_name(space: &Space) -> String {
    match space {
        Space::Unit => "unit".to_owned(),
        Space::Cell(id) => id.to_string(),
    }
}

/// The file of a body that is being written.
pub(crate) fn unfinished(root: &Path, space: &Space, id: &BlobId) -> PathBuf {
    root.join(UNFINISHED)
        .join(format!("{}.{id}", space_name(space)))
}

/// The file of a finished body.
pub(crate) fn body(space_folder: &Path, id: &BlobId) -> PathBuf {
    let id = id.to_string();
    space_folder.join(id.get(..2).unwrap_or_default()).join(id)
}

/// Does work that may wait for the disk on a thread made for waiting.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| store_error(&error)),
        Err(error) => Err(StoreError::Down(error.to_string())),
    }
}

/// What an error of the file system means to the caller.
pub(crate) fn store_error(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Busy(error.to_string())
        }
        _ => match error.raw_os_error() {
            // EMFILE and ENFILE: no file descriptor is free.
            Some(23 | 24) => StoreError::Busy(error.to_string()),
            _ => StoreError::Down(error.to_string()),
        },
    }
}

/// Makes `none` of an error that says that there is no such file.
pub(crate) fn absent<T>(error: io::Error, none: T) -> io::Result<T> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(none),
        _ => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}
