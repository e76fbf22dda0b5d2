//! In-memory versions of the ports.
//!
//! [`MemoryRecords`] and [`MemoryBlobs`] are the reference that engines are compared with, and serve tests.
//! [`MemoryCache`] and [`MemoryBus`] are what a unit of one node runs on.

mod blob;
mod bus;
mod cache;
mod record;

pub use blob::MemoryBlobs;
pub use bus::MemoryBus;
pub use cache::MemoryCache;
pub use record::MemoryRecords;

#[cfg(all(test, feature = "contract"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn records_keep_the_contract() {
        contract::records(Arc::new(MemoryRecords::new())).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn blobs_keep_the_contract() {
        contract::blobs(Arc::new(MemoryBlobs::new())).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn cache_keeps_the_contract() {
        contract::cache(Arc::new(MemoryCache::new(1 << 20))).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn bus_keeps_the_contract() {
        contract::bus(Arc::new(MemoryBus::new())).await;
    }

    #[tokio::test]
    async fn a_full_cache_gives_up_the_oldest() {
        use crate::Cache;
        let cache = MemoryCache::new(64 << 10);
        let ttl = std::time::Duration::from_secs(60);
        for n in 0..1000 {
            cache
                .put(&format!("k{n}"), vec![0; 1024].into(), ttl)
                .await
                .unwrap();
        }
        cache.settle();
        assert!(cache.get("k999").await.unwrap().is_some());
        assert!(cache.get("k0").await.unwrap().is_none());
    }
}
