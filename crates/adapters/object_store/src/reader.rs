//! Reading of bodies.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use personium_store::checksums::{self, CHUNK_BYTES, FOOTER_BYTES, SUM_BYTES};
use personium_store::{BlobReader, ErrorDetail, Result, Space, StoreError, StoreHealth};

use crate::stream::ObjectSource;

/// The number of bytes at the end of an object that are read when it is opened: the checksums of a body of 1 GiB, or all of a
/// small object.
const TAIL_BYTES: u64 = 64 << 10;

/// The length of a read from which on the rest of the body is expected to be read too.
const READ_AHEAD_FROM: u64 = 128 << 10;

/// The number of checksums that are read at once.
const SUMS_AT_ONCE: u64 = 16 << 10;

/// The number of times that a part is read if it does not arrive as it was written.
const ATTEMPTS: u32 = 2;

/// Where the damage of bodies is reported.
pub(crate) struct DamageReports {
    pub(crate) space: Space,
    pub(crate) health: Arc<StoreHealth>,
}

/// An open body.
pub(crate) struct ObjectReader {
    source: ObjectSource,
    reports: DamageReports,
    len: u64,
    /// The end of the object.
    tail: Piece,
    /// Checksums beyond the tail.
    sums: Piece,
    /// The part that was read last, with correct checksums.
    window: Piece,
}

/// A part of an object.
#[derive(Default)]
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Piece {
    const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn slice(&self, range: &Range<u64>) -> Option<Bytes> {
        if range.start < self.start || range.end > self.end() {
            return None;
        }
        let to_usize = |at: u64| usize::try_from(at - self.start).ok();
        Some(
            self.bytes
                .slice(to_usize(range.start)?..to_usize(range.end)?),
        )
    }
}

impl ObjectReader {
    /// A reader of the body in this object; `None` if there is no such object.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Corrupt`] if the object does not end like a body.
    pub(crate) async fn open(
        mut source: ObjectSource,
        reports: DamageReports,
    ) -> Result<Option<Self>> {
        let Some((start, bytes)) = source.read_tail(TAIL_BYTES).await? else {
            return Ok(None);
        };
        let tail = Piece { start, bytes };
        let end = tail.end();
        let footer = tail.slice(&(end.saturating_sub(FOOTER_BYTES)..end));
        let len = footer.and_then(|footer| checksums::body_len(&footer, end));
        let mut reader = Self {
            source,
            reports,
            len: len.unwrap_or_default(),
            tail,
            sums: Piece::default(),
            window: Piece::default(),
        };
        match len {
            Some(_) => Ok(Some(reader)),
            None => Err(reader.damaged("it does not end with its checksums")),
        }
    }

    fn damaged(&mut self, how: &'static str) -> StoreError {
        let object = &self.source.name;
        let what = format!("the file body {object} is damaged");
        self.reports
            .health
            .report_damage(&self.reports.space, &what);
        tracing::error!(%object, how, "a file body is damaged");
        StoreError::Corrupt(ErrorDetail::new(format!("{what}: {how}")))
    }

    /// Makes the window contain the range, which consists of whole chunks.
    async fn fill(&mut self, range: Range<u64>) -> Result<()> {
        let kept = match self.window.end() {
            end if range.contains(&end) => self
                .window
                .slice(&(range.start.max(self.window.start)..end)),
            _ => None,
        };
        let kept = kept
            .filter(|_| self.window.start <= range.start)
            .unwrap_or_default();
        let from = range.start + kept.len() as u64;
        let fresh = self.read_intact(from..range.end).await?;
        let bytes = match kept.is_empty() {
            true => fresh,
            false => {
                let mut joined = BytesMut::with_capacity(kept.len() + fresh.len());
                joined.extend_from_slice(&kept);
                joined.extend_from_slice(&fresh);
                joined.freeze()
            }
        };
        let start = range.start;
        self.window = Piece { start, bytes };
        Ok(())
    }

    /// Reads whole chunks and compares them with their checksums. What does not match is read once more.
    async fn read_intact(&mut self, range: Range<u64>) -> Result<Bytes> {
        let sums = self.sums_of(&range).await?;
        let mut attempt = 1;
        loop {
            let read = self.read_part(range.clone()).await;
            match read {
                Ok(bytes) if checksums::are_intact(&bytes, &sums) => return Ok(bytes),
                Ok(_) if attempt == ATTEMPTS => {
                    return Err(self.damaged("the checksum of a part does not match"));
                }
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Ok(_) | Err(_) => {}
            }
            self.source.close();
            attempt += 1;
        }
    }

    async fn read_part(&mut self, range: Range<u64>) -> Result<Bytes> {
        if let Some(bytes) = self.tail.slice(&range) {
            return Ok(bytes);
        }
        let is_sequential = range.start > 0 && range.start == self.window.end();
        let open_end = match is_sequential || range.end - range.start >= READ_AHEAD_FROM {
            true => self.len,
            false => range.end,
        };
        self.source.read(range, open_end).await
    }

    /// Returns the checksums of whole chunks.
    async fn sums_of(&mut self, range: &Range<u64>) -> Result<Bytes> {
        let first = range.start / CHUNK_BYTES;
        let end = range.end.div_ceil(CHUNK_BYTES);
        let wanted = self.len + first * SUM_BYTES..self.len + end * SUM_BYTES;
        if let Some(sums) = self.tail.slice(&wanted) {
            return Ok(sums);
        }
        if let Some(sums) = self.sums.slice(&wanted) {
            return Ok(sums);
        }
        let all = self.len.div_ceil(CHUNK_BYTES);
        let read_end = end.max(all.min(first + SUMS_AT_ONCE));
        let start = wanted.start;
        let mut source =
            ObjectSource::new(Arc::clone(&self.source.store), self.source.name.clone());
        let end = self.len + read_end * SUM_BYTES;
        let bytes = source.read(start..end, end).await?;
        self.sums = Piece { start, bytes };
        self.sums.slice(&wanted).ok_or_else(|| {
            StoreError::Down(ErrorDetail::new(
                "failed to read the checksums of a file body",
            ))
        })
    }
}

#[async_trait]
impl BlobReader for ObjectReader {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes> {
        let wanted = self.len.saturating_sub(offset).min(max as u64);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let range = offset..offset + wanted;
        if let Some(bytes) = self.window.slice(&range) {
            return Ok(bytes);
        }
        let start = offset / CHUNK_BYTES * CHUNK_BYTES;
        let end = (range.end.div_ceil(CHUNK_BYTES) * CHUNK_BYTES).min(self.len);
        self.fill(start..end).await?;
        self.window.slice(&range).ok_or_else(|| {
            StoreError::Down(ErrorDetail::new("failed to read a part of a file body"))
        })
    }
}
