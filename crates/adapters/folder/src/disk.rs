//! File names and blocking file operations.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use personium_store::{ErrorDetail, Result, Space, StoreError};
use personium_types::BlobId;

/// The folder of unfinished bodies, named `<space>.<id>`.
pub(crate) const UNFINISHED: &str = "unfinished";

/// The folder of spaces that are being removed.
pub(crate) const TRASH: &str = "trash";

/// Returns the name of the folder of a space.
pub(crate) fn space_name(space: &Space) -> String {
    match space {
        Space::Unit => "unit".to_owned(),
        Space::Cell(id) => id.to_string(),
    }
}

/// Returns the path of an unfinished body.
pub(crate) fn unfinished_path(root: &Path, space: &Space, id: &BlobId) -> PathBuf {
    root.join(UNFINISHED)
        .join(format!("{}.{id}", space_name(space)))
}

/// Returns the path of a finished body.
pub(crate) fn body_path(space_folder: &Path, id: &BlobId) -> PathBuf {
    let id = id.to_string();
    space_folder.join(id.get(..2).unwrap_or_default()).join(id)
}

/// The folder of the removed bodies of a space, in its folder.
pub(crate) const REMOVED: &str = "removed";

/// Returns the path of a removed body.
pub(crate) fn removed_path(space_folder: &Path, id: &BlobId) -> PathBuf {
    space_folder.join(REMOVED).join(id.to_string())
}

/// Runs a file operation on a blocking thread. `operation` is the message of its error.
///
/// # Errors
/// As [`io_error`], or [`StoreError::Down`] if the thread panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| io_error(operation, error)),
        Err(error) => Err(StoreError::Down(
            ErrorDetail::new(operation).with_source(error),
        )),
    }
}

/// Converts an error of the file system. `operation` says what failed.
pub(crate) fn io_error(operation: impl Into<Cow<'static, str>>, error: io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full
        }
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::Corrupt,
        // EMFILE and ENFILE: no file descriptor is free.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => StoreError::Busy,
        _ => StoreError::Down,
    };
    kind(ErrorDetail::new(operation).with_source(error))
}

/// Returns `absent` if the error says that the file does not exist.
///
/// # Errors
/// Any other error.
pub(crate) fn ignore_not_found<T>(error: io::Error, absent: T) -> io::Result<T> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(absent),
        _ => Err(error),
    }
}

/// Syncs the names in a folder to the disk.
///
/// # Errors
/// If the folder cannot be synced.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}
