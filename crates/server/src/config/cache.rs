//! Settings of the cache and of locks.

use std::net::Ipv6Addr;
use std::path::Path;

use super::section::section;
use super::value_parser::{Flag, Number, OneOf, Optional, Text, ValueParser};

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

/// The port of memcached for the cache in other implementations.
const DEFAULT_PORT: &str = "11212";

/// A server of the cache: a host, and a port if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheServer {
    host: String,
    port: Option<u16>,
}

/// Servers separated by commas or blanks, each as `host` or `host:port`.
#[derive(Debug)]
pub struct CacheServers;

impl CacheServers {
    fn server(text: &str) -> Option<CacheServer> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':')?),
                };
                (format!("[{host}]"), port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (text.to_owned(), None),
            },
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
            None => None,
        };
        (!host.is_empty() && host.chars().all(is_name)).then_some(CacheServer { host, port })
    }
}

impl ValueParser<Vec<CacheServer>> for CacheServers {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Vec<CacheServer>> {
        let words = text.split([',', ' ']).map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        words.map(Self::server).collect()
    }

    fn permitted(&self) -> String {
        "hosts, each with :port if it has one of its own, separated by commas".into()
    }
}

section! {
    /// Settings of the cache, which only makes things better: it may be lost at any time.
    CacheConfig "Cache" {
        /// The backend of the cache: memcached, which all nodes of a unit share, or the memory of each process (inProcess and
        /// none). If it is empty, memcached is used if cache.memcached.host names one. Only the delay after a failed login is
        /// in it; without a shared one, each process has delays of its own.
        backend: Option<CacheBackend> = "cache.type", "", Optional(BACKENDS);
        /// The largest size of the cache in the memory of the process in bytes.
        max_bytes: u64 = "cache.maxBytes", "67108864", Number(1 << 20..=1 << 36);
        /// Whether cells are cached.
        _cells: bool = "cache.cell.enabled", "true", Flag;
        /// Whether boxes are cached.
        _boxes: bool = "cache.box.enabled", "true", Flag;
        /// Whether schemas are cached.
        _schemas: bool = "cache.schema.enabled", "true", Flag;
        /// The hosts of memcached, which must be 1.6 or later. All nodes must name the same ones in the same words. If it is empty
        /// and cache.type is memcached, it is localhost.
        hosts: Vec<CacheServer> = "cache.memcached.host", "", CacheServers;
        /// The port of those without a port of their own.
        port: u16 = "cache.memcached.port", DEFAULT_PORT, Number(1..=u16::MAX);
        /// The number of milliseconds that an operation of memcached may take. A server that takes longer is not asked for a
        /// while.
        timeout_ms: u32 = "cache.memcached.opTimeout", "500", Number(1..=600_000);
        /// The largest number of seconds for which memcached keeps an entry.
        ttl_secs: u32 = "cache.memcached.expiresin", "86400", Number(1..=31_536_000);
    }
}

impl CacheConfig {
    /// The servers of memcached as `host:port`; none if the cache is in the memory of the process.
    #[must_use]
    pub fn memcached_servers(&self) -> Vec<String> {
        let hosts = match self.backend {
            Some(CacheBackend::InProcess) => return Vec::new(),
            Some(CacheBackend::Memcached) if self.hosts.is_empty() => {
                return vec![format!("localhost:{}", self.port)];
            }
            _ => self.hosts.iter(),
        };
        let address = |server: &CacheServer| {
            let port = server.port.unwrap_or(self.port);
            format!("{}:{port}", server.host)
        };
        hosts.map(address).collect()
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

#[cfg(test)]
mod tests {
    use crate::config::{ConfigSources, LoadedConfig};

    /// The servers with these settings; `None` if they are not permitted.
    fn servers(options: &[(&str, &str)]) -> Option<Vec<String>> {
        let options = options.iter();
        let options = options.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let sources = ConfigSources {
            options: options.collect(),
            ..ConfigSources::default()
        };
        let loaded = LoadedConfig::load(&sources).ok()?;
        assert_eq!(loaded.warnings, Vec::<String>::new());
        Some(loaded.config.cache.memcached_servers())
    }

    #[test]
    fn memcached_is_used_only_if_the_settings_name_it() {
        const TYPE: &str = "cache.type";
        const HOST: &str = "cache.memcached.host";
        const PORT: &str = "cache.memcached.port";
        for (options, expected) in [
            (&[][..], &[][..]),
            (&[(PORT, "1")], &[]),
            (&[(TYPE, "none"), (HOST, "a")], &[]),
            (&[(TYPE, "inProcess")], &[]),
            (&[(TYPE, "memcached")], &["localhost:11212"]),
            (&[(TYPE, "memcached"), (PORT, "5")], &["localhost:5"]),
            (&[(HOST, "a")], &["a:11212"]),
            (
                &[(HOST, "a:1, b 192.0.2.1:3"), (PORT, "2")],
                &["a:1", "b:2", "192.0.2.1:3"],
            ),
            (&[(HOST, "[::1],[::2]:7")], &["[::1]:11212", "[::2]:7"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(servers(options), Some(expected), "{options:?}");
        }
        for bad in [
            "a:0", "a:x", "a:99999", "::1", "a/b", "[x]:1", "[::1]1", ":1", "a:1:2",
        ] {
            assert_eq!(servers(&[(HOST, bad)]), None, "{bad}");
        }
    }
}
