//! The layout of keys. One function a kind of record; nothing else builds keys.
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
//! | `G` | generation, moment | a line of the event log |
//! | `H` | rule id | how often the rule has fired |
//! | `Q` | rule id, moment | [`crate::event::outbox::Action`]: what a rule is still to do |
//! | `T` | day, digest | nothing: consumed tokens and revoked token families, until that day is over |
//! | `M` | name | single values of the space |

use personium_store::{Key, KeyBuilder, KeyRange};
use personium_types::{BlobId, NodeId};

/// Which entities belong together: a control set, a schema set of a collection, or one entity type's data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetKey(Vec<u8>);

impl SetKey {
    /// A control set of the unit or of a cell; `code` is one of [`ControlSet`].
    #[must_use]
    pub fn control(set: ControlSet) -> Self {
        Self(vec![1, set as u8])
    }

    /// A schema set (entity types, properties ...) of an OData collection.
    #[must_use]
    pub fn schema(collection: &NodeId, set: ControlSet) -> Self {
        let mut bytes = vec![2];
        bytes.extend_from_slice(collection.as_bytes());
        bytes.push(set as u8);
        Self(bytes)
    }

    /// The entities of one entity type of an OData collection.
    #[must_use]
    pub fn data(collection: &NodeId, entity_type: &NodeId) -> Self {
        let mut bytes = vec![3];
        bytes.extend_from_slice(collection.as_bytes());
        bytes.extend_from_slice(entity_type.as_bytes());
        Self(bytes)
    }

    /// What links along an association of user data are kept under, in place of the other set. `tag` is made
    /// when the two association ends are linked, so links of a removed association never come back with a new one.
    #[must_use]
    pub fn association(tag: &NodeId) -> Self {
        let mut bytes = vec![4];
        bytes.extend_from_slice(tag.as_bytes());
        Self(bytes)
    }

    /// The bytes that lead the keys of the set; of constant length for each kind of set.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The sets that every unit, cell or OData collection has. The numbers are stored: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ControlSet {
    Cell = 1,
    Box = 2,
    Account = 3,
    Role = 4,
    ExtCell = 5,
    ExtRole = 6,
    Relation = 7,
    Rule = 8,
    ReceivedMessage = 9,
    SentMessage = 10,
    EntityType = 20,
    Property = 21,
    ComplexType = 22,
    ComplexTypeProperty = 23,
    AssociationEnd = 24,
}

impl ControlSet {
    /// Every set with its name in URLs.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Cell, "Cell"),
        (Self::Box, "Box"),
        (Self::Account, "Account"),
        (Self::Role, "Role"),
        (Self::ExtCell, "ExtCell"),
        (Self::ExtRole, "ExtRole"),
        (Self::Relation, "Relation"),
        (Self::Rule, "Rule"),
        (Self::ReceivedMessage, "ReceivedMessage"),
        (Self::SentMessage, "SentMessage"),
        (Self::EntityType, "EntityType"),
        (Self::Property, "Property"),
        (Self::ComplexType, "ComplexType"),
        (Self::ComplexTypeProperty, "ComplexTypeProperty"),
        (Self::AssociationEnd, "AssociationEnd"),
    ];

    /// The set of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(set, _)| *set)
    }

    /// Its name in URLs.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(set, _)| *set == self)
            .map_or("", |(_, n)| n)
    }
}

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

/// The entity id that owns this unique value. Parts that are null are `None`.
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

