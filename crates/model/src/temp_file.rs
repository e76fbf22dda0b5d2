//! Temporary files without a name, which disappear with their last handle.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::{BlobReader, ErrorDetail, StoreError};
use personium_types::{Code, Error, Result};

use crate::temp_folder::TempFolder;

/// A temporary file that is written from its begin to its end, and then read.
pub struct TempFile {
    file: Arc<File>,
    length: u64,
}

impl TempFile {
    /// Creates a file in a folder, which is created if it is missing.
    ///
    /// # Errors
    /// [`Code::StoreDown`] if the folder is on another file system than at the start; an internal error if it fails otherwise.
    pub async fn create(folder: &TempFolder) -> Result<Self> {
        let folder = folder.clone();
        let file = blocking(move || folder.create_file());
        Ok(Self {
            file: Arc::new(file.await?),
            length: 0,
        })
    }

    /// A file without a name that was written to its end.
    ///
    /// # Errors
    /// An internal error if its length is not known.
    pub fn of_written(file: File) -> Result<Self> {
        let length = file.metadata().map_err(failure)?.len();
        Ok(Self {
            file: Arc::new(file),
            length,
        })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// [`Code::StorageFull`], or an internal error if that fails.
    pub async fn append(&mut self, chunk: Bytes) -> Result<()> {
        let (file, length) = (Arc::clone(&self.file), chunk.len() as u64);
        blocking(move || (&*file).write_all(&chunk)).await?;
        self.length += length;
        Ok(())
    }

    /// The whole content.
    ///
    /// # Errors
    /// An internal error if that fails.
    pub async fn read(self) -> Result<Bytes> {
        let Self { file, length } = self;
        blocking(move || {
            let mut file = &*file;
            file.seek(SeekFrom::Start(0))?;
            let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.take(length).read_to_end(&mut content)?;
            Ok(content.into())
        })
        .await
    }

    /// The file.
    ///
    /// # Errors
    /// An internal error if it is still written to.
    pub fn into_file(self) -> Result<File> {
        let file = Arc::into_inner(self.file);
        file.ok_or_else(|| Error::internal("a temporary file is still in use"))
    }
}

/// Runs work with a file on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Error::internal)?.map_err(failure)
}

/// The error for a temporary file that cannot be written or read.
#[must_use]
pub fn failure(error: io::Error) -> Error {
    use io::ErrorKind::{NotConnected, QuotaExceeded, StorageFull};
    match error.kind() {
        NotConnected => Error::new(Code::StoreDown).with_source(error),
        StorageFull | QuotaExceeded => Error::new(Code::StorageFull).with_source(error),
        _ => Error::internal(error),
    }
}

#[async_trait]
impl BlobReader for TempFile {
    fn len(&self) -> u64 {
        self.length
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> personium_store::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let read = blocking(move || {
            let mut file = &*file;
            file.seek(SeekFrom::Start(offset))?;
            let mut content = Vec::with_capacity(max);
            file.take(max as u64).read_to_end(&mut content)?;
            Ok(content.into())
        });
        let failed = |error| {
            StoreError::Down(ErrorDetail::new("failed to read a temporary file").with_source(error))
        };
        read.await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn content_is_what_was_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut file = TempFile::create(&TempFolder::new(&path)).await.unwrap();
        for chunk in ["one", "", "two"] {
            file.append(Bytes::from(chunk)).await.unwrap();
        }
        assert_eq!(file.length(), 6);
        assert_eq!(file.read_at(2, 3).await.unwrap(), "etw");
        assert_eq!(file.read_at(5, 3).await.unwrap(), "o");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(file.read().await.unwrap(), "onetwo");
    }
}
