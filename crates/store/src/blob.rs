//! File bodies: written once by streaming, read in pieces, named by a made-up id.

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::BlobId;

use crate::{Result, Space};

/// A place for file bodies. A body never changes; the record that names it decides whether it is alive.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Starts a new body. Nothing can be seen of it until [`BlobWriter::finish`] returns.
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>>;

    /// Opens a body for reading; `None` if there is none of this id.
    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>>;

    /// Removes a body. Readers that have it open keep it. Succeeds if there is none.
    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()>;

    /// Up to `limit` ids of finished bodies after `after` (in id order) that are older than `age_ms`, for the sweeper.
    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        age_ms: u64,
        limit: usize,
    ) -> Result<Vec<BlobId>>;

    /// Removes all bodies of the space, unfinished ones too.
    async fn drop_space(&self, space: &Space) -> Result<()>;

    /// Whether bodies can be written.
    async fn check(&self) -> Result<()>;
}

/// A body being written. Dropping it leaves nothing behind.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends a piece.
    async fn write(&mut self, piece: Bytes) -> Result<()>;

    /// Makes the body durable and gives its id.
    async fn finish(self: Box<Self>) -> Result<BlobId>;
}

/// A body being read.
#[async_trait]
pub trait BlobReader: Send {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `max` bytes from `offset`; fewer only at the end of the body.
    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes>;
}
