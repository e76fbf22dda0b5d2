//! Tests against real servers: PostgreSQL, and PgBouncer in front of it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod contract;
mod crash;
mod cut_connections;
mod database;
mod failures;
mod full_disk;
mod growing;
mod news;
mod plans;
mod pooler;
mod proxy;
mod round_trips;
mod schema;
mod shared_reads;
mod tls;
