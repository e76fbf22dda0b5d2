//! The ports of the unit to its storage: records, file bodies, short-lived shared values and messages.
//!
//! Engines live in `adapters/`. The in-memory versions in [`memory`] are the reference that every engine is compared
//! with. Nothing in this crate knows what a cell contains.

mod blob;
mod cache;
pub mod checksums;
mod error;
mod event_publisher;
mod health;
pub mod journal;
mod key;
pub mod memory;
mod message_queue;
mod record;
pub mod record_checksum;
mod record_limits;

#[cfg(feature = "contract")]
pub mod contract;

pub use blob::{BlobReader, BlobStore, BlobWriter, StorageUsage};
pub use cache::Cache;
pub use error::{ErrorDetail, Result, StoreError};
pub use event_publisher::{EventPublisher, OutgoingEvent, PublishError};
pub use health::StoreHealth;
pub use journal::{JournalChanges, JournalEntry, JournalPage, JournalPosition};
pub use key::{Key, KeyBuilder, KeyRange};
pub use message_queue::{
    Channel, ChannelKind, Delivery, Message, MessageQueue, SubscriptionEnd, TopicMessage,
    TopicSubscription,
};
pub use record::{
    Batch, ChangedSpaces, CommitSeq, Direction, Expect, Limit, Op, RangeState, Record,
    RecordSnapshot, RecordStore, SmallSpace, Snapshot, Space, StructureVersion,
};
pub use record_limits::{MAX_KEY_BYTES, MAX_RECORD_BYTES, check_sizes};
