//! Reading a body.

use std::fs::File;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::{BlobReader, Result};
use rustix::buffer::spare_capacity;
use rustix::io::pread;

use crate::disk::{blocking, store_error};

/// Pieces of up to this many bytes are read on the calling thread, as are those that the system has at hand: handing
/// the work over would take longer.
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
        if wanted <= SMALL || is_at_hand(&self.file, offset + wanted as u64 - 1) {
            return read(&self.file, offset, wanted).map_err(|error| store_error(&error));
        }
        let file = Arc::clone(&self.file);
        blocking(move || read(&file, offset, wanted)).await
    }
}

/// Whether the system has this byte in memory. Files are read forwards, so what is before it is there too.
#[cfg(target_os = "linux")]
fn is_at_hand(file: &File, offset: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut byte = [0];
    let probe = &mut [io::IoSliceMut::new(&mut byte)];
    preadv2(file, probe, offset, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == 1)
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
const fn is_at_hand(_: &File, _: u64) -> bool {
    false
}

fn read(file: &File, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(wanted);
    while piece.len() < wanted {
        let at = offset + piece.len() as u64;
        match pread(file, spare_capacity(&mut piece), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    piece.truncate(wanted);
    Ok(piece.into())
}
