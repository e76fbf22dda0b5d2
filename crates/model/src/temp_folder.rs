//! The folder of temporary files, on the file system that it is on when the process starts.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder for temporary files. If another file system is mounted there, or its own is unmounted, no file is created: an empty mount point is
/// on a disk that nobody has planned for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TempFolder {
    path: Arc<Path>,
    /// The number of the file system; `None` if it is not known.
    device: Option<u64>,
}

impl TempFolder {
    /// The folder with this path, which need not exist, on its file system as it is now.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            device: device_of(path).ok(),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file without a name, and the folder if it is missing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] if the folder is on another file system than at the start; if the file cannot be created.
    pub fn create_file(&self) -> io::Result<File> {
        let device = device_of(&self.path)?;
        if self.device.is_some_and(|known| known != device) {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!(
                    "{} is on another file system than when the unit started",
                    self.path.display()
                ),
            ));
        }
        fs::create_dir_all(&self.path)?;
        tempfile::tempfile_in(&*self.path)
    }
}

impl From<PathBuf> for TempFolder {
    fn from(path: PathBuf) -> Self {
        Self::new(&path)
    }
}

impl From<&str> for TempFolder {
    fn from(path: &str) -> Self {
        Self::new(Path::new(path))
    }
}

/// The number of the file system of a path, or of the nearest folder above it that exists.
///
/// # Errors
/// If none can be looked at.
pub fn device_of(path: &Path) -> io::Result<u64> {
    let path = std::path::absolute(path)?;
    for folder in path.ancestors() {
        match fs::metadata(folder) {
            Ok(found) => return Ok(found.dev()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_on_another_file_system_takes_no_file() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/folder");
        let folder = TempFolder::new(&path);
        folder.create_file().unwrap();
        // Removed by a program that cleans up: it is made again.
        fs::remove_dir_all(&path).unwrap();
        folder.create_file().unwrap();
        let device = folder.device.map(|device| device + 1);
        let elsewhere = TempFolder { device, ..folder };
        let refused = elsewhere.create_file().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotConnected);
        assert!(
            TempFolder::new(Path::new("/dev/null/nowhere"))
                .create_file()
                .is_err()
        );
    }
}
