//! Writing a body.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use personium_store::{BlobWriter, Result, Space, StoreError};
use personium_types::BlobId;

use crate::Sync;
use crate::disk::{self, blocking, sync_folder};

/// Small pieces are collected to this many bytes before they go to the disk.
const COLLECT: usize = 256 << 10;

/// A body being written.
pub(crate) struct Writer {
    place: Place,
    sync: Sync,
    collected: BytesMut,
    /// Made when there is something to write; taken while it is written to.
    file: Option<Unfinished>,
    failed: bool,
}

/// Where a body is and will be.
#[derive(Clone)]
struct Place {
    /// The folder of its space.
    space: PathBuf,
    unfinished: PathBuf,
    id: BlobId,
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
    pub(crate) fn new(root: &Path, space: &Space, sync: Sync) -> Self {
        let id = BlobId::random();
        let place = Place {
            space: root.join(disk::space_name(space)),
            unfinished: disk::unfinished(root, space, &id),
            id,
        };
        Self {
            place,
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
        let (file, place) = (self.file.take(), self.place.clone());
        let written = blocking(move || {
            let mut file = file.map_or_else(|| create(&place), Ok)?;
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
        let (file, place, sync) = (self.file.take(), self.place.clone(), self.sync);
        blocking(move || {
            let mut file = file.map_or_else(|| create(&place), Ok)?;
            file.file.write_all(&collected)?;
            publish(&mut file, &place, sync)
        })
        .await?;
        Ok(self.place.id)
    }
}

fn create(place: &Place) -> io::Result<Unfinished> {
    match fs::create_dir(&place.space) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let path = place.unfinished.clone();
    let file = File::create_new(&path)?;
    Ok(Unfinished {
        file,
        path,
        renamed: false,
    })
}

/// Gives the file its final name, so that it is found after a power cut if `sync` says so. Fails if the space was
/// dropped meanwhile.
fn publish(file: &mut Unfinished, place: &Place, sync: Sync) -> io::Result<()> {
    let path = disk::body(&place.space, &place.id);
    let shelf = path.parent().unwrap_or(&place.space);
    if sync == Sync::Full {
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
            if sync == Sync::Full {
                sync_folder(&place.space)?;
                sync_folder(place.space.parent().unwrap_or(&place.space))?;
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
