//! Short-lived values that help: they may be shared by all nodes of a unit, and may vanish at any time.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// A store of values that expire.
///
/// Any value may vanish early, and whoever can write to the engine may change it. So nothing that decides rights may depend on
/// one, and callers treat an error like an absent value.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// Returns the value unless it is absent or has expired.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Sets the value. It expires after `ttl`; an engine may keep it up to two seconds longer. A value that is too large for the engine
    /// is not kept, and neither is the one before it.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()>;

    /// Sets the value if the key has none. Returns whether it was set.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn add(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool>;

    /// Adds 1 to a counter, atomically over all nodes, and restarts its time to live. Returns the new count.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn increment(&self, key: &str, ttl: Duration) -> Result<u64>;

    /// Removes the value. Succeeds if there is none.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn remove(&self, key: &str) -> Result<()>;
}
