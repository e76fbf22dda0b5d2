//! Reading of bodies.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::checksums::{self, CHUNK_BYTES, FOOTER_BYTES, SUM_BYTES};
use personium_store::{BlobReader, Result, Space, StoreHealth};
use rustix::buffer::spare_capacity;
use rustix::io::pread;

use crate::disk::{blocking, io_error};
use crate::file_calls;

/// The maximum size of a read on the calling thread, if the bytes are not in the page cache. For smaller ones, the
/// hand-over to a blocking thread takes longer than the read.
const MAX_INLINE_READ_BYTES: usize = 64 << 10;

/// The size of the footer of a file in memory.
const FOOTER_LEN: usize = 24;

/// The message of errors.
const FAILED: &str = "failed to read a file body";

/// An open body. It can be read even after its file is removed.
pub(crate) struct FolderBlobReader {
    file: Arc<File>,
    len: u64,
    /// Whether checksums follow the bytes.
    is_summed: bool,
    reports: Arc<DamageReports>,
}

/// Where the damage of a body is reported.
pub(crate) struct DamageReports {
    pub(crate) path: PathBuf,
    pub(crate) space: Space,
    pub(crate) health: Arc<StoreHealth>,
}

impl DamageReports {
    fn report(&self, error: &io::Error) {
        let file = self.path.display();
        let what = format!("the file body {file} is damaged");
        self.health.report_damage(&self.space, &what);
        tracing::error!(%file, %error, "a file body is damaged");
    }
}

impl FolderBlobReader {
    /// A reader of the body in this file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn new(file: File, reports: DamageReports) -> io::Result<Self> {
        let file_len = file.metadata()?.len();
        let mut file = file;
        let body_len = match file_len.checked_sub(FOOTER_BYTES) {
            Some(footer) => {
                let read = |file: &File| read(file, footer, FOOTER_LEN);
                let (footer, reopened) = file_calls::read(&file, &reports.path, read)?;
                file = reopened.unwrap_or(file);
                checksums::body_len(&footer, file_len)
            }
            None => None,
        };
        Ok(Self {
            file: Arc::new(file),
            len: body_len.unwrap_or(file_len),
            is_summed: body_len.is_some(),
            reports: Arc::new(reports),
        })
    }
}

impl FolderBlobReader {
    /// Returns what was read, and keeps the file if it was opened again.
    fn take(&mut self, (bytes, reopened): (Bytes, Option<File>)) -> Bytes {
        if let Some(file) = reopened {
            self.file = Arc::new(file);
        }
        bytes
    }
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
        let part = Part {
            offset,
            wanted,
            len: self.len,
            is_summed: self.is_summed,
        };
        let reports = Arc::clone(&self.reports);
        if wanted <= MAX_INLINE_READ_BYTES || is_cached(&self.file, offset + wanted as u64 - 1) {
            let part = part.read_reporting(&self.file, &reports);
            let part = part.map_err(|error| io_error(FAILED, error))?;
            return Ok(self.take(part));
        }
        let file = Arc::clone(&self.file);
        let part = blocking(FAILED, move || part.read_reporting(&file, &reports)).await?;
        Ok(self.take(part))
    }
}

/// A part of a body that is to be read.
struct Part {
    offset: u64,
    wanted: usize,
    /// The length of the whole body.
    len: u64,
    is_summed: bool,
}

impl Part {
    fn read_reporting(
        &self,
        file: &File,
        reports: &DamageReports,
    ) -> io::Result<(Bytes, Option<File>)> {
        let found = file_calls::read(file, &reports.path, |file| self.read(file));
        if let Err(error) = &found
            && matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            )
        {
            reports.report(error);
        }
        found
    }

    /// Reads the part with all of the chunks that it touches, and compares these with their checksums.
    fn read(&self, file: &File) -> io::Result<Bytes> {
        if !self.is_summed {
            return read(file, self.offset, self.wanted);
        }
        let to_usize = |n: u64| usize::try_from(n).map_err(io::Error::other);
        let first = self.offset / CHUNK_BYTES;
        let end = (self.offset + self.wanted as u64).div_ceil(CHUNK_BYTES);
        let start = first * CHUNK_BYTES;
        let bytes = to_usize((end * CHUNK_BYTES).min(self.len) - start)?;
        let chunks = read(file, start, bytes)?;
        let sums = to_usize((end - first) * SUM_BYTES)?;
        let sums = read(file, self.len + first * SUM_BYTES, sums)?;
        if !checksums::are_intact(&chunks, &sums) {
            let text = "the checksum of a part does not match";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let skipped = to_usize(self.offset - start)?;
        Ok(chunks.slice(skipped..skipped + self.wanted))
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
