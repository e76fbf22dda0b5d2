//! The number and the size of the messages of a channel, which its limits are compared with.

use personium_store::{Batch, Channel, Expect, Key};
use personium_types::Result;

use crate::records::{Records, counter_of};
use crate::{keys, usage};

/// The number of messages, below a limit, from which on batches assert the number: so many requests may send at the same time without
/// exceeding the limit.
const CONCURRENT_MAX: i64 = 256;

/// The number and the size of the messages of a channel.
pub(super) struct MessageCounts {
    pub(super) messages: i64,
    pub(super) bytes: i64,
    keys: [Key; 2],
    states: [Expect; 2],
}

impl MessageCounts {
    /// Reads them.
    pub(super) async fn read(records: &Records, channel: &Channel) -> Result<Self> {
        let keys = keys_of(channel);
        let found = records.find_records(&keys).await?;
        let mut found = found.iter().map(|record| counter_of(record.as_ref()));
        let (messages, of_messages) = found.next().unwrap_or((0, Expect::Absent));
        let (bytes, of_bytes) = found.next().unwrap_or((0, Expect::Absent));
        Ok(Self {
            messages,
            bytes,
            keys,
            states: [of_messages, of_bytes],
        })
    }

    /// Whether one more message of this size is within the limits.
    pub(super) fn fits(&self, bytes: usize, (messages_max, bytes_max): (u64, u64)) -> bool {
        let within = |value: i64, more: i64, max: u64| {
            value.saturating_add(more) <= i64::try_from(max).unwrap_or(i64::MAX)
        };
        within(self.messages, 1, messages_max) && within(self.bytes, as_i64(bytes), bytes_max)
    }

    /// Adds to a batch that the counts are those that were read, if they are near the limits.
    pub(super) fn assert_near(
        &self,
        batch: &mut Batch,
        bytes: usize,
        (messages_max, bytes_max): (u64, u64),
    ) {
        let near = |value: i64, more: i64, max: u64| {
            let margin = CONCURRENT_MAX.saturating_mul(more);
            value.saturating_add(margin) > i64::try_from(max).unwrap_or(i64::MAX)
        };
        let is_near =
            near(self.messages, 1, messages_max) || near(self.bytes, as_i64(bytes), bytes_max);
        if is_near {
            for (key, state) in self.keys.iter().zip(self.states) {
                batch.assert(key.clone(), state);
            }
        }
    }
}

/// Adds to a batch that a channel, and so its cell, has so many messages and bytes more.
pub(super) fn add(batch: &mut Batch, channel: &Channel, messages: i64, bytes: i64) {
    let [of_messages, of_bytes] = keys_of(channel);
    batch.add(of_messages, messages);
    batch.add(of_bytes, bytes);
    usage::add_messages(batch, channel.kind, bytes);
}

fn keys_of(channel: &Channel) -> [Key; 2] {
    let (kind, collection, name) = (channel.kind, &channel.collection, &channel.name);
    [
        keys::message_count(kind, collection, name),
        keys::message_bytes(kind, collection, name),
    ]
}

/// A size as a number to count with.
pub(super) fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
