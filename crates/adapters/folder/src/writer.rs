//! Writing of bodies.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use personium_store::checksums::Checksums;
use personium_store::{BlobWriter, ErrorDetail, Result, Space, StoreError};
use personium_types::BlobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::disk::{self, blocking, sync_folder};
use crate::file_calls::{self, Root};
use crate::settings::BlobSync;

/// The number of bytes that are buffered before they are written to the disk.
const BUFFER_BYTES: usize = 256 << 10;

/// The number of bytes that a writer buffers while others have all large buffers.
const SMALL_BUFFER_BYTES: usize = 8 << 10;

/// The number of large buffers.
const LARGE_BUFFERS_MAX: usize = 256;

/// The large buffers that the writers of a store share: 64 MiB. The many open writers of slow clients have small ones.
#[derive(Debug, Clone)]
pub(crate) struct LargeBuffers(Arc<Semaphore>);

impl Default for LargeBuffers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BUFFERS_MAX)))
    }
}

/// The message of errors.
const FAILED: &str = "failed to write a file body";

/// A body that is being written.
pub(crate) struct FolderBlobWriter {
    paths: BlobPaths,
    sync: BlobSync,
    buffer: BytesMut,
    large_buffers: LargeBuffers,
    /// The right to a large buffer. It lasts until the buffer is written to the disk.
    large_buffer: Option<OwnedSemaphorePermit>,
    checksums: Checksums,
    /// Created by the first write to the disk; taken while it is written to.
    file: Option<UnfinishedFile>,
    failed: bool,
}

/// The paths of a body before and after it is finished.
#[derive(Clone)]
pub(crate) struct BlobPaths {
    root: Root,
    /// The folder of its space.
    space: PathBuf,
    unfinished: PathBuf,
    id: BlobId,
}

impl BlobPaths {
    pub(crate) fn new(root: &Root, space: &Space, id: BlobId) -> Self {
        Self {
            root: root.clone(),
            space: root.join(disk::space_name(space)),
            unfinished: disk::unfinished_path(&root.path, space, &id),
            id,
        }
    }
}

/// A file that is removed on drop unless it was renamed to its final name.
struct UnfinishedFile {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), %error, "failed to remove an unfinished file body");
        }
    }
}

impl FolderBlobWriter {
    pub(crate) fn new(paths: BlobPaths, sync: BlobSync, large_buffers: LargeBuffers) -> Self {
        Self {
            paths,
            sync,
            buffer: BytesMut::new(),
            large_buffers,
            large_buffer: None,
            checksums: Checksums::default(),
            file: None,
            failed: false,
        }
    }

    /// Whether the buffer may hold so many bytes.
    fn may_buffer(&mut self, bytes: usize) -> bool {
        if bytes >= BUFFER_BYTES {
            return false;
        }
        if bytes >= SMALL_BUFFER_BYTES && self.large_buffer.is_none() {
            let permit = Arc::clone(&self.large_buffers.0).try_acquire_owned();
            self.large_buffer = permit.ok();
        }
        bytes < SMALL_BUFFER_BYTES || self.large_buffer.is_some()
    }

    async fn flush(&mut self, more: Bytes) -> Result<()> {
        if self.failed {
            return Err(already_failed());
        }
        self.failed = true;
        let buffer = std::mem::take(&mut self.buffer);
        let (file, paths) = (self.file.take(), self.paths.clone());
        let written = blocking(FAILED, move || {
            let mut file = file.map_or_else(|| create(&paths), Ok)?;
            file.file.write_all(&buffer)?;
            file.file.write_all(&more)?;
            Ok(file)
        });
        self.file = Some(written.await?);
        self.large_buffer = None;
        self.failed = false;
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for FolderBlobWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.checksums.update(&chunk);
        if self.may_buffer(self.buffer.len() + chunk.len()) {
            self.buffer.extend_from_slice(&chunk);
            return Ok(());
        }
        self.flush(chunk).await
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobId> {
        if self.failed {
            return Err(already_failed());
        }
        let buffer = self.buffer.split();
        let tail = std::mem::take(&mut self.checksums).finish();
        let (file, paths, sync) = (self.file.take(), self.paths.clone(), self.sync);
        let published = blocking(FAILED, move || {
            let mut file = file.map_or_else(|| create(&paths), Ok)?;
            file.file.write_all(&buffer)?;
            file.file.write_all(&tail)?;
            match publish(&mut file, &paths, sync) {
                // The folder of the space was removed together with the unfinished file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    paths.root.check().map(|()| false)
                }
                other => other.map(|()| true),
            }
        });
        match published.await? {
            true => Ok(self.paths.id),
            false => Err(StoreError::SpaceDropped),
        }
    }
}

