//! The layout of keys. One function for each kind of record; nothing else builds keys.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `E` | set, entity id | [`crate::entity::StoredEntity`] |
//! | `K` | set, constraint, parts | entity id: unique keys of control objects |
//! | `I` | set, property, value, updated, entity id | nothing: property index |
//! | `L` | set, entity id, other set, other id | nothing: links, kept in both directions |
//! | `C` | set | number of entities |
//! | `V` | collection | nothing: changes with the schema of the OData collection |
//! | `N` | parent node, name | [`crate::node::Node`] |
//! | `D` | parent node | number of children |
//! | `B` | blob id | a small file body |
//! | `R` | blob id | nothing: a body in the blob store that a node names |
//! | `F` | number of the commit, number in it | an event of the feed |
//! | `S` | stream collection, queue, message id | a message of a queue, without its content |
//! | `A` | stream collection, message id | the content of a message of a queue |
//! | `W` | stream collection, topic, number of the commit, number in it | a message of a topic |
//! | `Z` | kind, stream collection, channel, what | number and size of the messages of a channel |
//! | `O` | time, stream collection, kind, channel | nothing: a channel with messages that expire then |
//! | `G` | generation, event id | a line of the event log |
//! | `H` | rule id | number of events that the rule has matched |
//! | `Q` | rule id, event id | [`crate::event::outbox::OutboxEntry`]: a request that waits to be sent |
//! | `Q` | `~messages`, id that begins with the time | a delivery of a message that waits for its next attempt |
//! | `r` | rule id | [`crate::event::rule_state::RuleState`]: the last request of a rule |
//! | `U` | event id | [`crate::event::dead_letter::DeadLetter`]: a request of a rule that was given up |
//! | `T` | day, digest | nothing: consumed tokens and revoked token families, until that day is over |
//! | `U` | number | an entry of the audit log of the unit, [`crate::audit`] |
//! | `j` | service collection, job id, part | a job of a service: its state, its request, its response |
//! | `j` | time, cell, service collection, job id | nothing, in the space of the unit: a job that is to be removed then |
//! | `M` | name | single values of the space |

mod jobs;
mod messages;
mod sets;
mod single_values;
mod timers;

use personium_store::{Key, KeyBuilder, KeyRange};
use personium_types::{BlobId, NodeId};

pub use self::jobs::{
    JobKey, JobPart, all_jobs, expired_jobs, is_of_jobs, is_state_of_job, job_claims, jobs_of,
    unfinished_jobs,
};
pub use self::messages::{
    all_message_texts, all_topics, cell_of_expiring, cell_with_expiring, cells_with_expiring,
    expiring_channel, expiring_channels, id_of_queued_message, is_of_messages,
    last_dropped_message, message_body, message_bytes, message_count, message_texts_of,
    messages_of_collection, numbers_of_topic_message, parts_of_expiring_channel, queued_message,
    queued_messages, queued_messages_of, topic_messages, topic_messages_prefix,
};
pub use self::sets::{ControlSet, SetKey, SetParts};
pub use self::single_values::{
    CellMarkers, administrator_cells, audit_head, body_key, box_of_installation, bytes_counted,
    bytes_of_entities, bytes_of_files, bytes_of_index_entries, bytes_of_jobs, bytes_of_links,
    bytes_of_properties, bytes_of_queues, bytes_of_topics, cell_deletion, cell_deletions,
    cell_of_quota, cell_quota, cell_quotas, changed_cell, changed_cells,
    claim_of_installation_marker, dead_letter_count, erased_cell, erased_cells,
    failed_installation, failed_installations, failed_logins, failed_logins_of, feed,
    garbage_marker, garbage_markers, garbage_record, garbage_records, id_of_server_node,
    imported_entities, imported_entity, installation, installation_marker, installation_markers,
    installations, log_size, log_sizes, log_state, login_history, maintenance, node_agreement,
    noted_state, orphan_scan, outbox_count, outbox_marker, outbox_markers, outbox_owner,
    owner_of_quota, owner_quota, owner_quotas, published_count, quotas, removed_cell,
    removed_cells, seal, server_node, server_nodes, signing_key, store_id, stream_claim, takeover,
    timer_claim, transfer, unfinished_copy, unfinished_migration, unit_mark, waiting_deliveries,
};
pub(crate) use self::single_values::{counts_bytes, transfer_in_memory};
pub use self::timers::{
    cell_of_timer, cell_with_timer, cells_with_timers, due_timer, due_timers, parts_of_due_timer,
    timer,
};

