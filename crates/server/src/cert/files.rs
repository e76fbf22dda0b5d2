//! Reading and writing of files with keys and certificates.

use std::fs;
use std::io;
use std::path::Path;

use super::CertError;
use crate::written_file;
pub(super) use crate::written_file::{PRIVATE_MODE, PUBLIC_MODE};

/// The largest size of a file with a key or certificates.
const MAX_FILE_BYTES: u64 = 4 << 20;

fn error(path: &Path, source: io::Error) -> CertError {
    CertError::File {
        path: path.to_owned(),
        source,
    }
}

/// Reads a file of at most 4 MiB.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    let read = || {
        if fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read(path)
    };
    read().map_err(|source| error(path, source))
}

/// Reads a file that is UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String, CertError> {
    String::from_utf8(read(path)?).map_err(|_| {
        error(
            path,
            io::Error::new(io::ErrorKind::InvalidData, "it is no text in PEM"),
        )
    })
}

/// Whether there is a file.
pub(super) fn exists(path: &Path) -> Result<bool, CertError> {
    path.try_exists().map_err(|source| error(path, source))
}

/// Fails if there is a file.
pub(super) fn refuse_existing(path: &Path) -> Result<(), CertError> {
    match exists(path)? {
        true => Err(CertError::Exists {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Writes a file that must not exist yet; after a crash there is all of it or none.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    written_file::write_new(path, text, mode).map_err(|source| not_written(path, source))
}

fn not_written(path: &Path, source: io::Error) -> CertError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => CertError::Exists {
            path: path.to_owned(),
        },
        _ => error(path, source),
    }
}

/// Replaces the content of a file; owner and mode stay. After a crash it has the old content or the new one.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), CertError> {
    written_file::replace(path, text).map_err(|source| error(path, source))
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> Result<(), CertError> {
    let remove = || {
        fs::remove_file(path)?;
        written_file::sync_folder_of(path)
    };
    remove().map_err(|source| error(path, source))
}
