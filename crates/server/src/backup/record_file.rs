//! The records of a space in a back-up: one body with all keys and values in the order of the keys.
//!
//! A record is the lengths of key and value in four bytes each, little-endian, and their bytes. The number of records and the sum of
//! their checksums are in the list of the generation; damage of the bytes is found by the checksums of the body.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use personium_store::{
    BlobReader, BlobStore, BlobWriter, Key, MAX_KEY_BYTES, MAX_RECORD_BYTES, Result, Space,
    record_checksum,
};
use personium_types::BlobId;
use serde::{Deserialize, Serialize};

use super::parts::{PART_BYTES, PartReader, damaged};

/// The length of the lengths of a record.
const HEAD_BYTES: usize = 8;

/// The number of records, and the sum of their checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub(crate) struct RecordSum {
    pub(crate) records: u64,
    pub(crate) checksum: u64,
}

impl RecordSum {
    fn add(&mut self, key: &Key, value: &[u8]) {
        let sum = record_checksum::of(key.as_bytes(), 0, value).cast_unsigned();
        self.records += 1;
        self.checksum = self.checksum.wrapping_add(sum);
    }

    /// Adds the records of another file.
    pub(super) const fn add_sum(&mut self, other: Self) {
        self.records += other.records;
        self.checksum = self.checksum.wrapping_add(other.checksum);
    }

    /// Takes the records of another file away.
    pub(crate) const fn remove_sum(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.checksum = self.checksum.wrapping_sub(other.checksum);
    }
}

/// Writes the records of a space.
pub(super) struct RecordFileWriter {
    body: Box<dyn BlobWriter>,
    pending: Vec<u8>,
    sum: RecordSum,
}

impl RecordFileWriter {
    pub(super) fn new(body: Box<dyn BlobWriter>) -> Self {
        Self {
            body,
            pending: Vec::with_capacity(PART_BYTES),
            sum: RecordSum::default(),
        }
    }

    /// Appends a record. Keys must ascend.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn append(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.sum.add(key, value);
        for part in [key.as_bytes(), value] {
            let len = u32::try_from(part.len()).map_err(|_| damaged("a record is too long"))?;
            self.pending.extend_from_slice(&len.to_le_bytes());
        }
        self.pending.extend_from_slice(key.as_bytes());
        self.pending.extend_from_slice(value);
        match self.pending.len() >= PART_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let part = std::mem::replace(&mut self.pending, Vec::with_capacity(PART_BYTES));
        self.body.write(part.into()).await
    }

    /// Ends the file. Returns its id and the sum of its records.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn finish(mut self) -> Result<(BlobId, RecordSum)> {
        self.flush().await?;
        let id = self.body.finish().await?;
        Ok((id, self.sum))
    }
}

/// Reads the records of a space.
pub(crate) struct RecordFileReader {
    body: PartReader,
    sum: RecordSum,
}

impl RecordFileReader {
    pub(crate) fn new(body: Box<dyn BlobReader>) -> Self {
        Self {
            body: PartReader::new(body),
            sum: RecordSum::default(),
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file is damaged, or another failure of the store.
    pub(crate) async fn next(&mut self) -> Result<Option<(Key, Bytes)>> {
        let head = self.body.take(HEAD_BYTES).await?;
        if head.is_empty() {
            return Ok(None);
        }
        let length = |at: usize| {
            let bytes: [u8; 4] = head.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let (Some(key), Some(value)) = (length(0), length(4)) else {
            return Err(damaged("a file of records ends too early"));
        };
        if key > MAX_KEY_BYTES || value > MAX_RECORD_BYTES {
            return Err(damaged("a file of records has a record that is too long"));
        }
        let mut record = self.body.take(key + value).await?;
        if record.len() < key + value {
            return Err(damaged("a file of records ends too early"));
        }
        let key = Key::from_bytes(record.split_to(key).to_vec());
        // A copy, so that one value does not keep the whole part in memory.
        let value = Bytes::copy_from_slice(&record);
        self.sum.add(&key, &value);
        Ok(Some((key, value)))
    }

    /// The sum of the records that were read so far.
    pub(crate) const fn sum(&self) -> RecordSum {
        self.sum
    }
}

/// Reads the records of a space from its files, one after the other: the keys of each follow those of the one before.
pub(crate) struct SpaceRecordReader {
    files: Arc<dyn BlobStore>,
    space: Space,
    rest: VecDeque<BlobId>,
    current: Option<RecordFileReader>,
    /// The sum of the files that were read to their end.
    sum: RecordSum,
}

impl SpaceRecordReader {
    /// Reads these files.
    pub(crate) fn new(
        files: &Arc<dyn BlobStore>,
        space: &Space,
        ids: impl Iterator<Item = BlobId>,
    ) -> Self {
        Self {
            files: Arc::clone(files),
            space: *space,
            rest: ids.collect(),
            current: None,
            sum: RecordSum::default(),
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](personium_store::StoreError::Corrupt) if a file is missing or damaged, or another failure of the store.
    pub(crate) async fn next(&mut self) -> Result<Option<(Key, Bytes)>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(found) = current.next().await? {
                    return Ok(Some(found));
                }
                let read = current.sum();
                self.sum.add_sum(read);
                self.current = None;
            }
            let Some(id) = self.rest.pop_front() else {
                return Ok(None);
            };
            let body = self.files.open(&self.space, &id).await?;
            let body = body.ok_or_else(|| damaged("the file of its records is missing"))?;
            self.current = Some(RecordFileReader::new(body));
        }
    }

    /// The sum of the records that were read so far.
    pub(crate) fn sum(&self) -> RecordSum {
        let mut sum = self.sum;
        if let Some(current) = &self.current {
            sum.add_sum(current.sum());
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryBlobs;
    use personium_store::{BlobStore, Space, StoreError};

    use super::*;
    use crate::system;

    #[tokio::test]
    async fn records_are_read_as_they_were_written_and_a_cut_file_is_damage() {
        let blobs = MemoryBlobs::new(system::clock(), system::random());
        let body = blobs.create(&Space::Unit).await.unwrap();
        let mut writer = RecordFileWriter::new(body);
        let record = |n: usize| {
            let key = Key::table(b'k').u64(n as u64).build();
            (key, Bytes::from(vec![n.to_le_bytes()[0]; n * 1_000]))
        };
        for n in 0..700 {
            let (key, value) = record(n);
            writer.append(&key, &value).await.unwrap();
        }
        let (id, sum) = writer.finish().await.unwrap();
        let open = async || blobs.open(&Space::Unit, &id).await.unwrap().unwrap();
        let mut reader = RecordFileReader::new(open().await);
        for n in 0..700 {
            assert_eq!(reader.next().await.unwrap(), Some(record(n)));
        }
        assert_eq!(reader.next().await.unwrap(), None);
        assert_eq!((reader.sum(), sum.records), (sum, 700));

        let mut whole = open().await;
        for len in [3, 9, 20] {
            let part = whole.read_at(0, len).await.unwrap();
            let mut cut = blobs.create(&Space::Unit).await.unwrap();
            cut.write(part).await.unwrap();
            let id = cut.finish().await.unwrap();
            let body = blobs.open(&Space::Unit, &id).await.unwrap().unwrap();
            let mut reader = RecordFileReader::new(body);
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