/// The length of a monotonic id in bytes.
const MONOTONIC_ID_BYTES: usize = 16;

/// The folder with the snapshots of a cell. Its members are nodes like those of a box.
pub const SNAPSHOT_FOLDER: NodeId =
    NodeId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The parent of the node of a cell and of the root nodes of boxes.
const NO_PARENT: NodeId = NodeId::from_bytes([0; 16]);

/// The entity with this id.
#[must_use]
pub fn entity(set: &SetKey, id: &str) -> Key {
    Key::table(b'E').fixed(set.as_bytes()).text(id).build()
}

/// All entities of the set, in the order of their ids.
#[must_use]
pub fn entities(set: &SetKey) -> KeyRange {
    KeyRange::prefix(&Key::table(b'E').fixed(set.as_bytes()).build())
}

/// The record that holds the id of the entity with this unique value. Parts that are null are `None`.
#[must_use]
pub fn unique(set: &SetKey, constraint: u8, parts: &[Option<&str>]) -> Key {
    let mut key = Key::table(b'K').fixed(set.as_bytes()).byte(constraint);
    for part in parts {
        key = match part {
            None => key.byte(0),
            Some(text) => key.byte(1).text(text),
        };
    }
    key.build()
}

/// All unique values of the set and constraint.
#[must_use]
pub fn uniques(set: &SetKey, constraint: u8) -> KeyRange {
    KeyRange::prefix(
        &Key::table(b'K')
            .fixed(set.as_bytes())
            .byte(constraint)
            .build(),
    )
}

/// All index entries of a space.
#[must_use]
pub fn all_index_entries() -> KeyRange {
    KeyRange::prefix(&Key::table(b'I').build())
}

/// The beginning of the index of a property; the value, the time of the change and the id follow.
#[must_use]
pub fn index(set: &SetKey, property: &str) -> KeyBuilder {
    Key::table(b'I').fixed(set.as_bytes()).text(property)
}

/// The set, the name of the property and the length of the beginning of the key of an index entry, which ends before the value.
#[must_use]
pub fn parts_of_index_entry(key: &Key) -> Option<(SetKey, String, usize)> {
    let (set, _) = SetKey::of_key(key)?;
    let rest = key.as_bytes().get(1 + set.as_bytes().len()..)?;
    let (property, after) = first_part(rest)?;
    let begin = key.as_bytes().len() - after.len();
    Some((set, String::from_utf8(property).ok()?, begin))
}

/// The parent and the name in the key of a node.
#[must_use]
pub fn parts_of_node(key: &Key) -> Option<(NodeId, String)> {
    let parent = key.as_bytes().get(1..1 + NO_PARENT.as_bytes().len())?;
    let parent = NodeId::from_bytes(parent.try_into().ok()?);
    Some((parent, last_text(key, 1 + parent.as_bytes().len())?))
}

/// All nodes of a cell.
#[must_use]
pub fn all_nodes() -> KeyRange {
    KeyRange::prefix(&Key::table(b'N').build())
}

/// Whether the nodes below this parent are the roots of boxes and the node of the cell.
#[must_use]
pub fn is_no_parent(parent: &NodeId) -> bool {
    *parent == NO_PARENT
}

/// The link from an entity to another one.
#[must_use]
pub fn link(set: &SetKey, id: &str, other: &SetKey, other_id: &str) -> Key {
    Key::table(b'L')
        .fixed(set.as_bytes())
        .text(id)
        .bytes(other.as_bytes())
        .text(other_id)
        .build()
}

/// All links from an entity into one other set.
#[must_use]
pub fn links(set: &SetKey, id: &str, other: &SetKey) -> KeyRange {
    KeyRange::prefix(
        &Key::table(b'L')
            .fixed(set.as_bytes())
            .text(id)
            .bytes(other.as_bytes())
            .build(),
    )
}

/// All links from an entity into any other set.
#[must_use]
pub fn all_links(set: &SetKey, id: &str) -> KeyRange {
    KeyRange::prefix(&Key::table(b'L').fixed(set.as_bytes()).text(id).build())
}

/// All links of a space, in both directions.
#[must_use]
pub fn links_of_space() -> KeyRange {
    KeyRange::prefix(&Key::table(b'L').build())
}

/// All links from the entities of a set.
#[must_use]
pub fn links_of_set(set: &SetKey) -> KeyRange {
    KeyRange::prefix(&Key::table(b'L').fixed(set.as_bytes()).build())
}

