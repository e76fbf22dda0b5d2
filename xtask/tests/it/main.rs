//! Tests of what the tasks make, with the program that the same build has made.

#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and the environment"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod ansible;
mod ansible_scenarios;
mod authority;
mod booted_debian;
mod container;
mod guide;
mod heat;
mod image;
mod package;
mod playbook;
mod test_network;
mod unit_answers;
