//! Short-lived state that all nodes share: failed logins, one-time values, progress.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// Values that expire. Stored data must stay correct when all of them are lost.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The value, if it is there and has not expired.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Sets the value for this long.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()>;

    /// Sets the value unless there is one; whether it was set.
    async fn add(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool>;

    /// Adds 1 to a counter, atomically over all nodes, and starts its life anew; the new count.
    async fn increment(&self, key: &str, ttl: Duration) -> Result<u64>;

    /// Removes the value.
    async fn remove(&self, key: &str) -> Result<()>;
}
