//! The cache of a unit: in the memory of the process, or on memcached servers that all nodes share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use personium_memcached::{MemcachedCache, MemcachedSettings, ServerState};
use personium_model::UnitUrls;
use personium_model::credentials::UnitKeys;
use personium_store::Cache;
use personium_store::memory::MemoryCache;
use personium_types::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::CacheConfig;

/// The largest number of connections to each memcached server.
const CONNECTIONS_MAX: usize = 32;

/// The cache of a unit.
#[derive(Clone)]
pub enum UnitCache {
    /// In the memory of the process.
    Memory(Arc<MemoryCache>),
    /// On memcached servers.
    Memcached(Arc<MemcachedCache>),
}

impl UnitCache {
    /// The configured cache. It connects to servers when it is used.
    #[must_use]
    pub fn open(
        config: &CacheConfig,
        (urls, keys): (&UnitUrls, &UnitKeys),
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let servers = config.memcached_servers();
        if servers.is_empty() {
            return Self::Memory(Arc::new(MemoryCache::new(config.max_bytes)));
        }
        let settings = MemcachedSettings {
            servers,
            name_key: keys.local_tokens.cache_name_key(&urls.unit()),
            timeout: Duration::from_millis(config.timeout_ms.into()),
            longest_ttl: Duration::from_secs(config.ttl_secs.into()),
            connections_max: CONNECTIONS_MAX,
        };
        Self::Memcached(Arc::new(MemcachedCache::new(&settings, Arc::clone(clock))))
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> Arc<dyn Cache> {
        match self {
            Self::Memory(cache) => Arc::clone(cache) as Arc<dyn Cache>,
            Self::Memcached(cache) => Arc::clone(cache) as Arc<dyn Cache>,
        }
    }

    /// The metrics of the servers; `None` if there are none.
    #[must_use]
    pub fn collector(&self) -> Option<Box<dyn Collector>> {
        match self {
            Self::Memory(_) => None,
            Self::Memcached(cache) => Some(Box::new(CacheServerCollector(Arc::clone(cache)))),
        }
    }
}

/// Metrics of memcached servers.
struct CacheServerCollector(Arc<MemcachedCache>);

impl fmt::Debug for CacheServerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheServerCollector")
    }
}

impl Collector for CacheServerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let states = self.0.states();
        let label = |state: &ServerState| [("server", state.address.clone())];
        let mut counters = |name: &str, help: &str, value: fn(&ServerState) -> u64| {
            let metric_type = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            for state in &states {
                let counter = ConstCounter::new(value(state));
                counter.encode(family.encode_family(&label(state))?)?;
            }
            fmt::Result::Ok(())
        };
        counters(
            "personium_cache_errors",
            "Calls of a cache server that failed or took too long.",
            |state| state.errors,
        )?;
        counters(
            "personium_cache_skipped_calls",
            "Calls that were not made because a cache server had failed.",
            |state| state.skipped,
        )?;
        let metric_type = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor(
            "personium_cache_server_skipped",
            "Whether a cache server is skipped because it failed.",
            None,
            metric_type,
        )?;
        for state in &states {
            let gauge = ConstGauge::new(i64::from(state.is_skipped));
            gauge.encode(family.encode_family(&label(state))?)?;
        }
        Ok(())
    }
}
