//! Tests of the model over stores in memory, whose commits can be interrupted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod audit;
mod cancelled_commits;
mod cell_deletion;
mod cell_key;
mod concurrent_creation;
mod copied_messages;
mod file_bodies;
mod message_queue;
mod nodes;
mod permits;
mod rule_chains;
mod rule_limits;
mod server_nodes;