/// The parts of the key of a link from an entity of a set: the id of the entity, the other set, the id of the other entity.
#[must_use]
pub fn parts_of_link(key: &Key, set: &SetKey) -> Option<(String, Vec<u8>, String)> {
    let rest = key.as_bytes().get(1 + set.as_bytes().len()..)?;
    let (id, rest) = first_part(rest)?;
    let (other_set, rest) = first_part(rest)?;
    let (other_id, _) = first_part(rest)?;
    let text = |bytes| String::from_utf8(bytes).ok();
    Some((text(id)?, other_set, text(other_id)?))
}

/// The first delimited part of a key, and what follows it.
fn first_part(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut part = Vec::new();
    let mut at = 0;
    loop {
        match (*bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(1)) => return Some((part, bytes.get(at + 2..)?)),
            (0, _) => {
                part.push(0);
                at += 2;
            }
            (byte, _) => {
                part.push(byte);
                at += 1;
            }
        }
    }
}

/// The ranges of the schema and the data of an OData collection, one for each table.
#[must_use]
pub fn collection_tables(collection: &NodeId) -> Vec<KeyRange> {
    let mut out = Vec::new();
    for tag in [b'E', b'K', b'I', b'L', b'C'] {
        for kind in [2, 3] {
            out.push(KeyRange::prefix(
                &Key::table(tag)
                    .byte(kind)
                    .fixed(collection.as_bytes())
                    .build(),
            ));
        }
    }
    out.push(KeyRange::prefix(&schema_version(collection)));
    out
}

/// The ranges of the entities among [`collection_tables`].
#[must_use]
pub fn entities_of_collection(collection: &NodeId) -> [KeyRange; 2] {
    [2, 3].map(|kind| {
        let key = Key::table(b'E').byte(kind).fixed(collection.as_bytes());
        KeyRange::prefix(&key.build())
    })
}

/// All entities of a space.
#[must_use]
pub fn all_entities() -> KeyRange {
    KeyRange::prefix(&Key::table(b'E').build())
}

/// The record whose version is that of the schema of an OData collection.
#[must_use]
pub fn schema_version(collection: &NodeId) -> Key {
    Key::table(b'V').fixed(collection.as_bytes()).build()
}

/// The last text part of a key that ends with one, for instance the other id of a [`link`].
///
/// `prefix` is the length of everything before that part.
#[must_use]
pub fn last_text(key: &Key, prefix: usize) -> Option<String> {
    let part = key.as_bytes().get(prefix..)?.strip_suffix(&[0, 1])?;
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(&byte) = bytes.next() {
        out.push(byte);
        if byte == 0 {
            bytes.next();
        }
    }
    String::from_utf8(out).ok()
}

/// The number of entities of a set.
#[must_use]
pub fn entity_count(set: &SetKey) -> Key {
    Key::table(b'C').fixed(set.as_bytes()).build()
}

/// A box, collection or file: the member `name` of `parent`.
#[must_use]
pub fn node(parent: &NodeId, name: &str) -> Key {
    Key::table(b'N').fixed(parent.as_bytes()).text(name).build()
}

/// All members of a collection, in the order of their names.
#[must_use]
pub fn children(parent: &NodeId) -> KeyRange {
    KeyRange::prefix(&Key::table(b'N').fixed(parent.as_bytes()).build())
}

/// The number of members of a collection.
#[must_use]
pub fn child_count(parent: &NodeId) -> Key {
    Key::table(b'D').fixed(parent.as_bytes()).build()
}

/// A small body that is kept as a record.
#[must_use]
pub fn inline_body(id: &BlobId) -> Key {
    Key::table(b'B').fixed(id.as_bytes()).build()
}

/// All small bodies that are kept as records.
#[must_use]
pub fn inline_bodies() -> KeyRange {
    KeyRange::prefix(&Key::table(b'B').build())
}

/// The record of a body in the blob store that a node names.
#[must_use]
pub fn blob_reference(id: &BlobId) -> Key {
    Key::table(b'R').fixed(id.as_bytes()).build()
}

/// The record of a body that was removed as an orphan from a store that several server nodes share. No file may name it any more.
#[must_use]
pub fn removed_orphan(id: &BlobId) -> Key {
    Key::table(b'X').fixed(id.as_bytes()).build()
}

/// All records of [`removed_orphan`].
#[must_use]
pub fn removed_orphans() -> KeyRange {
    KeyRange::prefix(&Key::table(b'X').build())
}

