//! A segment of the journal of a space in a back-up: one body with entries in the order of their places.
//!
//! An entry is its place and its time in eight bytes each, the length of its changes in four, little-endian, and the changes as
//! [`personium_store::journal`] encodes them. Damage of the bytes is found by the checksums of the body; what is missing, by the numbers of
//! the commits, which have no gaps.

use bytes::{Buf, Bytes};
use personium_store::{
    BlobReader, BlobWriter, JournalEntry, JournalPosition, MAX_RECORD_BYTES, Result,
};
use personium_types::BlobId;

use super::parts::{PART_BYTES, PartReader, damaged};

/// The length of what precedes the changes of an entry.
const HEAD_BYTES: usize = 20;

/// The largest changes of an entry: those of an entry that is nearly full, and a record.
const MAX_CHANGES_BYTES: usize = MAX_RECORD_BYTES + (4 << 20);

/// Writes a segment.
pub(crate) struct SegmentWriter {
    body: Box<dyn BlobWriter>,
    pending: Vec<u8>,
}

impl SegmentWriter {
    pub(crate) fn new(body: Box<dyn BlobWriter>) -> Self {
        Self {
            body,
            pending: Vec::new(),
        }
    }

    /// Appends an entry. Places must ascend.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(crate) async fn append(&mut self, entry: &JournalEntry) -> Result<()> {
        let len = u32::try_from(entry.changes.len());
        let len = len.map_err(|_| damaged("an entry of a journal is too long"))?;
        self.pending
            .extend_from_slice(&entry.position.number().to_le_bytes());
        self.pending.extend_from_slice(&entry.time_ms.to_le_bytes());
        self.pending.extend_from_slice(&len.to_le_bytes());
        self.pending.extend_from_slice(&entry.changes);
        match self.pending.len() >= PART_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let part = std::mem::take(&mut self.pending);
        self.body.write(part.into()).await
    }

    /// Ends the segment. Returns its id.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(crate) async fn finish(mut self) -> Result<BlobId> {
        self.flush().await?;
        self.body.finish().await
    }
}

/// Reads a segment.
pub(crate) struct SegmentReader {
    body: PartReader,
}

impl SegmentReader {
    pub(crate) fn new(body: Box<dyn BlobReader>) -> Self {
        Self {
            body: PartReader::new(body),
        }
    }

    /// The next entry, and where its changes begin in the segment; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](personium_store::StoreError::Corrupt) if the segment is damaged, or another failure of the store.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, JournalEntry)>> {
        let mut head = self.body.take(HEAD_BYTES).await?;
        if head.is_empty() {
            return Ok(None);
        }
        if head.len() < HEAD_BYTES {
            return Err(damaged("a segment of a journal ends too early"));
        }
        let position = JournalPosition::from_number(head.get_u64_le());
        let time_ms = head.get_i64_le();
        let len = usize::try_from(head.get_u32_le()).unwrap_or(usize::MAX);
        if len > MAX_CHANGES_BYTES {
            return Err(damaged(
                "a segment of a journal has an entry that is too long",
            ));
        }
        let begin = self.body.position();
        let changes = self.body.take(len).await?;
        if changes.len() < len {
            return Err(damaged("a segment of a journal ends too early"));
        }
        // A copy, so that one entry does not keep the whole part in memory.
        let changes = Bytes::copy_from_slice(&changes);
        let entry = JournalEntry {
            position,
            time_ms,
            changes,
        };
        Ok(Some((begin, entry)))
    }
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryBlobs;
    use personium_store::{BlobStore, Space, StoreError};

    use super::*;
    use crate::system;

    #[tokio::test]
    async fn entries_are_read_as_they_were_written_and_a_cut_segment_is_damage() {
        let blobs = MemoryBlobs::new(system::clock(), system::random());
        let entry = |n: u64| JournalEntry {
            position: JournalPosition::new(n, 0),
            time_ms: -5,
            changes: Bytes::from(vec![7; usize::try_from(n * 1_000).unwrap()]),
        };
        let body = blobs.create(&Space::Unit).await.unwrap();
        let mut writer = SegmentWriter::new(body);
        for n in 0..700 {
            writer.append(&entry(n)).await.unwrap();
        }
        let id = writer.finish().await.unwrap();
        let mut whole = blobs.open(&Space::Unit, &id).await.unwrap().unwrap();
        let body = blobs.open(&Space::Unit, &id).await.unwrap().unwrap();
        let mut reader = SegmentReader::new(body);
        for n in 0..700 {
            let (begin, found) = reader.next().await.unwrap().unwrap();
            assert_eq!(found, entry(n));
            let there = whole.read_at(begin, found.changes.len()).await.unwrap();
            assert_eq!(there, found.changes);
        }
        assert_eq!(reader.next().await.unwrap(), None);
        for len in [7, 19, 25, 60] {
            let part = whole.read_at(0, len).await.unwrap();
            let mut cut = blobs.create(&Space::Unit).await.unwrap();
            cut.write(part).await.unwrap();
            let id = cut.finish().await.unwrap();
            let body = blobs.open(&Space::Unit, &id).await.unwrap().unwrap();
            let mut reader = SegmentReader::new(body);
            let found = loop {
                match reader.next().await {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            assert!(matches!(found, Err(StoreError::Corrupt(_))), "{len}");
        }
    }
}
