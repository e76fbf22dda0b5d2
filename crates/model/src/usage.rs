//! Counters of the bytes that a cell stores: one for the bodies of its files, one for its entities, one for its dead properties, and those
//! for the messages of its queues and topics.
//!
//! A batch that changes such content adds the difference to the counter of the space in the same commit. Additions to a counter never
//! conflict, so they cost concurrent changes of a cell nothing ([0072](../../../docs/decisions/0072-usage-counters-and-quotas.md)).
//! The length of a file is that of its content, also if it is encrypted; that of an entity is the length of its record; that of a
//! message is the length of its text.

use async_trait::async_trait;
use personium_store::{Batch, ChannelKind, Op, Result};

use crate::keys;

/// The judge of changes that let the content of a cell grow.
#[async_trait]
pub(crate) trait GrowthLimit: Send + Sync {
    /// Refuses a change by which the content would grow by so many bytes, if a quota does not permit it.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`](personium_store::StoreError::OverQuota); a failure of the store.
    async fn admit(&self, bytes: i64) -> Result<()>;

    /// Takes note of a change that was committed.
    fn note(&self, bytes: i64);
}

/// Adds to a batch that the bodies of files take so many bytes more, or fewer.
pub(crate) fn add_files(batch: &mut Batch, bytes: i64) {
    batch.add_up(keys::bytes_of_files(), bytes);
}

/// Adds to a batch that an entity is stored whose record had the first length and has the second one; 0 if there was none, or is none.
pub(crate) fn add_entity(batch: &mut Batch, before: usize, after: usize) {
    let length = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    batch.add_up(
        keys::bytes_of_entities(),
        length(after).saturating_sub(length(before)),
    );
}

/// Adds to a batch that the dead properties of nodes take so many bytes more, or fewer.
pub(crate) fn add_properties(batch: &mut Batch, bytes: i64) {
    batch.add_up(keys::bytes_of_properties(), bytes);
}

/// Adds to a batch that the messages of channels of a kind take so many bytes more, or fewer.
pub(crate) fn add_messages(batch: &mut Batch, kind: ChannelKind, bytes: i64) {
    let counter = match kind {
        ChannelKind::Queue => keys::bytes_of_queues(),
        ChannelKind::Topic => keys::bytes_of_topics(),
    };
    batch.add_up(counter, bytes);
}

/// The number of bytes by which the content grows with a batch; negative if it shrinks.
pub(crate) fn growth(batch: &Batch) -> i64 {
    let additions = batch.ops().iter().filter_map(|op| match op {
        Op::Add(key, delta) if keys::counts_bytes(key) => Some(*delta),
        _ => None,
    });
    additions.fold(0, i64::saturating_add)
}