fn already_failed() -> StoreError {
    StoreError::Down(ErrorDetail::new("an earlier write to the file body failed"))
}

/// Creates the unfinished file, and the folder of its space.
fn create(paths: &BlobPaths) -> io::Result<UnfinishedFile> {
    paths.root.check()?;
    match fs::create_dir(&paths.space) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let path = paths.unfinished.clone();
    let file = File::create_new(&path)?;
    Ok(UnfinishedFile {
        file,
        path,
        renamed: false,
    })
}

/// Renames the file to its final name, durably if `sync` is [`BlobSync::Full`].
///
/// # Errors
/// Also if the space was dropped since the file was created.
fn publish(file: &mut UnfinishedFile, paths: &BlobPaths, sync: BlobSync) -> io::Result<()> {
    let path = disk::body_path(&paths.space, &paths.id);
    let shelf = path.parent().unwrap_or(&paths.space);
    if sync == BlobSync::Full {
        file.file.sync_data()?;
    }
    match file_calls::rename_new(&file.file, &file.path, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match fs::create_dir(shelf) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            file_calls::rename_new(&file.file, &file.path, &path)?;
            file.renamed = true;
            if sync == BlobSync::Full {
                sync_folder(&paths.space)?;
                sync_folder(paths.space.parent().unwrap_or(&paths.space))?;
            }
        }
        other => other?,
    }
    file.renamed = true;
    if sync == BlobSync::Full {
        sync_folder(shelf)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number_in_bytes(number: usize) -> [u8; 16] {
        let mut bytes = [0; 16];
        let places = bytes.iter_mut().zip(number.to_le_bytes());
        places.for_each(|(place, byte)| *place = byte);
        bytes
    }

    #[tokio::test]
    async fn writers_beyond_the_large_buffers_write_to_the_disk_instead() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(disk::UNFINISHED)).unwrap();
        let buffers = LargeBuffers::default();
        let files = || {
            let files = fs::read_dir(folder.path().join(disk::UNFINISHED));
            files.unwrap().count()
        };
        let mut writers = Vec::new();
        for number in 0..LARGE_BUFFERS_MAX + 10 {
            let id = BlobId::from_bytes(number_in_bytes(number));
            let root = Root::new(folder.path(), None);
            let paths = BlobPaths::new(&root, &Space::Unit, id);
            let writer = FolderBlobWriter::new(paths, BlobSync::None, buffers.clone());
            let mut writer = Box::new(writer);
            writer.write(Bytes::from(vec![1; 1000])).await.unwrap();
            writers.push(writer);
        }
        assert_eq!(files(), 0);
        for writer in &mut writers {
            writer.write(Bytes::from(vec![2; 20_000])).await.unwrap();
            writer.write(Bytes::from(vec![3; 1000])).await.unwrap();
        }
        assert_eq!(files(), 10);
        // One that gives its buffer back lets another have it.
        let first = writers.swap_remove(0);
        first.finish().await.unwrap();
        let last = writers.last_mut().unwrap();
        last.write(Bytes::from(vec![4; 20_000])).await.unwrap();
        assert_eq!(last.buffer.len(), 21_000);
        for writer in writers {
            writer.finish().await.unwrap();
        }
        assert_eq!(files(), 0);
    }
}
