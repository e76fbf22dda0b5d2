//! How links along an association are kept.
//!
//! Every link is a record in both directions. An end that sees at most one entity keeps its id in the entity as
//! well, so that reading it needs no scan.

use personium_odata::edm::NavigationProperty;
use personium_types::{Code, Result};

use super::root::{Root, SetRef};
use crate::keys::{ControlSet, SetKey};

/// An association seen from one of its entity types.
#[derive(Debug, Clone)]
pub struct Association {
    /// The set at this end.
    pub here: SetRef,
    /// The set at the other end.
    pub there: SetRef,
    /// How many entities of the other end one entity of this end may be linked to.
    pub forth: Side,
    /// How many entities of this end one entity of the other end may be linked to.
    pub back: Side,
    /// What links from here are kept under.
    pub tag_forth: SetKey,
    /// What links from there are kept under.
    pub tag_back: SetKey,
    /// The name in [`crate::entity::StoredEntity::links`] of an entity of this end, if `forth` is one.
    pub field_forth: String,
    /// The same of an entity of the other end, if `back` is one.
    pub field_back: String,
    /// Whether the other end is part of the key of this end (`_Box.Name` of a role).
    pub in_key: bool,
    /// Whether this end is part of the key of the other end.
    pub in_key_there: bool,
}

/// How many entities an end may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// At most one.
    One,
    /// Any number.
    Many,
}

fn side(multiplicity: personium_odata::edm::Multiplicity) -> Side {
    if multiplicity.is_many() {
        Side::Many
    } else {
        Side::One
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

impl Root {
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
            forth: side(property.to),
            back: side(property.from),
            in_key: is_parent(here, &there),
            in_key_there: is_parent(&there, here),
            tag_forth: tags.0,
            tag_back: tags.1,
            field_forth: tags.2,
            field_back: tags.3,
            here: here.clone(),
            there,
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
            here: self.there.clone(),
            there: self.here.clone(),
            forth: self.back,
            back: self.forth,
            tag_forth: self.tag_back.clone(),
            tag_back: self.tag_forth.clone(),
            field_forth: self.field_back.clone(),
            field_back: self.field_forth.clone(),
            in_key: self.in_key_there,
            in_key_there: self.in_key,
        }
    }
}
