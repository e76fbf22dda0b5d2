//! The contract of [`Cache`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_types::{BlobId, SystemRandom};

use crate::Cache;

const LONG_TTL: Duration = Duration::from_secs(600);
const SHORT_TTL: Duration = Duration::from_secs(1);

/// Checks the contract of [`Cache`]. Takes some seconds, since values must expire.
///
/// # Panics
/// If the cache breaks the contract.
pub async fn cache(cache: Arc<dyn Cache>) {
    let unique = BlobId::random(&SystemRandom::new()).to_string();
    let key = |name: &str| format!("{unique}:{name}");
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());

    assert_eq!(cache.get(&key("a")).await.unwrap(), None);
    cache.put(&key("a"), value("one"), LONG_TTL).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), Some(value("one")));
    cache.put(&key("a"), value("two"), LONG_TTL).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), Some(value("two")));
    assert!(
        !cache
            .add(&key("a"), value("three"), LONG_TTL)
            .await
            .unwrap()
    );
    cache.remove(&key("a")).await.unwrap();
    cache.remove(&key("a")).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), None);
    assert!(
        cache
            .add(&key("a"), value("three"), LONG_TTL)
            .await
            .unwrap()
    );
    assert_eq!(cache.get(&key("a")).await.unwrap(), Some(value("three")));

    exactly_one_concurrent_add_succeeds(&cache, &key("race")).await;
    no_concurrent_increment_is_lost(&cache, &key("count")).await;

    cache
        .put(&key("short"), value("x"), SHORT_TTL)
        .await
        .unwrap();
    assert!(
        cache
            .add(&key("short-add"), value("x"), SHORT_TTL)
            .await
            .unwrap()
    );
    assert_eq!(
        cache
            .increment(&key("short-count"), SHORT_TTL)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        cache
            .increment(&key("long-count"), SHORT_TTL)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        cache.increment(&key("long-count"), LONG_TTL).await.unwrap(),
        2
    );
    assert_eq!(cache.get(&key("short")).await.unwrap(), Some(value("x")));
    // An engine may count in whole seconds.
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    assert_eq!(cache.get(&key("short")).await.unwrap(), None);
    assert!(
        cache
            .add(&key("short-add"), value("y"), LONG_TTL)
            .await
            .unwrap()
    );
    assert_eq!(
        cache
            .increment(&key("short-count"), LONG_TTL)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        cache.increment(&key("long-count"), LONG_TTL).await.unwrap(),
        3
    );
}

async fn exactly_one_concurrent_add_succeeds(cache: &Arc<dyn Cache>, key: &str) {
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let (cache, key) = (Arc::clone(cache), key.to_owned());
            tokio::spawn(async move {
                cache
                    .add(&key, n.to_string().into(), LONG_TTL)
                    .await
                    .unwrap()
                    .then_some(n)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(
        cache.get(key).await.unwrap(),
        Some(winners[0].to_string().into())
    );
}

async fn no_concurrent_increment_is_lost(cache: &Arc<dyn Cache>, key: &str) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (cache, key) = (Arc::clone(cache), key.to_owned());
            tokio::spawn(async move {
                let mut counts = Vec::new();
                for _ in 0..50 {
                    counts.push(cache.increment(&key, LONG_TTL).await.unwrap());
                }
                counts
            })
        })
        .collect();
    let mut counts = Vec::new();
    for task in tasks {
        counts.extend(task.await.unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=400).collect::<Vec<u64>>());
}
