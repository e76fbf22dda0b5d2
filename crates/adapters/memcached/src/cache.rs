//! The cache on one or several servers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use personium_store::{Cache, ErrorDetail, Result, StoreError};
use personium_types::Clock;

use crate::connection::Answer;
use crate::expiry::expiry;
use crate::protocol::{Command, MAX_VALUE_BYTES};
use crate::server::{CallError, Server, ServerState};

/// The settings of a cache.
pub struct MemcachedSettings {
    /// The servers, as `host:port`. All nodes of a unit must name the same ones in the same words, in any order.
    pub servers: Vec<String>,
    /// The key with which the names of values are hashed. Units with different keys can share a server.
    pub name_key: [u8; 32],
    /// The longest time of a call.
    pub timeout: Duration,
    /// The longest time for which a value is kept, whatever time to live it is given.
    pub longest_ttl: Duration,
    /// The largest number of connections to each server.
    pub connections_max: usize,
}

/// A cache on memcached. A value belongs to one server, by rendezvous hashing; while that server fails, calls for its values fail.
///
/// A value of more than a million bytes is not stored.
pub struct MemcachedCache {
    servers: Vec<WeightedServer>,
    name_key: hmac::Key,
    longest_ttl: Duration,
    clock: Arc<dyn Clock>,
}

/// A server, with the number that stands for it in the choice of the server of a value.
struct WeightedServer {
    seed: u64,
    server: Server,
}

/// A value: its name on the servers, and the server that it belongs to.
struct Place<'c> {
    name: String,
    server: &'c Server,
}

impl MemcachedCache {
    /// A cache on these servers. It connects when it is used.
    #[must_use]
    pub fn new(settings: &MemcachedSettings, clock: Arc<dyn Clock>) -> Self {
        let server = |address: &String| WeightedServer {
            seed: leading_u64(digest(&SHA256, address.as_bytes()).as_ref()),
            server: Server::new(
                address.clone(),
                settings.timeout,
                settings.connections_max,
                Arc::clone(&clock),
            ),
        };
        Self {
            servers: settings.servers.iter().map(server).collect(),
            name_key: hmac::Key::new(hmac::HMAC_SHA256, &settings.name_key),
            longest_ttl: settings.longest_ttl,
            clock,
        }
    }

    /// The state of each server.
    #[must_use]
    pub fn states(&self) -> Vec<ServerState> {
        let servers = self.servers.iter();
        servers.map(|weighted| weighted.server.state()).collect()
    }

    /// The place of a value. Its name is a keyed hash of `key`: of any length and content, and nothing on the server tells
    /// names of accounts or addresses.
    fn place(&self, key: &str) -> Result<Place<'_>> {
        let tag = hmac::sign(&self.name_key, key.as_bytes());
        let hash = leading_u64(tag.as_ref());
        let servers = self.servers.iter();
        let chosen = servers.max_by_key(|weighted| mix(weighted.seed ^ hash));
        let Some(chosen) = chosen else {
            return Err(StoreError::Down(ErrorDetail::new(
                "there is no memcached server",
            )));
        };
        Ok(Place {
            name: URL_SAFE_NO_PAD.encode(tag),
            server: &chosen.server,
        })
    }

    fn expiry(&self, ttl: Duration) -> u64 {
        expiry(ttl.min(self.longest_ttl), self.clock.now_ms())
    }
}

impl Place<'_> {
    async fn call(&self, command: Command<'_>) -> Result<Answer> {
        let called = self.server.call(&self.name, &command).await;
        called.map_err(|error| failure(error, "failed to use the cache"))
    }
}

fn failure(error: CallError, operation: &'static str) -> StoreError {
    StoreError::Down(ErrorDetail::new(operation).with_source(error))
}

/// The error for an answer that does not belong to its command.
fn unexpected() -> StoreError {
    StoreError::Down(ErrorDetail::new(
        "memcached gave the answer of another command",
    ))
}

/// The first eight bytes as a number.
fn leading_u64(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk::<8>().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}

/// The finalizer of SplitMix64: spreads a difference of one bit over all bits.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[async_trait]
impl Cache for MemcachedCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.place(key)?.call(Command::Get).await? {
            Answer::Value(value) => Ok(Some(value)),
            Answer::Absent => Ok(None),
            Answer::Done | Answer::Present => Err(unexpected()),
        }
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        if value.len() > MAX_VALUE_BYTES {
            return self.remove(key).await;
        }
        let expiry = self.expiry(ttl);
        let value = &value;
        match self
            .place(key)?
            .call(Command::Set { value, expiry })
            .await?
        {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn add(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        if value.len() > MAX_VALUE_BYTES {
            return Ok(false);
        }
        let expiry = self.expiry(ttl);
        let value = &value;
        match self
            .place(key)?
            .call(Command::Add { value, expiry })
            .await?
        {
            Answer::Done => Ok(true),
            Answer::Present => Ok(false),
            _ => Err(unexpected()),
        }
    }

    async fn increment(&self, key: &str, ttl: Duration) -> Result<u64> {
        let expiry = self.expiry(ttl);
        match self.place(key)?.call(Command::Increment { expiry }).await? {
            Answer::Value(digits) => {
                let text = str::from_utf8(&digits).ok();
                let count = text.and_then(|text| text.trim().parse().ok());
                count.ok_or_else(unexpected)
            }
            _ => Err(unexpected()),
        }
    }

    async fn remove(&self, key: &str) -> Result<()> {
        match self.place(key)?.call(Command::Remove).await? {
            Answer::Done | Answer::Absent => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use personium_types::SystemClock;

    use super::*;

    fn cache(servers: &[&str], name_key: u8) -> MemcachedCache {
        let settings = MemcachedSettings {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            name_key: [name_key; 32],
            timeout: Duration::from_secs(1),
            longest_ttl: Duration::from_secs(60),
            connections_max: 1,
        };
        MemcachedCache::new(&settings, Arc::new(SystemClock::new()))
    }

    #[test]
    fn names_on_the_server_are_short_printable_and_those_of_the_unit() {
        let (one, other) = (cache(&["a:1"], 1), cache(&["a:1"], 2));
        let long = "x".repeat(10_000);
        let mut names = Vec::new();
        for key in ["a", "a b", "a\r\nflush_all\r\n", "\0", "ü", "", &long] {
            for cache in [&one, &other] {
                let name = cache.place(key).unwrap().name;
                assert!(name.len() <= 250, "{name}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
                names.push(name);
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 14);
    }

    #[test]
    fn values_are_spread_over_servers_and_stay_when_another_server_goes() {
        let servers = ["a:1", "b:1", "c:1", "d:1"];
        let (all, fewer) = (cache(&servers, 1), cache(&["c:1", "a:1", "d:1"], 1));
        let address = |cache: &MemcachedCache, n: usize| {
            let key = format!("k{n}");
            cache.place(&key).unwrap().server.state().address
        };
        let mut counts = [0; 4];
        for n in 0..4_000 {
            let chosen = address(&all, n);
            let index = servers.iter().position(|server| *server == chosen);
            counts[index.unwrap()] += 1;
            if chosen != "b:1" {
                assert_eq!(address(&fewer, n), chosen);
            }
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }
}