/// The beginning of the index of a property; the caller appends the value, the time of change and the id.
#[must_use]
pub fn index(set: &SetKey, property: &str) -> KeyBuilder {
    Key::table(b'I').fixed(set.as_bytes()).text(property)
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

/// Everything of the schema and the data of an OData collection, table by table.
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

/// Says that a node names this body of the blob store.
#[must_use]
pub fn blob_reference(id: &BlobId) -> Key {
    Key::table(b'R').fixed(id.as_bytes()).build()
}

/// All single values whose name begins with this text.
#[must_use]
pub fn singles(begin: &str) -> KeyRange {
    KeyRange::prefix(&Key::table(b'M').text_prefix(begin).build())
}

/// A consumed token, or a revoked token family, until that day is over. `day` counts days since 1970.
#[must_use]
pub fn consumed_token(day: u32, digest: &str) -> Key {
    Key::table(b'T')
        .fixed(&day.to_be_bytes())
        .text(digest)
        .build()
}

/// The records of [`consumed_token`] for days before this one.
#[must_use]
pub fn consumed_tokens_before(day: u32) -> KeyRange {
    KeyRange {
        start: Key::table(b'T').build(),
        end: Some(Key::table(b'T').fixed(&day.to_be_bytes()).build()),
    }
}

/// A moment in the order of events: the milliseconds since 1970, a number that tells apart what one process saw in
/// one of them, and random bits that tell processes apart.
#[must_use]
pub fn moment(ms: i64, number: u32, random: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let parts = ms.to_be_bytes().into_iter();
    let parts = parts
        .chain(number.to_be_bytes())
        .chain(random.to_be_bytes());
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    bytes
}

/// The milliseconds since 1970 in a key that ends with a [`moment`].
#[must_use]
pub fn moment_ms(key: &Key) -> Option<i64> {
    let bytes = key.as_bytes();
    let moment = bytes.get(bytes.len().checked_sub(16)?..)?;
    Some(i64::from_be_bytes(moment.get(..8)?.try_into().ok()?))
}

/// A line of the event log.
#[must_use]
pub fn log_line(generation: u32, moment: &[u8; 16]) -> Key {
    Key::table(b'G')
        .fixed(&generation.to_be_bytes())
        .fixed(moment)
        .build()
}

/// All lines of one generation of the event log, in the order of time.
#[must_use]
pub fn log_lines(generation: u32) -> KeyRange {
    KeyRange::prefix(&Key::table(b'G').fixed(&generation.to_be_bytes()).build())
}

/// The number of bytes in one generation of the event log.
#[must_use]
pub fn log_size(generation: u32) -> Key {
    single(&format!("log/size/{generation}"))
}

/// How often a rule has fired.
#[must_use]
pub fn rule_hits(rule: &str) -> Key {
    Key::table(b'H').text(rule).build()
}

/// Something that a rule is still to do.
#[must_use]
pub fn action(rule: &str, moment: &[u8; 16]) -> Key {
    Key::table(b'Q').text(rule).fixed(moment).build()
}

/// All that a rule is still to do, in the order of time.
#[must_use]
pub fn actions(rule: &str) -> KeyRange {
    KeyRange::prefix(&Key::table(b'Q').text(rule).build())
}

/// All that any rule is still to do.
#[must_use]
pub fn all_actions() -> KeyRange {
    KeyRange::prefix(&Key::table(b'Q').build())
}

/// The rule in the key of an [`action`].
#[must_use]
pub fn rule_of_action(key: &Key) -> Option<String> {
    let bytes = key.as_bytes();
    let text = bytes.get(..bytes.len().checked_sub(16)?)?;
    last_text(&Key::from_bytes(text.to_vec()), 1)
}

/// The signing key of a cell.
#[must_use]
pub fn signing_key() -> Key {
    single("signing-key")
}

/// The login history of an account.
#[must_use]
pub fn login_history(account_id: &str) -> Key {
    single(&format!("login/{account_id}"))
}

/// The progress of the installation of a box.
#[must_use]
pub fn installation(box_id: &str) -> Key {
    single(&format!("install/{box_id}"))
}

/// A single value of the space.
#[must_use]
pub fn single(name: &str) -> Key {
    Key::table(b'M').text(name).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_id_of_a_link_can_be_read_back() {
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
    fn the_rule_and_the_moment_of_an_action_can_be_read_back() {
        let key = action("r\0x", &moment(1_700_000_000_123, 7, u32::MAX));
        assert_eq!(rule_of_action(&key), Some("r\0x".to_owned()));
        assert_eq!(moment_ms(&key), Some(1_700_000_000_123));
        assert!(moment(5, 1, 9) < moment(5, 2, 0) && moment(5, 9, 9) < moment(6, 0, 0));
    }

    #[test]
    fn null_and_empty_parts_differ() {
        let set = SetKey::control(ControlSet::Role);
        assert_ne!(
            unique(&set, 0, &[Some("r"), None]),
            unique(&set, 0, &[Some("r"), Some("")])
        );
    }
}
