//! Keys of the messages of stream collections.

use personium_store::{ChannelKind, Key, KeyBuilder, KeyRange};
use personium_types::{CellId, NodeId};

use super::{MONOTONIC_ID_BYTES, bytes_of_topics, first_part, last_text};

/// The length of the tag of a table and a time.
const TIME_BYTES: usize = 9;
/// The length of an id of a node.
const NODE_ID_BYTES: usize = 16;

/// The message of a queue with this id, without its content.
#[must_use]
pub fn queued_message(collection: &NodeId, queue: &str, id: &[u8; MONOTONIC_ID_BYTES]) -> Key {
    queue_builder(collection, queue).fixed(id).build()
}

/// The messages of a queue, in the order in which they were sent.
#[must_use]
pub fn queued_messages(collection: &NodeId, queue: &str) -> KeyRange {
    KeyRange::prefix(&queue_builder(collection, queue).build())
}

/// The id in the key of a [`queued_message`].
#[must_use]
pub fn id_of_queued_message(key: &Key) -> Option<[u8; MONOTONIC_ID_BYTES]> {
    let bytes = key.as_bytes();
    let at = bytes.len().checked_sub(MONOTONIC_ID_BYTES)?;
    bytes.get(at..)?.try_into().ok()
}

/// The content of the message of a queue with this id.
#[must_use]
pub fn message_body(collection: &NodeId, id: &[u8; MONOTONIC_ID_BYTES]) -> Key {
    Key::table(b'A')
        .fixed(collection.as_bytes())
        .fixed(id)
        .build()
}

/// The prefix of the messages of a topic, which are sequenced records.
#[must_use]
pub fn topic_messages_prefix(collection: &NodeId, topic: &str) -> Key {
    Key::table(b'W')
        .fixed(collection.as_bytes())
        .text(topic)
        .build()
}

/// The messages of a topic, in the order of their commits.
#[must_use]
pub fn topic_messages(collection: &NodeId, topic: &str) -> KeyRange {
    KeyRange::prefix(&topic_messages_prefix(collection, topic))
}

/// The messages of all topics of a cell, what is kept about the topics, and the counter of their bytes.
#[must_use]
pub fn all_topics() -> Vec<KeyRange> {
    let state = Key::table(b'Z').byte(byte_of(ChannelKind::Topic));
    let messages = Key::table(b'W');
    vec![
        KeyRange::prefix(&messages.build()),
        KeyRange::prefix(&state.build()),
        KeyRange::prefix(&bytes_of_topics()),
    ]
}

/// The records of a cell with the texts of messages: the contents of those of queues, and the messages of topics.
#[must_use]
pub fn all_message_texts() -> [KeyRange; 2] {
    [b'A', b'W'].map(|tag| KeyRange::prefix(&Key::table(tag).build()))
}

/// The messages of all queues of a collection, without their contents.
#[must_use]
pub fn queued_messages_of(collection: &NodeId) -> KeyRange {
    KeyRange::prefix(&Key::table(b'S').fixed(collection.as_bytes()).build())
}

/// As [`all_message_texts`], of one collection.
#[must_use]
pub fn message_texts_of(collection: &NodeId) -> [KeyRange; 2] {
    let prefix = |tag| Key::table(tag).fixed(collection.as_bytes()).build();
    [b'A', b'W'].map(|tag| KeyRange::prefix(&prefix(tag)))
}

/// Whether a record of a cell is a message of a stream collection, or is kept about its channels.
#[must_use]
pub fn is_of_messages(key: &Key) -> bool {
    key.as_bytes()
        .first()
        .is_some_and(|tag| b"SAWZO".contains(tag))
}

/// The number of the commit and the number in it, in the key of a message of a topic.
#[must_use]
pub fn numbers_of_topic_message(key: &Key) -> Option<(u64, u32)> {
    let bytes = key.as_bytes();
    let numbers = bytes.get(bytes.len().checked_sub(12)?..)?;
    let (seq, number) = numbers.split_at_checked(8)?;
    let seq = u64::from_be_bytes(seq.try_into().ok()?);
    Some((seq, u32::from_be_bytes(number.try_into().ok()?)))
}

/// The number of the messages of a channel.
#[must_use]
pub fn message_count(kind: ChannelKind, collection: &NodeId, name: &str) -> Key {
    state_of_channel(kind, collection, name).byte(b'n').build()
}

/// The size of the messages of a channel in bytes.
#[must_use]
pub fn message_bytes(kind: ChannelKind, collection: &NodeId, name: &str) -> Key {
    state_of_channel(kind, collection, name).byte(b'b').build()
}

/// The last message of a topic that was removed before its time.
#[must_use]
pub fn last_dropped_message(collection: &NodeId, topic: &str) -> Key {
    state_of_channel(ChannelKind::Topic, collection, topic)
        .byte(b'd')
        .build()
}

