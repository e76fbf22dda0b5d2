//! The sets that entities belong to, as they stand in keys.

use personium_store::Key;
use personium_types::NodeId;

/// The length of a node id in a set.
const ID_BYTES: usize = 16;

/// The meaning of a [`SetKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetParts {
    /// A control set of the unit or of a cell.
    Control(ControlSet),
    /// A schema set of an OData collection.
    Schema(NodeId, ControlSet),
    /// The entities of an entity type of an OData collection: the ids of both.
    Data(NodeId, NodeId),
    /// An association of user data, in the keys of links.
    Association(NodeId),
}

/// The set that an entity belongs to: a control set, a schema set of a collection, or the data of one entity type.
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

    /// The set that stands for an association of user data in the keys of its links. `tag` is made when the two association
    /// ends are linked, so links of a removed association never come back with a new one.
    #[must_use]
    pub fn association(tag: &NodeId) -> Self {
        let mut bytes = vec![4];
        bytes.extend_from_slice(tag.as_bytes());
        Self(bytes)
    }

    /// Returns the set that these bytes begin with, and what it stands for.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, SetParts)> {
        let (kind, rest) = bytes.split_first()?;
        let id = |at: usize| {
            let id = rest.get(at..at + ID_BYTES)?;
            id.try_into().ok().map(NodeId::from_bytes)
        };
        let control = |at: usize| ControlSet::of_code(*rest.get(at)?);
        let (len, parts) = match kind {
            1 => (1, SetParts::Control(control(0)?)),
            2 => (ID_BYTES + 1, SetParts::Schema(id(0)?, control(ID_BYTES)?)),
            3 => (2 * ID_BYTES, SetParts::Data(id(0)?, id(ID_BYTES)?)),
            4 => (ID_BYTES, SetParts::Association(id(0)?)),
            _ => return None,
        };
        Some((Self(bytes.get(..=len)?.to_vec()), parts))
    }

    /// Returns the set in a key of a table whose keys begin with one.
    #[must_use]
    pub fn of_key(key: &Key) -> Option<(Self, SetParts)> {
        Self::parse(key.as_bytes().get(1..)?)
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
#[expect(missing_docs, reason = "the names are those in URLs")]
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

    /// The set of this stored number.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(set, _)| *set as u8 == code).map(|(set, _)| *set)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_in_a_key_is_found_with_its_parts() {
        let (a, b) = (NodeId::from_bytes([7; 16]), NodeId::from_bytes([8; 16]));
        for (set, parts) in [
            (
                SetKey::control(ControlSet::Role),
                SetParts::Control(ControlSet::Role),
            ),
            (
                SetKey::schema(&a, ControlSet::Property),
                SetParts::Schema(a, ControlSet::Property),
            ),
            (SetKey::data(&a, &b), SetParts::Data(a, b)),
            (SetKey::association(&b), SetParts::Association(b)),
        ] {
            let key = Key::table(b'E').fixed(set.as_bytes()).text("id").build();
            assert_eq!(SetKey::of_key(&key), Some((set, parts)));
        }
        assert_eq!(SetKey::parse(&[1, 99]), None);
        assert_eq!(SetKey::parse(&[3, 0]), None);
    }
}
