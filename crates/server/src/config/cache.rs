//! Short-lived shared state, and locks.

use super::rule::{Flag, Number, OneOf, Text};
use super::section::section;

/// Where short-lived state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// In memcached, for several nodes.
    Memcached,
    /// In the process.
    InProcess,
}

const SHARED: OneOf<Shared> = OneOf(&[
    ("memcached", Shared::Memcached),
    ("inProcess", Shared::InProcess),
    ("none", Shared::InProcess),
]);

section! {
    /// Short-lived shared state: failed logins, one-time values, progress. Kept in the process.
    CacheSettings "Cache" {
        /// The kind of cache; in this version the state is kept in the process, whatever stands here.
        _kind: Shared = "cache.type", "memcached", SHARED;
        /// Bytes of short-lived state that are kept in the process.
        max_bytes: u64 = "cache.maxBytes", "67108864", Number(1 << 20..=1 << 36);
        /// Whether cells are cached; they always are.
        _cell: bool = "cache.cell.enabled", "true", Flag;
        /// Whether boxes are cached; they always are.
        _boxes: bool = "cache.box.enabled", "true", Flag;
        /// Whether schemas are cached; they always are.
        _schema: bool = "cache.schema.enabled", "true", Flag;
        /// Host of the cache; no effect.
        _host: String = "cache.memcached.host", "localhost", Text;
        /// Its port; no effect.
        _port: u16 = "cache.memcached.port", "11212", Number(1..=u16::MAX);
        /// Milliseconds that an operation of the cache may take; no effect.
        _timeout_ms: u32 = "cache.memcached.opTimeout", "12000", Number(1..=600_000);
        /// Seconds that an entry lives; no effect.
        _expires: u32 = "cache.memcached.expiresin", "86400", Number(1..=31_536_000);
    }
}

section! {
    /// Locks of other implementations. There are none here: a change is checked against the version it was made for.
    LockSettings "Locks (no effect)" {
        /// The kind of locks.
        _kind: Shared = "lock.type", "memcached", SHARED;
        /// Attempts to get a lock.
        _retry_times: u32 = "lock.retry.times", "50", Number(0..=100_000);
        /// Milliseconds between them.
        _retry_interval: u32 = "lock.retry.interval", "100", Number(0..=600_000);
        /// Attempts to get the lock of a cell.
        _cell_retry_times: u32 = "lock.cell.retry.times", "50", Number(0..=100_000);
        /// Milliseconds between them.
        _cell_retry_interval: u32 = "lock.cell.retry.interval", "100", Number(0..=600_000);
        /// Host of the locks.
        _host: String = "lock.memcached.host", "localhost", Text;
        /// Its port.
        _port: u16 = "lock.memcached.port", "11211", Number(1..=u16::MAX);
        /// Milliseconds that an operation may take.
        _timeout_ms: u32 = "lock.memcached.opTimeout", "12000", Number(1..=600_000);
    }
}
