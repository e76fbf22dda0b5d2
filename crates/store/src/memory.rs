//! In-memory versions of the ports.
//!
//! [`MemoryRecords`] and [`MemoryBlobs`] are the reference that engines are compared with, and serve tests.
//! [`MemoryCache`] is the cache of a unit with one node.

mod blob;
mod cache;
mod record;

pub use blob::MemoryBlobs;
pub use cache::MemoryCache;
pub use record::MemoryRecords;

#[cfg(all(test, feature = "contract"))]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
mod tests {
    use std::sync::Arc;

    use personium_types::{SystemClock, SystemRandom};

    use super::*;
    use crate::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_records_keep_the_contract() {
        contract::records(Arc::new(MemoryRecords::new())).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn two_clones_of_memory_records_keep_the_contract_together() {
        let one = MemoryRecords::new();
        let other = one.clone();
        contract::records_shared(Arc::new(one), Arc::new(other)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_blobs_keep_the_contract() {
        let clock = Arc::new(SystemClock::new());
        let blobs = MemoryBlobs::new(clock, Arc::new(SystemRandom::new()));
        contract::blobs(Arc::new(blobs)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_cache_keeps_the_contract() {
        contract::cache(Arc::new(MemoryCache::new(1 << 20))).await;
    }

    #[tokio::test]
    async fn full_cache_evicts_the_least_recently_used_entry() {
        use crate::Cache;
        let cache = MemoryCache::new(64 << 10);
        let ttl = std::time::Duration::from_secs(60);
        for n in 0..1000 {
            cache
                .put(&format!("k{n}"), vec![0; 1024].into(), ttl)
                .await
                .unwrap();
        }
        cache.run_pending_evictions();
        assert!(cache.get("k999").await.unwrap().is_some());
        assert!(cache.get("k0").await.unwrap().is_none());
    }
}
