//! Writing a body.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use personium_store::{BlobWriter, Result, StoreError};
use personium_types::BlobId;

use crate::Sync;
use crate::disk::{self, blocking, sync_folder};

/// Small pieces are collected to this many bytes before they go to the disk.
const COLLECT: usize = 256 << 10;

/// A body being written.
pub(crate) struct Writer {
    space_folder: PathBuf,
    id: BlobId,
    sync: Sync,
    collected: BytesMut,
    /// Made when there is something to write; taken while it is written to.
    file: Option<Unfinished>,
    failed: bool,
}

/// A file that is removed unless it gets its final name.
struct Unfinished {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), %error, "cannot remove an unfinished body");
        }
    }
}

impl Writer {
    pub(crate) fn new(space_folder: PathBuf, sync: Sync) -> Self {
        let id = BlobId::random();
        Self {
            space_folder,
            id,
            sync,
            collected: BytesMut::new(),
            file: None,
            failed: false,
        }
    }

    async fn flush(&mut self, more: Bytes) -> Result<()> {
        if self.failed {
            return Err(StoreError::Down(
                "an earlier piece could not be written".into(),
            ));
        }
        self.failed = true;
        let collected = self.collected.split();
        let (file, folder, id) = (self.file.take(), self.space_folder.clone(), self.id);
        let written = blocking(move || {
            let mut file = file.map_or_else(|| create(&folder, &id), Ok)?;
            file.file.write_all(&collected)?;
            file.file.write_all(&more)?;
            Ok(file)
        });
        self.file = Some(written.await?);
        self.failed = false;
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        if self.collected.len() + piece.len() < COLLECT {
            self.collected.extend_from_slice(&piece);
            return Ok(());
        }
        self.flush(piece).await
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobId> {
        if self.failed {
            return Err(StoreError::Down("a piece could not be written".into()));
        }
        let collected = self.collected.split();
        let (file, folder, id, sync) = (
            self.file.take(),
            self.space_folder.clone(),
            self.id,
            self.sync,
        );
        blocking(move || {
            let mut file = file.map_or_else(|| create(&folder, &id), Ok)?;
            file.file.write_all(&collected)?;
            publish(&mut file, &folder, &id, sync)
        })
        .await?;
        Ok(self.id)
    }
}

fn create(space_folder: &Path, id: &BlobId) -> io::Result<Unfinished> {
    let folder = space_folder.join(disk::UNFINISHED);
    let path = folder.join(id.to_string());
    let file = match File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&folder)?;
            File::create_new(&path)?
        }
        other => other?,
    };
    Ok(Unfinished {
        file,
        path,
        renamed: false,
    })
}

/// Gives the file its final name, so that it is found after a power cut if `sync` says so.
fn publish(file: &mut Unfinished, space_folder: &Path, id: &BlobId, sync: Sync) -> io::Result<()> {
    let path = disk::body(space_folder, id);
    let shelf = path.parent().unwrap_or(space_folder);
    if sync == Sync::Full {
        file.file.sync_data()?;
    }
    match fs::rename(&file.path, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(shelf)?;
            fs::rename(&file.path, &path)?;
            file.renamed = true;
            if sync == Sync::Full {
                sync_folder(space_folder)?;
                sync_folder(space_folder.parent().unwrap_or(space_folder))?;
            }
        }
        other => other?,
    }
    file.renamed = true;
    if sync == Sync::Full {
        sync_folder(shelf)?;
    }
    Ok(())
}