/// The ranges of all messages of a collection, and of what is kept about its channels.
#[must_use]
pub fn messages_of_collection(collection: &NodeId) -> Vec<KeyRange> {
    let messages = b"SAW".iter().map(|tag| Key::table(*tag));
    let kinds = [ChannelKind::Queue, ChannelKind::Topic].into_iter();
    let state = kinds.map(|kind| Key::table(b'Z').byte(byte_of(kind)));
    let prefixes = messages.chain(state);
    prefixes
        .map(|prefix| KeyRange::prefix(&prefix.fixed(collection.as_bytes()).build()))
        .collect()
}

/// An entry of the index by time: a channel with messages that expire at this time, milliseconds since 1970.
#[must_use]
pub fn expiring_channel(at: i64, kind: ChannelKind, collection: &NodeId, name: &str) -> Key {
    Key::table(b'O')
        .fixed(&time(at))
        .fixed(collection.as_bytes())
        .byte(byte_of(kind))
        .text(name)
        .build()
}

/// The channels with messages that expire at a time or before.
#[must_use]
pub fn expiring_channels(until: i64) -> KeyRange {
    up_to(b'O', until)
}

/// The kind, the collection and the name in a key of [`expiring_channel`].
#[must_use]
pub fn parts_of_expiring_channel(key: &Key) -> Option<(ChannelKind, NodeId, String)> {
    let rest = key.as_bytes().get(TIME_BYTES..)?;
    let (collection, rest) = rest.split_at_checked(NODE_ID_BYTES)?;
    let collection = NodeId::from_bytes(collection.try_into().ok()?);
    let (kind, name) = rest.split_first()?;
    let kind = match kind {
        b'q' => ChannelKind::Queue,
        b't' => ChannelKind::Topic,
        _ => return None,
    };
    let (name, _) = first_part(name)?;
    Some((kind, collection, String::from_utf8(name).ok()?))
}

/// In the space of the unit: a cell with messages that expire at this time, milliseconds since 1970.
#[must_use]
pub fn cell_with_expiring(at: i64, cell: &CellId) -> Key {
    let id = cell.to_string();
    Key::table(b'O').fixed(&time(at)).text(&id).build()
}

/// In the space of the unit: the cells with messages that expire at a time or before.
#[must_use]
pub fn cells_with_expiring(until: i64) -> KeyRange {
    up_to(b'O', until)
}

/// The cell in a key of [`cell_with_expiring`].
#[must_use]
pub fn cell_of_expiring(key: &Key) -> Option<CellId> {
    last_text(key, TIME_BYTES)?.parse().ok()
}

fn queue_builder(collection: &NodeId, queue: &str) -> KeyBuilder {
    Key::table(b'S').fixed(collection.as_bytes()).text(queue)
}

fn state_of_channel(kind: ChannelKind, collection: &NodeId, name: &str) -> KeyBuilder {
    let key = Key::table(b'Z').byte(byte_of(kind));
    key.fixed(collection.as_bytes()).text(name)
}

const fn byte_of(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Queue => b'q',
        ChannelKind::Topic => b't',
    }
}

fn time(at: i64) -> [u8; 8] {
    at.max(0).unsigned_abs().to_be_bytes()
}

fn up_to(table: u8, until: i64) -> KeyRange {
    let end = Key::table(table).fixed(&time(until.saturating_add(1)));
    KeyRange {
        start: Key::table(table).build(),
        end: Some(end.build()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_messages_give_back_their_parts() {
        let collection = NodeId::from_bytes([9; 16]);
        let id = [7; MONOTONIC_ID_BYTES];
        let key = queued_message(&collection, "q\0x", &id);
        assert_eq!(id_of_queued_message(&key), Some(id));
        assert!(queued_messages(&collection, "q\0x").contains(&key));
        assert!(!queued_messages(&collection, "q").contains(&key));
        let topic = topic_messages_prefix(&collection, "t").sequenced(u64::MAX, 3);
        assert_eq!(numbers_of_topic_message(&topic), Some((u64::MAX, 3)));
        for kind in [ChannelKind::Queue, ChannelKind::Topic] {
            let key = expiring_channel(5, kind, &collection, "n\0");
            assert_eq!(
                parts_of_expiring_channel(&key),
                Some((kind, collection, "n\0".to_owned()))
            );
            assert!(expiring_channels(5).contains(&key) && !expiring_channels(4).contains(&key));
            let count = message_count(kind, &collection, "n");
            assert_ne!(count, message_bytes(kind, &collection, "n"));
            let ranges = messages_of_collection(&collection);
            assert!(ranges.iter().any(|range| range.contains(&count)));
        }
        let cell = CellId::from_bytes([1; 16]);
        let key = cell_with_expiring(8, &cell);
        assert_eq!(cell_of_expiring(&key), Some(cell));
        assert!(cells_with_expiring(8).contains(&key) && !cells_with_expiring(7).contains(&key));
    }
}
