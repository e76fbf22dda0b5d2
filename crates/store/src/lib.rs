//! The ports to the outside: records, file bodies, short-lived shared state, and messages between nodes.
//!
//! Engines live in `adapters/`; the in-memory versions here are the reference that every engine is compared with.
//! Nothing in this crate knows what a cell contains.

mod blob;
mod bus;
mod cache;
mod error;
mod key;
pub mod memory;
mod record;
mod seal;

#[cfg(feature = "contract")]
pub mod contract;

pub use blob::{BlobReader, BlobStore, BlobWriter};
pub use bus::{Bus, Subscription};
pub use cache::Cache;
pub use error::{Result, StoreError};
pub use key::{Key, KeyBuilder, KeyRange};
pub use record::{Batch, Direction, Expect, Limit, Op, Record, RecordStore, Space, Stamp};
pub use seal::Seal;
