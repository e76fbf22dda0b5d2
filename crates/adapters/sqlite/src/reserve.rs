//! The reserve: disk space that is held in a file and given up when the disk is full, so that data can still be removed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// The largest part of a disk that the reserve takes, as a divisor.
const MAX_PART: u64 = 16;

/// The size of the pieces in which space is written where the file system cannot allocate it.
const PIECE: &[u8] = &[0; 64 << 10];

/// Disk space that is held until it is needed.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// A reserve in this file of `bytes` bytes, or less if the disk or a limit on the size of files does not allow that. It
    /// is not allocated yet.
    pub(crate) fn new(path: PathBuf, bytes: u64) -> Self {
        let disk = path.parent().and_then(|folder| statvfs(folder).ok());
        let disk = disk.and_then(|disk| disk.f_blocks.checked_mul(disk.f_frsize));
        let bytes = bytes.min(disk.map_or(0, |bytes| bytes / MAX_PART));
        let bytes = match file_size_limit() {
            Some(limit) if limit < bytes => 0,
            _ => bytes,
        };
        Self { path, bytes }
    }

    /// Its whole size in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Allocates `bytes` bytes. Removes the file if that fails.
    ///
    /// # Errors
    /// If there is not enough space.
    pub(crate) fn allocate(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return self.release();
        }
        let allocated = allocate(&self.path, bytes);
        if allocated.is_err() {
            self.release()?;
        }
        allocated
    }

    /// Gives the space up.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn release(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Allocates space for a file, which is created if it does not exist.
///
/// # Errors
/// If there is not enough space.
pub(crate) fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            let mut left = bytes;
            while left > 0 {
                let piece = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE.len());
                file.write_all(PIECE.get(..piece).unwrap_or(PIECE))?;
                left -= piece as u64;
            }
            file.sync_data()
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the limit of this process on the size of a file.
pub(crate) fn file_size_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_takes_space_and_gives_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path().join("reserve"), 1 << 20);
        assert_eq!(reserve.bytes(), 1 << 20);
        reserve.allocate(1 << 20).unwrap();
        reserve.allocate(1 << 20).unwrap();
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), 1 << 20);
        reserve.release().unwrap();
        reserve.release().unwrap();
        assert!(!reserve.path.exists());
    }

    #[test]
    fn reserve_that_cannot_be_allocated_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path().join("reserve"), u64::MAX);
        assert!(reserve.bytes() < u64::MAX);
        assert!(reserve.allocate(1 << 60).is_err());
        assert!(!reserve.path.exists());
    }
}
