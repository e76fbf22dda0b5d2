//! The sets that entities belong to, as they stand in keys.

use personium_types::NodeId;

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

    /// Its name in URLs.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(set, _)| *set == self)
            .map_or("", |(_, n)| n)
    }
}