/// The id of the body in the key of an [`inline_body`].
#[must_use]
pub fn inline_blob(key: &Key) -> Option<BlobId> {
    let id = key.as_bytes().strip_prefix(b"B")?;
    id.try_into().ok().map(BlobId::from_bytes)
}

/// The records of all bodies in the blob store that nodes name.
#[must_use]
pub fn blob_references() -> KeyRange {
    KeyRange::prefix(&Key::table(b'R').build())
}

/// The id of the body that such a record stands for.
#[must_use]
pub fn referenced_blob(key: &Key) -> Option<BlobId> {
    let id = key.as_bytes().strip_prefix(b"R")?;
    id.try_into().ok().map(BlobId::from_bytes)
}

/// The node that stands for the cell itself.
#[must_use]
pub fn cell_node() -> Key {
    node(&NO_PARENT, "")
}

/// The root node of a box.
#[must_use]
pub fn box_node(id: &NodeId) -> Key {
    node(&NO_PARENT, &id.to_string())
}

/// A one-time token, or a token family, that was consumed. `day` is the number of days since 1970.
#[must_use]
pub fn consumed_token(day: u32, name: &str) -> Key {
    Key::table(b'T')
        .fixed(&day.to_be_bytes())
        .text(name)
        .build()
}

/// All consumed tokens of the days before this one.
#[must_use]
pub fn consumed_tokens_before(day: u32) -> KeyRange {
    KeyRange {
        start: Key::table(b'T').build(),
        end: Some(Key::table(b'T').fixed(&day.to_be_bytes()).build()),
    }
}

