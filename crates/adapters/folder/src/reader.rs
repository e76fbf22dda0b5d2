//! Reading of bodies.

use std::fs::File;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::{BlobReader, Result};
use rustix::buffer::spare_capacity;
use rustix::io::pread;

use crate::disk::{blocking, io_error};

/// The maximum size of a read on the calling thread, if the bytes are not in the page cache. For smaller ones, the
/// hand-over to a blocking thread takes longer than the read.
const MAX_INLINE_READ_BYTES: usize = 64 << 10;

/// The message of errors.
const FAILED: &str = "failed to read a file body";

/// An open body. It can be read even after its file is removed.
pub(crate) struct FolderBlobReader {
    pub(crate) file: Arc<File>,
    pub(crate) len: u64,
}

#[async_trait]
impl BlobReader for FolderBlobReader {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        if wanted <= MAX_INLINE_READ_BYTES || is_cached(&self.file, offset + wanted as u64 - 1) {
            return read(&self.file, offset, wanted).map_err(|error| io_error(FAILED, error));
        }
        let file = Arc::clone(&self.file);
        blocking(FAILED, move || read(&file, offset, wanted)).await
    }
}

/// Whether this byte is in the page cache. Files are read forwards, so the bytes before it are there too.
#[cfg(target_os = "linux")]
fn is_cached(file: &File, offset: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut byte = [0];
    let probe = &mut [io::IoSliceMut::new(&mut byte)];
    preadv2(file, probe, offset, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == 1)
}

/// Other systems have no such query.
#[cfg(not(target_os = "linux"))]
const fn is_cached(_: &File, _: u64) -> bool {
    false
}

fn read(file: &File, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(wanted);
    while chunk.len() < wanted {
        let at = offset + chunk.len() as u64;
        match pread(file, spare_capacity(&mut chunk), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    chunk.truncate(wanted);
    Ok(chunk.into())
}
