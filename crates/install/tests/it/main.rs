//! Tests of installations in a unit over stores in memory, whose commits can be interrupted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod archive;
mod permits;
mod replaced_box;
mod several_nodes;
