//! Settings of the cache and of locks.

use super::section::section;
use super::value_parser::{Flag, Number, OneOf, Text};

/// The backend of the cache or of locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheBackend {
    /// Memcached, for several nodes.
    Memcached,
    /// The memory of the process.
    InProcess,
}

const BACKENDS: OneOf<CacheBackend> = OneOf(&[
    ("memcached", CacheBackend::Memcached),
    ("inProcess", CacheBackend::InProcess),
    ("none", CacheBackend::InProcess),
]);

section! {
    /// Settings of the cache: failed logins, one-time tokens, progress. This version keeps it in the memory of the process.
    CacheConfig "Cache" {
        /// The backend of the cache.
        _backend: CacheBackend = "cache.type", "memcached", BACKENDS;
        /// The largest size of the cache in bytes.
        max_bytes: u64 = "cache.maxBytes", "67108864", Number(1 << 20..=1 << 36);
        /// Whether cells are cached.
        _cells: bool = "cache.cell.enabled", "true", Flag;
        /// Whether boxes are cached.
        _boxes: bool = "cache.box.enabled", "true", Flag;
        /// Whether schemas are cached.
        _schemas: bool = "cache.schema.enabled", "true", Flag;
        /// The host of memcached.
        _host: String = "cache.memcached.host", "localhost", Text;
        /// The port of memcached.
        _port: u16 = "cache.memcached.port", "11212", Number(1..=u16::MAX);
        /// The number of milliseconds that an operation of memcached may take.
        _timeout_ms: u32 = "cache.memcached.opTimeout", "12000", Number(1..=600_000);
        /// The number of seconds for which memcached keeps an entry.
        _ttl_secs: u32 = "cache.memcached.expiresin", "86400", Number(1..=31_536_000);
    }
}

section! {
    /// Settings of the locks of other implementations. They have no effect: instead of taking a lock, a commit asserts the
    /// versions that it is based on.
    LockConfig "Locks (no effect)" {
        /// The backend of locks.
        _backend: CacheBackend = "lock.type", "memcached", BACKENDS;
        /// The number of attempts to take a lock.
        _attempts: u32 = "lock.retry.times", "50", Number(0..=100_000);
        /// The number of milliseconds between two attempts.
        _retry_interval_ms: u32 = "lock.retry.interval", "100", Number(0..=600_000);
        /// The number of attempts to take the lock of a cell.
        _cell_attempts: u32 = "lock.cell.retry.times", "50", Number(0..=100_000);
        /// The number of milliseconds between two attempts to take the lock of a cell.
        _cell_retry_interval_ms: u32 = "lock.cell.retry.interval", "100", Number(0..=600_000);
        /// The host of memcached.
        _host: String = "lock.memcached.host", "localhost", Text;
        /// The port of memcached.
        _port: u16 = "lock.memcached.port", "11211", Number(1..=u16::MAX);
        /// The number of milliseconds that an operation of memcached may take.
        _timeout_ms: u32 = "lock.memcached.opTimeout", "12000", Number(1..=600_000);
    }
}
