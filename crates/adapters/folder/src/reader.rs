//! Reading a body.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::{BlobReader, Result};

use crate::disk::{blocking, store_error};

/// Pieces of up to this many bytes are read on the calling thread: handing the work over would take longer.
const SMALL: usize = 64 << 10;

/// An open body. Its file may be removed meanwhile.
pub(crate) struct Reader {
    pub(crate) file: Arc<File>,
    pub(crate) len: u64,
}

#[async_trait]
impl BlobReader for Reader {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        if wanted <= SMALL {
            return read(&self.file, offset, wanted).map_err(|error| store_error(&error));
        }
        let file = Arc::clone(&self.file);
        blocking(move || read(&file, offset, wanted)).await
    }
}

fn read(file: &File, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; wanted];
    file.read_exact_at(&mut piece, offset)?;
    Ok(piece.into())
}
