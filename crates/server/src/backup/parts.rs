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

/// The largest list, in bytes: that of some millions of cells.
const MAX_LIST_BYTES: u64 = 2 << 30;

/// The longest line of a list, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads a list, a body of lines of JSON, line by line.
pub(super) struct ListReader {
    body: PartReader,
    /// The bytes that were not read from the body yet.
    left: u64,
    /// The bytes that were read and not returned.
    rest: Bytes,
}

impl ListReader {
    /// Opens a list.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is missing or too long; another failure of the store.
    pub(super) async fn open(files: &dyn BlobStore, id: &BlobId) -> Result<Self> {
        let body = files.open(&Space::Unit, id).await?;
        let body = body.ok_or_else(|| damaged("a list is missing"))?;
        let left = body.len();
        match left > MAX_LIST_BYTES {
            true => Err(damaged("a list is too long")),
            false => Ok(Self {
                body: PartReader::new(body),
                left,
                rest: Bytes::new(),
            }),
        }
    }

    /// The next line that is not empty, without its end; `None` after the last one.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the list ends too early or has a line that is too long; another failure of the store.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let mut line = self.rest.split_to(at + 1);
                line.truncate(at);
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.rest.len() > MAX_LINE_BYTES {
                return Err(damaged("a list has a line that is too long"));
            }
            let part = self.body.take(PART_BYTES).await?;
            self.left = self.left.saturating_sub(part.len() as u64);
            match (part.is_empty(), self.left) {
                (true, 0) if self.rest.is_empty() => return Ok(None),
                (true, 0) => return Ok(Some(std::mem::take(&mut self.rest))),
                (true, _) => return Err(damaged("a list ends too early")),
                (false, _) if self.rest.is_empty() => self.rest = part,
                (false, _) => self.rest = [&self.rest[..], &part[..]].concat().into(),
            }
        }
    }

    /// Refuses what follows the last line: the checksums of a body whose end is damaged look like content.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there is something; another failure of the store.
    pub(super) async fn expect_end(&mut self) -> Result<()> {
        match self.next().await? {
            None => Ok(()),
            Some(_) => Err(damaged("a list goes on after its end")),
        }
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
