//! The contract of each port as a test suite, called by each adapter from a test.
//!
//! The functions panic if the engine breaks the contract. They need a multi-threaded runtime and an empty store, and
//! leave their data behind.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "assertions are what this module is for"
)]

mod blob;
mod cache;
mod history;
mod linearizability;
mod message_queue;
mod record;
mod split_mix;

pub use blob::blobs;
pub use cache::cache;
pub use history::history;
pub use linearizability::concurrent_history;
pub use message_queue::{message_queue, message_queue_after_crash};
pub use record::{records, records_shared};
pub use split_mix::SplitMix64;
