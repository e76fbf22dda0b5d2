//! File bodies: written once as a stream of chunks, read in parts, named by an id.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::BlobId;

use crate::{Result, Space};

/// The storage that a store of file bodies shares with whatever else is on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageUsage {
    /// The bytes that can still be written.
    pub available_bytes: u64,
    /// The bytes that are used.
    pub used_bytes: u64,
}

/// A store of file bodies. A body never changes. A body is in use as long as a record names it.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Starts a new body. It stays invisible until [`BlobWriter::finish`] returns.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>>;

    /// Starts a body with this id, that of a body of another store which is copied. It replaces a body with this id.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    async fn create_with_id(&self, space: &Space, id: &BlobId) -> Result<Box<dyn BlobWriter>>;

    /// Opens a body for reading. Returns `None` if no body has this id.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>>;

    /// Removes a body. Open readers can still read it. Succeeds if there is none.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()>;

    /// Lists, in the order of ids, at most `limit` finished bodies that follow `after` and are at least `min_age` old.
    ///
    /// Meant for the garbage collection.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        min_age: Duration,
        limit: usize,
    ) -> Result<Vec<BlobId>>;

    /// Removes all bodies of the space, including unfinished ones.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn drop_space(&self, space: &Space) -> Result<()>;

    /// Checks that bodies can be written.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down) if they cannot.
    async fn check(&self) -> Result<()>;

    /// How much of the storage is used; `None` if the storage has no size that can be known.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn usage(&self) -> Result<Option<StorageUsage>>;

    /// The bytes of removed bodies of the space that are kept for a journal. 0 if the store keeps none.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn kept_bytes(&self, space: &Space) -> Result<u64> {
        let _ = space;
        Ok(0)
    }

    /// Removes the removed bodies of all spaces that are kept for a journal, because their space is needed.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn free_kept(&self) -> Result<()> {
        Ok(())
    }
}

/// A body that is being written. Dropping it discards what was written.
///
/// As many can be open as there are connections, and for as long as slow clients take. An adapter bounds the memory of all of
/// them together.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends a chunk.
    ///
    /// # Errors
    /// [`Full`](crate::StoreError::Full), [`ReadOnly`](crate::StoreError::ReadOnly), [`Busy`](crate::StoreError::Busy) or
    /// [`Down`](crate::StoreError::Down). The body cannot be finished afterwards.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Makes the body durable and returns its id.
    ///
    /// # Errors
    /// Those of [`write`](Self::write); [`SpaceDropped`](crate::StoreError::SpaceDropped) if the space was dropped meanwhile.
    async fn finish(self: Box<Self>) -> Result<BlobId>;
}

/// A body that is open for reading.
#[async_trait]
pub trait BlobReader: Send {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Whether the body has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads at most `max` bytes from `offset`. Returns fewer only at the end of the body.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy), [`Down`](crate::StoreError::Down), or [`Corrupt`](crate::StoreError::Corrupt)
    /// if the stored bytes are not those that were written.
    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes>;
}
