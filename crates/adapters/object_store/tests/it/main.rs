//! Tests of the store on real object stores, with a proxy between that disturbs requests.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod contract;
mod disturbed_reads;
mod disturbed_writes;
mod requests;
mod small_objects;
mod stores;
mod tls;
