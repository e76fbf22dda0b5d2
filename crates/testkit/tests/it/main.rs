//! Tests of the units and clients for tests.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod client;
mod server_unit;
