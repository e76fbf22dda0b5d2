//! Receiving the bodies of files.

use bytes::{Bytes, BytesMut};
use personium_store::{Batch, BlobWriter, Expect, Space};
use personium_types::{BlobId, CellId, Code, Error, Result};

use super::encryption::SealedWriter;
use crate::concurrency_limiter::{LimiterPermit, StepPermits};
use crate::low_space::DiskContent;
use crate::node::FileBody;
use crate::records::store_error;
use crate::{Resource, Unit, keys, usage};

/// A body that is being received. Dropping it leaves nothing behind.
///
/// A small body is collected in memory. A larger one is written to the blob store chunk by chunk. It has a permit of the
/// limiter of uploads only while the store takes a chunk, not while it waits for the client: uploads of slow clients, however
/// many, do not keep others waiting. What an upload has meanwhile (the begin of a body, an open file) is bounded by the number
/// of connections.
pub struct Upload<'u> {
    unit: &'u Unit,
    space: Space,
    small: BytesMut,
    large: Option<Box<dyn BlobWriter>>,
    /// `None` if it needs no permits.
    permits: Option<StepPermits<'u>>,
    /// The salt of a large body that is encrypted.
    salt: Option<String>,
    length: u64,
    /// The largest length by the quotas.
    quota_left: Option<u64>,
}

/// The headers of an upload that are stored with its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHeaders {
    /// `Content-Type`
    pub media_type: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
}

/// A body that was received completely, and is not named by a file yet.
pub struct ReceivedBody {
    pub(super) body: FileBody,
    /// The bytes of a small body.
    pub(super) inline: Option<Bytes>,
}

impl ReceivedBody {
    /// Adds to a batch that the body is kept. Returns what a file names it by.
    #[must_use]
    pub fn keep(self, batch: &mut Batch) -> FileBody {
        self.put_record(batch);
        self.body
    }

    /// Adds the record of the body to a batch. The batch is refused if another server node has removed the body: a process that was
    /// suspended may end an upload after hours.
    pub(super) fn put_record(&self, batch: &mut Batch) {
        let blob = &self.body.blob;
        usage::add_files(batch, 0_i64.saturating_add_unsigned(self.body.length));
        match &self.inline {
            Some(bytes) => batch.put(keys::inline_body(blob), bytes.clone()),
            None => {
                batch.assert(keys::removed_orphan(blob), Expect::Absent);
                batch.put(keys::blob_reference(blob), Bytes::new());
            }
        }
    }
}

impl<'u> Upload<'u> {
    /// Starts an upload into a cell.
    #[must_use]
    pub fn new(unit: &'u Unit, resource: &Resource) -> Self {
        Self {
            permits: Some(unit.limits().uploads.steps(resource.context.cell().id)),
            ..Self::without_permit(unit, resource)
        }
    }

    /// Starts an upload that takes no permit of the upload limiter, for a caller that is limited by another one.
    #[must_use]
    pub fn without_permit(unit: &'u Unit, resource: &Resource) -> Self {
        Self::into_cell(unit, resource.context.cell().id)
    }

    /// As [`Self::without_permit`], into the cell with this id.
    #[must_use]
    pub fn into_cell(unit: &'u Unit, cell: CellId) -> Self {
        Self {
            unit,
            permits: None,
            space: Space::Cell(cell),
            small: BytesMut::new(),
            large: None,
            salt: None,
            length: 0,
            quota_left: None,
        }
    }

    /// The same upload, which is refused when it becomes longer than the quotas permit.
    #[must_use]
    pub fn within(self, quota_left: Option<u64>) -> Self {
        Self { quota_left, ..self }
    }

    /// Refuses a length in bytes that the quotas do not permit.
    ///
    /// # Errors
    /// [`Code::OverQuota`]
    pub fn check_length(&self, length: u64) -> Result<()> {
        match self.quota_left {
            Some(left) if length > left => Err(Error::new(Code::OverQuota).with("The quota")),
            _ => Ok(()),
        }
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`] beyond the largest size of a file, [`Code::OverQuota`], [`Code::ServerBusy`] if there are too many uploads, in all or
    /// into this cell; [`Code::ReadDeleteOnly`] if the body needs the disk of file bodies, which has little space left; a failure of the store.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let limits = &self.unit.settings().dav;
        self.length = self.length.saturating_add(chunk.len() as u64);
        if let Some(max) = limits.file_max_bytes.filter(|max| self.length > *max) {
            return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
        }
        self.check_length(self.length)?;
        if self.large.is_none() && self.length <= limits.inline_max_bytes as u64 {
            self.small.extend_from_slice(&chunk);
            return Ok(());
        }
        let _permit = self.next_permit().await?;
        if self.large.is_none() {
            self.large = Some(self.begin_large().await?);
        }
        match &mut self.large {
            Some(writer) => writer.write(chunk).await.map_err(store_error),
            None => Ok(()),
        }
    }

    /// Whether all of it so far is in memory, so that nothing was waited for.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.large.is_none()
    }

    /// Waits for the permit to use the store.
    async fn next_permit(&mut self) -> Result<Option<LimiterPermit>> {
        match &mut self.permits {
            Some(permits) => permits.next().await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins a body in the blob store with what was received so far.
    async fn begin_large(&mut self) -> Result<Box<dyn BlobWriter>> {
        if self.unit.low_space().is_low(DiskContent::Bodies) {
            return Err(Code::ReadDeleteOnly.into());
        }
        let blobs = self.unit.blobs();
        let mut writer = blobs.create(&self.space).await.map_err(store_error)?;
        if let Some((salt, cipher)) = self.unit.new_cipher(&self.space).await? {
            writer = Box::new(SealedWriter::new(writer, cipher));
            self.salt = Some(salt);
        }
        let received = std::mem::take(&mut self.small).freeze();
        if !received.is_empty() {
            writer.write(received).await.map_err(store_error)?;
        }
        Ok(writer)
    }

    /// Ends the upload. A large body is durable then, but no file names it yet.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if the store is too busy for 30 seconds; a failure of the store; an internal error if the body
    /// cannot be encrypted.
    pub async fn finish(mut self, headers: FileHeaders) -> Result<ReceivedBody> {
        let length = self.length;
        let (blob, salt, inline) = match self.large.take() {
            Some(writer) => {
                let _permit = self.next_permit().await?;
                let blob = writer.finish().await.map_err(store_error)?;
                (blob, self.salt, None)
            }
            None => {
                let content = self.small.freeze();
                let (salt, content) = match self.unit.new_cipher(&self.space).await? {
                    Some((salt, cipher)) => {
                        let sealed = cipher.seal(&content).map_err(Error::internal)?;
                        (Some(salt), sealed.into())
                    }
                    None => (None, content),
                };
                (BlobId::random(self.unit.random()), salt, Some(content))
            }
        };
        let body = FileBody {
            blob,
            inline: inline.is_some(),
            salt,
            length,
            media_type: headers.media_type,
            content_encoding: headers.content_encoding,
        };
        Ok(ReceivedBody { body, inline })
    }
}
