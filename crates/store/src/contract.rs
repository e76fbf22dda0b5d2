//! What every engine must do: one suite per port, called by each adapter from a test.
//!
//! The functions panic where the engine does not keep the promise. They need a multi-threaded runtime and an empty
//! store, and leave their data behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "assertions are what this module is for"
)]

mod blob;
mod bus;
mod cache;
mod history;
mod record;

pub use blob::blobs;
pub use bus::bus;
pub use cache::cache;
pub use history::{Model, Rng, history};
pub use record::records;
