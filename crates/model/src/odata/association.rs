//! Associations, and how the links along them are stored.
//!
//! Every link is a record in both directions. An entity that may be linked to one entity only also stores its id, so
//! that reading the link needs no scan.

use personium_odata::edm::{Multiplicity, NavigationProperty};
use personium_types::{Code, NodeId, Result};

use super::root::{ServiceRoot, SetRef};
use crate::keys::{ControlSet, SetKey};

/// An association, seen from one of its ends.
#[derive(Debug, Clone)]
pub struct Association {
    /// This end.
    pub source: AssociationSide,
    /// The other end.
    pub target: AssociationSide,
}

/// One end of an association.
#[derive(Debug, Clone)]
pub struct AssociationSide {
    /// Its set.
    pub set: SetRef,
    /// The number of entities of this end that one entity of the other end may be linked to.
    pub cardinality: Cardinality,
    /// The part of link keys that stands for this end.
    pub tag: SetKey,
    /// The name in [`StoredEntity::links`](crate::entity::StoredEntity::links) of an entity of the other end for the
    /// id of its entity of this end, if it has at most one.
    pub field: String,
    /// Whether this end is part of the key of the other end (`_Box.Name` of a role).
    pub is_parent: bool,
}

/// The number of entities that an entity may be linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// At most one.
    One,
    /// Any number.
    Many,
}

fn cardinality(multiplicity: Multiplicity) -> Cardinality {
    if multiplicity.is_many() {
        Cardinality::Many
    } else {
        Cardinality::One
    }
}

/// The set that is part of the key of `set`, with the name of the key member for it.
#[must_use]
pub fn parent_of(set: ControlSet) -> Option<(ControlSet, &'static str)> {
    Some(match set {
        ControlSet::Role
        | ControlSet::Relation
        | ControlSet::Rule
        | ControlSet::ReceivedMessage
        | ControlSet::SentMessage => (ControlSet::Box, "_Box.Name"),
        ControlSet::ExtRole => (ControlSet::Relation, "_Relation.Name"),
        ControlSet::Property | ControlSet::AssociationEnd => {
            (ControlSet::EntityType, "_EntityType.Name")
        }
        ControlSet::ComplexTypeProperty => (ControlSet::ComplexType, "_ComplexType.Name"),
        _ => return None,
    })
}

impl ServiceRoot {
    /// The association of a navigation property of a set; `None` if there is no such property.
    #[must_use]
    pub fn association(&self, source: &SetRef, navigation: &str) -> Option<Association> {
        let property = source.entity_type.navigation(navigation)?;
        let target = self.set(&property.target).ok()?;
        let is_parent = |of: &SetRef, other: &SetRef| {
            of.control
                .and_then(parent_of)
                .is_some_and(|(parent, _)| Some(parent) == other.control)
        };
        let (source_is_parent, target_is_parent) =
            (is_parent(&target, source), is_parent(source, &target));
        let side = |set: SetRef, multiplicity: Multiplicity, is_parent| {
            let (tag, field) = self.tag(&set, property);
            AssociationSide {
                cardinality: cardinality(multiplicity),
                tag,
                field,
                is_parent,
                set,
            }
        };
        Some(Association {
            source: side(source.clone(), property.from_multiplicity, source_is_parent),
            target: side(target, property.to_multiplicity, target_is_parent),
        })
    }

    /// The tag and the field of an end: for control sets they name the set, for user data the association.
    fn tag(&self, end: &SetRef, property: &NavigationProperty) -> (SetKey, String) {
        if let Some(set) = end.control {
            return (end.key.clone(), set.name().to_owned());
        }
        let id = self
            .user_schema()
            .and_then(|schema| schema.association_id(&property.association))
            .unwrap_or_else(|| NodeId::from_bytes([0; 16]));
        (SetKey::association(&id), id.to_string())
    }

    /// As [`Self::association`].
    ///
    /// # Errors
    /// [`Code::NoSuchAssociation`] if there is no such property.
    pub fn link_association(&self, source: &SetRef, navigation: &str) -> Result<Association> {
        self.association(source, navigation)
            .ok_or_else(|| Code::NoSuchAssociation.into())
    }

    /// All associations of a set.
    pub(super) fn associations(&self, source: &SetRef) -> Vec<Association> {
        source
            .entity_type
            .navigation
            .iter()
            .filter_map(|n| self.association(source, &n.name))
            .collect()
    }
}

impl Association {
    /// Whether target entities belong to one source entity each, and are deleted with it or before it.
    pub(super) fn is_ownership(&self) -> bool {
        self.target.cardinality == Cardinality::Many && self.source.cardinality == Cardinality::One
    }

    /// The association seen from the other end.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            source: self.target.clone(),
            target: self.source.clone(),
        }
    }
}
