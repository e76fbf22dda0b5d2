//! Short-lived state of one node.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Moka;

use crate::{Cache, Result};

/// What an entry weighs besides its key and value, in bytes.
const ENTRY_OVERHEAD: usize = 128;

/// A cache in the memory of this process, bounded in bytes: when it is full, what was not used longest goes first.
///
/// A counter of [`Cache::increment`] reads as its decimal digits.
#[derive(Debug)]
pub struct MemoryCache {
    entries: Moka<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    ttl: Duration,
}

struct OwnLifetime;

impl Expiry<String, Entry> for OwnLifetime {
    fn expire_after_create(&self, _key: &String, entry: &Entry, _now: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _key: &String,
        entry: &Entry,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl MemoryCache {
    /// An empty cache of at most about `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |key: &String, entry: &Entry| {
            u32::try_from(key.len() + entry.value.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        let entries = Moka::builder()
            .max_capacity(max_bytes)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(OwnLifetime)
            .build();
        Self { entries }
    }

    #[cfg(all(test, feature = "contract"))]
    pub(super) fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.entries.get(key).map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.entries.insert(key.to_owned(), Entry { value, ttl });
        Ok(())
    }

    async fn add(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        Ok(self
            .entries
            .entry_by_ref(key)
            .or_insert_with(|| Entry { value, ttl })
            .is_fresh())
    }

    async fn increment(&self, key: &str, ttl: Duration) -> Result<u64> {
        let mut count = 0;
        self.entries.entry_by_ref(key).and_compute_with(|held| {
            count = held
                .map_or(0, |entry| number(&entry.into_value().value))
                .saturating_add(1);
            Op::Put(Entry {
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

/// The count that these digits say; 0 for anything else.
fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
