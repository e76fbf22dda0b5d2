//! How links along an association are kept.
//!
//! Every link is a record in both directions. An end that sees at most one entity keeps its id in the entity as
//! well, so that reading it needs no scan.

use personium_odata::edm::NavigationProperty;
use personium_types::{Code, Result};

use super::root::{ServiceRoot, SetRef};
use crate::keys::{ControlSet, SetKey};

/// An association seen from one of its entity types.
#[derive(Debug, Clone)]
pub struct Association {
    /// The set at this end.
    pub source_set: SetRef,
    /// The set at the other end.
    pub target_set: SetRef,
    /// How many entities of the other end one entity of this end may be linked to.
    pub target_cardinality: Cardinality,
    /// How many entities of this end one entity of the other end may be linked to.
    pub source_cardinality: Cardinality,
    /// What links from here are kept under.
    pub target_tag: SetKey,
    /// What links from there are kept under.
    pub source_tag: SetKey,
    /// The name in [`crate::entity::StoredEntity::links`] of an entity of this end, if `forth` is one.
    pub target_field: String,
    /// The same of an entity of the other end, if `back` is one.
    pub source_field: String,
    /// Whether the other end is part of the key of this end (`_Box.Name` of a role).
    pub target_in_source_key: bool,
    /// Whether this end is part of the key of the other end.
    pub source_in_target_key: bool,
}

/// How many entities an end may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// At most one.
    One,
    /// Any number.
    Many,
}

fn side(multiplicity: personium_odata::edm::Multiplicity) -> Cardinality {
    if multiplicity.is_many() {
        Cardinality::Many
    } else {
        Cardinality::One
    }
}

/// The set that is part of the key of `set`, with the names of the key members that show it.
pub(super) fn parent_of(set: ControlSet) -> Option<(ControlSet, &'static str)> {
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
    /// The association that a navigation property of a set leads along; `None` if there is no such property.
    #[must_use]
    pub fn association(&self, here: &SetRef, navigation: &str) -> Option<Association> {
        let property = here.entity_type.navigation(navigation)?;
        let there = self.set(&property.target).ok()?;
        let tags = self.tags(here, &there, property);
        let is_parent = |of: &SetRef, other: &SetRef| {
            of.control
                .and_then(parent_of)
                .is_some_and(|(parent, _)| Some(parent) == other.control)
        };
        Some(Association {
            target_cardinality: side(property.to_multiplicity),
            source_cardinality: side(property.from_multiplicity),
            target_in_source_key: is_parent(here, &there),
            source_in_target_key: is_parent(&there, here),
            target_tag: tags.0,
            source_tag: tags.1,
            target_field: tags.2,
            source_field: tags.3,
            source_set: here.clone(),
            target_set: there,
        })
    }

    fn tags(
        &self,
        here: &SetRef,
        there: &SetRef,
        property: &NavigationProperty,
    ) -> (SetKey, SetKey, String, String) {
        if let (Some(a), Some(b)) = (here.control, there.control) {
            return (
                there.key.clone(),
                here.key.clone(),
                b.name().to_owned(),
                a.name().to_owned(),
            );
        }
        let end = self
            .user()
            .and_then(|user| user.association_id(&property.association));
        let end = end.unwrap_or_else(|| personium_types::NodeId::from_bytes([0; 16]));
        let tag = SetKey::association(&end);
        (tag.clone(), tag, end.to_string(), end.to_string())
    }

    /// As [`Root::association`].
    ///
    /// # Errors
    /// 400 if there is no such property.
    pub fn link_association(&self, here: &SetRef, navigation: &str) -> Result<Association> {
        self.association(here, navigation)
            .ok_or_else(|| Code::NoSuchAssociation.into())
    }

    /// All associations of a set.
    pub(super) fn associations(&self, here: &SetRef) -> Vec<Association> {
        here.entity_type
            .navigation
            .iter()
            .filter_map(|n| self.association(here, &n.name))
            .collect()
    }
}

impl Association {
    /// The association seen from the other end.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            source_set: self.target_set.clone(),
            target_set: self.source_set.clone(),
            target_cardinality: self.source_cardinality,
            source_cardinality: self.target_cardinality,
            target_tag: self.source_tag.clone(),
            source_tag: self.target_tag.clone(),
            target_field: self.source_field.clone(),
            source_field: self.target_field.clone(),
            target_in_source_key: self.source_in_target_key,
            source_in_target_key: self.target_in_source_key,
        }
    }
}
