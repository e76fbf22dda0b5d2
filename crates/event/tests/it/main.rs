//! Tests of the sending of rule requests over stores in memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod fairness;
mod several_nodes;
mod unreadable_cell;
