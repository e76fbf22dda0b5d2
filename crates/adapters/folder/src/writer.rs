//! Writing of bodies.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use personium_store::{BlobWriter, ErrorDetail, Result, Space, StoreError};
use personium_types::BlobId;

use crate::checksums::Checksums;
use crate::disk::{self, blocking, sync_folder};
use crate::settings::BlobSync;

/// The number of bytes that are buffered before they are written to the disk.
const BUFFER_BYTES: usize = 256 << 10;

/// The message of errors.
const FAILED: &str = "failed to write a file body";

/// A body that is being written.
pub(crate) struct FolderBlobWriter {
    paths: BlobPaths,
    sync: BlobSync,
    buffer: BytesMut,
    checksums: Checksums,
    /// Created by the first write to the disk; taken while it is written to.
    file: Option<UnfinishedFile>,
    failed: bool,
}

/// The paths of a body before and after it is finished.
#[derive(Clone)]
struct BlobPaths {
    /// The folder of its space.
    space: PathBuf,
    unfinished: PathBuf,
    id: BlobId,
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
    pub(crate) fn new(root: &Path, space: &Space, id: BlobId, sync: BlobSync) -> Self {
        let paths = BlobPaths {
            space: root.join(disk::space_name(space)),
            unfinished: disk::unfinished_path(root, space, &id),
            id,
        };
        Self {
            paths,
            sync,
            buffer: BytesMut::new(),
            checksums: Checksums::default(),
            file: None,
            failed: false,
        }
    }

    async fn flush(&mut self, more: Bytes) -> Result<()> {
        if self.failed {
            return Err(already_failed());
        }
        self.failed = true;
        let buffer = self.buffer.split();
        let (file, paths) = (self.file.take(), self.paths.clone());
        let written = blocking(FAILED, move || {
            let mut file = file.map_or_else(|| create(&paths), Ok)?;
            file.file.write_all(&buffer)?;
            file.file.write_all(&more)?;
            Ok(file)
        });
        self.file = Some(written.await?);
        self.failed = false;
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for FolderBlobWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.checksums.update(&chunk);
        if self.buffer.len() + chunk.len() < BUFFER_BYTES {
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
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
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
    match fs::rename(&file.path, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match fs::create_dir(shelf) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            fs::rename(&file.path, &path)?;
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
