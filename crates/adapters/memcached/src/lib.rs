//! The cache port on memcached: one or several servers, which all nodes of a unit share.
//!
//! | Module | Content |
//! |---|---|
//! | [`cache`] | the cache: settings, names of values, choice of the server |
//! | [`server`] | one server: its connections and its time-outs |
//! | [`breaker`] | skips a server that failed, for a while |
//! | [`connection`] | one connection: sends a command and reads its answer |
//! | [`protocol`] | the text of commands and answers (the meta commands of memcached 1.6) |
//! | [`expiry`] | times to live as memcached wants them |
//!
//! A server that is dead, slow or answers nonsense makes calls fail; it never makes them return the value of another call. A
//! connection is used by one call at a time and is closed unless its answer was read whole and nothing follows it.

pub mod breaker;
pub mod cache;
pub mod connection;
pub mod expiry;
pub mod protocol;
pub mod server;

pub use cache::{MemcachedCache, MemcachedSettings};
pub use server::ServerState;
