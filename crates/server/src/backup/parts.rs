//! Bodies of the store of back-ups that are read in parts, from their begin on.

use bytes::Bytes;
use personium_store::{BlobReader, BlobStore, ErrorDetail, Result, Space, StoreError};
use personium_types::BlobId;

/// The bytes that are written and read at once.
pub(super) const PART_BYTES: usize = 256 << 10;

/// Reads a body that consists of entries whose lengths precede them.
pub(super) struct PartReader {
    body: Box<dyn BlobReader>,
    offset: u64,
    rest: Bytes,
}

impl PartReader {
    pub(super) fn new(body: Box<dyn BlobReader>) -> Self {
        Self {
            body,
            offset: 0,
            rest: Bytes::new(),
        }
    }

    /// The next bytes; fewer at the end of the body.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn take(&mut self, wanted: usize) -> Result<Bytes> {
        while self.rest.len() < wanted {
            let missing = (wanted - self.rest.len()).max(PART_BYTES);
            let part = self.body.read_at(self.offset, missing).await?;
            if part.is_empty() {
                break;
            }
            self.offset += part.len() as u64;
            self.rest = match self.rest.is_empty() {
                true => part,
                false => [&self.rest[..], &part[..]].concat().into(),
            };
        }
        Ok(self.rest.split_to(wanted.min(self.rest.len())))
    }

    /// The place in the body at which the next bytes begin.
    pub(super) fn position(&self) -> u64 {
        self.offset - self.rest.len() as u64
    }
}

/// Reads a list, a body of lines of JSON, as a whole.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is missing or ends too early; another failure of the store.
pub(super) async fn read_list(files: &dyn BlobStore, id: &BlobId) -> Result<Vec<u8>> {
    let body = files.open(&Space::Unit, id).await?;
    let body = body.ok_or_else(|| damaged("a list is missing"))?;
    let len = body.len();
    let mut reader = PartReader::new(body);
    let mut text = Vec::new();
    loop {
        let part = reader.take(PART_BYTES).await?;
        if part.is_empty() {
            break;
        }
        text.extend_from_slice(&part);
    }
    match text.len() as u64 == len {
        true => Ok(text),
        false => Err(damaged("a list ends too early")),
    }
}

/// Stores a list. Returns its id.
///
/// # Errors
/// A failure of the store of the back-up.
pub(super) async fn store_list(
    files: &dyn BlobStore,
    lines: impl Iterator<Item = serde_json::Value> + Send,
) -> Result<BlobId> {
    let mut body = files.create(&Space::Unit).await?;
    let mut part = String::new();
    for line in lines {
        part.push_str(&line.to_string());
        part.push('\n');
        if part.len() >= PART_BYTES {
            body.write(std::mem::take(&mut part).into()).await?;
        }
    }
    body.write(part.into()).await?;
    body.finish().await
}

/// The error of content that is not what was written.
pub(super) fn damaged(text: &'static str) -> StoreError {
    StoreError::Corrupt(ErrorDetail::new(text))
}