/// An id that orders events by time: the milliseconds since 1970, a number that distinguishes ids of one process and one
/// millisecond, and random bits that distinguish processes.
#[must_use]
pub fn monotonic_id(ms: i64, number: u32, random: u32) -> [u8; MONOTONIC_ID_BYTES] {
    let mut bytes = [0; MONOTONIC_ID_BYTES];
    let parts = ms.to_be_bytes().into_iter();
    let parts = parts
        .chain(number.to_be_bytes())
        .chain(random.to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    bytes
}

/// The milliseconds since 1970 in a key that ends with a [`monotonic_id`].
#[must_use]
pub fn time_of_monotonic_id(key: &Key) -> Option<i64> {
    let bytes = key.as_bytes();
    let id = bytes.get(bytes.len().checked_sub(MONOTONIC_ID_BYTES)?..)?;
    Some(i64::from_be_bytes(id.get(..8)?.try_into().ok()?))
}

/// A line of the event log.
#[must_use]
pub fn log_line(generation: u32, event_id: &[u8; MONOTONIC_ID_BYTES]) -> Key {
    Key::table(b'G')
        .fixed(&generation.to_be_bytes())
        .fixed(event_id)
        .build()
}

/// All lines of one generation of the event log, in the order of time.
#[must_use]
pub fn log_lines(generation: u32) -> KeyRange {
    KeyRange::prefix(&Key::table(b'G').fixed(&generation.to_be_bytes()).build())
}

/// The lines of all generations of the event log.
#[must_use]
pub fn all_log_lines() -> KeyRange {
    KeyRange::prefix(&Key::table(b'G').build())
}

/// The prefix of the events of the feed, which are sequenced records.
#[must_use]
pub fn feed_events_prefix() -> Key {
    Key::table(b'F').build()
}

/// An event of the feed: the number of its commit, and its number among those of the batch.
#[must_use]
pub fn feed_event(seq: u64, number: u32) -> Key {
    feed_events_prefix().sequenced(seq, number)
}

/// The events of the feed, in the order of their commits.
#[must_use]
pub fn feed_events() -> KeyRange {
    KeyRange::prefix(&feed_events_prefix())
}

/// The numbers in the key of a [`feed_event`].
#[must_use]
pub fn numbers_of_feed_event(key: &Key) -> Option<(u64, u32)> {
    let numbers = key.as_bytes().strip_prefix(b"F")?;
    let (seq, number) = numbers.split_at_checked(8)?;
    let seq = u64::from_be_bytes(seq.try_into().ok()?);
    Some((seq, u32::from_be_bytes(number.try_into().ok()?)))
}

/// The number of events that a rule has matched.
#[must_use]
pub fn rule_hits(rule: &str) -> Key {
    Key::table(b'H').text(rule).build()
}

/// The last request of a rule.
#[must_use]
pub fn rule_state(rule: &str) -> Key {
    Key::table(b'r').text(rule).build()
}

/// A request of a rule that was given up.
#[must_use]
pub fn dead_letter(event_id: &[u8; MONOTONIC_ID_BYTES]) -> Key {
    Key::table(b'U').fixed(event_id).build()
}

/// All requests of rules that were given up, the oldest first.
#[must_use]
pub fn dead_letters() -> KeyRange {
    KeyRange::prefix(&Key::table(b'U').build())
}

/// A request that waits to be sent.
#[must_use]
pub fn outbox_entry(rule: &str, event_id: &[u8; MONOTONIC_ID_BYTES]) -> Key {
    Key::table(b'Q').text(rule).fixed(event_id).build()
}

/// The text in the place of the rule for the deliveries of messages. It is no entity id.
pub const MESSAGES: &str = "~messages";

/// The text in the place of the rule for the events that wait to be published. It is no entity id.
pub const PUBLISHED: &str = "~published";

/// The prefix of the events that wait to be published, which are sequenced records.
#[must_use]
pub fn published_events_prefix() -> Key {
    Key::table(b'Q').text(PUBLISHED).build()
}

/// The numbers of the commit and of the event in it, in the key of an event that waits to be published.
#[must_use]
pub fn numbers_of_published_event(key: &Key) -> Option<(u64, u32)> {
    let prefix = published_events_prefix();
    let numbers = key.as_bytes().strip_prefix(prefix.as_bytes())?;
    let (seq, number) = numbers.split_at_checked(8)?;
    let seq = u64::from_be_bytes(seq.try_into().ok()?);
    Some((seq, u32::from_be_bytes(number.try_into().ok()?)))
}

/// A delivery of a message whose next attempt is due at a time, milliseconds since 1970. `event_id` distinguishes those of one time.
#[must_use]
pub fn waiting_delivery(due_ms: i64, event_id: &[u8; MONOTONIC_ID_BYTES]) -> Key {
    let mut id = *event_id;
    for (to, from) in id.iter_mut().zip(due_ms.max(0).to_be_bytes()) {
        *to = from;
    }
    outbox_entry(MESSAGES, &id)
}

/// The event id that follows another one: of the same time, with the next number.
#[must_use]
pub fn successor_of_event_id(id: &[u8; MONOTONIC_ID_BYTES]) -> [u8; MONOTONIC_ID_BYTES] {
    u128::from_be_bytes(*id)
        .saturating_add(1 << 32)
        .to_be_bytes()
}

/// The event id in the key of an [`outbox_entry`] or [`dead_letter`].
#[must_use]
pub fn event_id_of_outbox_entry(key: &Key) -> Option<[u8; MONOTONIC_ID_BYTES]> {
    let bytes = key.as_bytes();
    let at = bytes.len().checked_sub(MONOTONIC_ID_BYTES)?;
    bytes.get(at..)?.try_into().ok()
}

/// All requests of a rule that wait to be sent, in the order of time.
#[must_use]
pub fn outbox_entries(rule: &str) -> KeyRange {
    KeyRange::prefix(&Key::table(b'Q').text(rule).build())
}

/// All requests of a cell that wait to be sent.
#[must_use]
pub fn all_outbox_entries() -> KeyRange {
    KeyRange::prefix(&Key::table(b'Q').build())
}

/// The rule in the key of an [`outbox_entry`].
#[must_use]
pub fn rule_of_outbox_entry(key: &Key) -> Option<String> {
    if numbers_of_published_event(key).is_some() {
        return Some(PUBLISHED.to_owned());
    }
    let bytes = key.as_bytes();
    let text = bytes.get(..bytes.len().checked_sub(MONOTONIC_ID_BYTES)?)?;
    last_text(&Key::from_bytes(text.to_vec()), 1)
}

/// In the space of the unit: an entry of the audit log.
#[must_use]
pub fn audit_entry(sequence: u64) -> Key {
    Key::table(b'U').u64(sequence).build()
}

/// In the space of the unit: all entries of the audit log, in the order of their numbers.
#[must_use]
pub fn audit_entries() -> KeyRange {
    KeyRange::prefix(&Key::table(b'U').build())
}

/// The number in the key of an [`audit_entry`].
#[must_use]
pub fn number_of_audit_entry(key: &Key) -> Option<u64> {
    let number = key.as_bytes().strip_prefix(b"U")?;
    number.try_into().ok().map(u64::from_be_bytes)
}

/// The first number that an [`audit_entry`] in a range of them can have.
#[must_use]
pub fn first_audit_number(range: &KeyRange) -> u64 {
    let number = range.start.as_bytes().get(1..).unwrap_or_default();
    match number.split_at_checked(8) {
        None => 0,
        Some((number, after)) => {
            let number = number.try_into().map_or(0, u64::from_be_bytes);
            number.saturating_add(u64::from(!after.is_empty()))
        }
    }
}

/// The claim of the one link that an entity may have along an association. It is only compared, never stored.
#[must_use]
pub fn link_claim(set: &SetKey, id: &str) -> Key {
    Key::table(b'!').fixed(set.as_bytes()).text(id).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_key_gives_back_the_target_id() {
        let (a, b) = (
            SetKey::control(ControlSet::Role),
            SetKey::control(ControlSet::Account),
        );
        let prefix = links(&a, "r\0x", &b).start.as_bytes().len();
        assert_eq!(
            last_text(&link(&a, "r\0x", &b, "é\0"), prefix),
            Some("é\0".to_owned())
        );
    }

    #[test]
    fn link_key_gives_back_all_its_parts() {
        let set = SetKey::data(&NodeId::from_bytes([0; 16]), &NodeId::from_bytes([1; 16]));
        let tag = SetKey::association(&NodeId::from_bytes([0; 16]));
        let key = link(&set, "a\0b", &tag, "\u{1}\0");
        assert!(links_of_set(&set).contains(&key));
        let parts = (
            "a\0b".to_owned(),
            tag.as_bytes().to_vec(),
            "\u{1}\0".to_owned(),
        );
        assert_eq!(parts_of_link(&key, &set), Some(parts));
    }

    #[test]
    fn outbox_key_gives_back_the_rule_and_the_time() {
        let key = outbox_entry("r\0x", &monotonic_id(1_700_000_000_123, 7, u32::MAX));
        assert_eq!(rule_of_outbox_entry(&key), Some("r\0x".to_owned()));
        assert_eq!(time_of_monotonic_id(&key), Some(1_700_000_000_123));
    }

    #[test]
    fn waiting_deliveries_are_ordered_by_the_time_of_the_next_attempt() {
        let (early, late) = (monotonic_id(1, 7, 3), monotonic_id(9, 0, 0));
        let key = waiting_delivery(5, &late);
        assert!(key < waiting_delivery(6, &early));
        assert_ne!(key, waiting_delivery(5, &early));
        assert_eq!(time_of_monotonic_id(&key), Some(5));
        assert_eq!(rule_of_outbox_entry(&key).as_deref(), Some(MESSAGES));
    }

    #[test]
    fn feed_event_key_gives_back_its_numbers() {
        assert_eq!(
            numbers_of_feed_event(&feed_event(u64::MAX, 7)),
            Some((u64::MAX, 7))
        );
        assert_eq!(numbers_of_feed_event(&feed_events_prefix()), None);
    }

    #[test]
    fn range_of_audit_entries_gives_back_its_first_number() {
        assert_eq!(first_audit_number(&audit_entries()), 0);
        let range = KeyRange {
            start: audit_entry(7),
            end: None,
        };
        assert_eq!(first_audit_number(&range), 7);
        assert_eq!(first_audit_number(&range.after(&audit_entry(9))), 10);
        assert_eq!(
            number_of_audit_entry(&audit_entry(u64::MAX)),
            Some(u64::MAX)
        );
    }

    #[test]
    fn monotonic_ids_are_ordered_by_time_then_number() {
        assert!(monotonic_id(5, 1, 9) < monotonic_id(5, 2, 0));
        assert!(monotonic_id(5, 9, 9) < monotonic_id(6, 0, 0));
    }

    #[test]
    fn successor_of_an_event_id_has_the_next_number() {
        let id = monotonic_id(5, 1, 9);
        assert_eq!(successor_of_event_id(&id), monotonic_id(5, 2, 9));
        let last = monotonic_id(5, u32::MAX, 9);
        assert_eq!(successor_of_event_id(&last), monotonic_id(6, 0, 9));
    }

    #[test]
    fn null_and_empty_parts_of_unique_keys_differ() {
        let set = SetKey::control(ControlSet::Role);
        assert_ne!(
            unique(&set, 0, &[Some("r"), None]),
            unique(&set, 0, &[Some("r"), Some("")])
        );
    }
}
