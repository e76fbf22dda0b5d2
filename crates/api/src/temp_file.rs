//! Temporary files without a name, which disappear with their last handle.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use personium_types::{Error, Result};

/// A temporary file that is written from its begin to its end, and read once.
pub(crate) struct TempFile {
    file: Arc<File>,
    length: u64,
}

impl TempFile {
    /// Creates a file in a folder, which is created if it is missing.
    ///
    /// # Errors
    /// An internal error if that fails.
    pub(crate) async fn create(folder: &Path) -> Result<Self> {
        let folder = folder.to_owned();
        let file = blocking(move || {
            std::fs::create_dir_all(&folder)?;
            tempfile::tempfile_in(&folder)
        });
        Ok(Self {
            file: Arc::new(file.await?),
            length: 0,
        })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// An internal error if that fails.
    pub(crate) async fn append(&mut self, chunk: Bytes) -> Result<()> {
        let (file, length) = (Arc::clone(&self.file), chunk.len() as u64);
        blocking(move || (&*file).write_all(&chunk)).await?;
        self.length += length;
        Ok(())
    }

    /// The whole content.
    ///
    /// # Errors
    /// An internal error if that fails.
    pub(crate) async fn read(self) -> Result<Bytes> {
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
    pub(crate) fn into_file(self) -> Result<File> {
        let file = Arc::into_inner(self.file);
        file.ok_or_else(|| Error::internal("a temporary file is still in use"))
    }
}

/// Runs work with a file on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Error::internal)?.map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn content_is_what_was_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut file = TempFile::create(&path).await.unwrap();
        for chunk in ["one", "", "two"] {
            file.append(Bytes::from(chunk)).await.unwrap();
        }
        assert_eq!(file.len(), 6);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(file.read().await.unwrap(), "onetwo");
    }
}
