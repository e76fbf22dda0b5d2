//! Tests of the cache on memcached: on real servers, and on servers that answer nonsense.

#![expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod hostile;
