//! The cache of one node.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Moka;

use crate::{Cache, Result};

/// The memory of an entry in bytes, without its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// A cache in the memory of this process, bounded in bytes. When it is full, the least recently used entry is evicted.
///
/// [`Cache::get`] returns a counter of [`Cache::increment`] as decimal digits.
#[derive(Debug)]
pub struct MemoryCache {
    entries: Moka<String, CacheEntry>,
}

#[derive(Debug, Clone)]
struct CacheEntry {
    value: Bytes,
    ttl: Duration,
}

struct TimeToLive;

impl Expiry<String, CacheEntry> for TimeToLive {
    fn expire_after_create(
        &self,
        _key: &String,
        entry: &CacheEntry,
        _now: Instant,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _key: &String,
        entry: &CacheEntry,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl MemoryCache {
    /// Creates an empty cache of approximately `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let entry_bytes = |key: &String, entry: &CacheEntry| {
            u32::try_from(key.len() + entry.value.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let entries = Moka::builder()
            .max_capacity(max_bytes)
            .weigher(entry_bytes)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(TimeToLive)
            .build();
        Self { entries }
    }

    #[cfg(all(test, feature = "contract"))]
    pub(super) fn run_pending_evictions(&self) {
        self.entries.run_pending_tasks();
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.entries.get(key).map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.entries
            .insert(key.to_owned(), CacheEntry { value, ttl });
        Ok(())
    }

    async fn add(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        Ok(self
            .entries
            .entry_by_ref(key)
            .or_insert_with(|| CacheEntry { value, ttl })
            .is_fresh())
    }

    async fn increment(&self, key: &str, ttl: Duration) -> Result<u64> {
        let mut count = 0;
        self.entries.entry_by_ref(key).and_compute_with(|current| {
            count = current
                .map_or(0, |entry| parse_count(&entry.into_value().value))
                .saturating_add(1);
            Op::Put(CacheEntry {
                value: count.to_string().into(),
                ttl,
            })
        });
        Ok(count)
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.entries.invalidate(key);
        Ok(())
    }
}

/// Parses the digits of a counter. Returns 0 for any other value.
fn parse_count(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
