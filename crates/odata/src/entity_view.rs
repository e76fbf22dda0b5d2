//! Entities with their metadata, as the JSON and Atom writers get them.

use personium_types::ETag;

use crate::edm::{EntityType, Property, UPDATED};
use crate::key::{KeyStyle, push_key};
use crate::value::{Properties, Value};

/// An entity for a response.
#[derive(Clone, Debug)]
pub struct EntityView<'a> {
    /// The type of the entity.
    pub entity_type: &'a EntityType,
    /// The entity tag. Its time is the value of `__updated`.
    pub etag: ETag,
    /// The time of the creation in milliseconds since 1970, the value of `__published`.
    pub published: i64,
    /// The values by property name, including the key. Time stamps are ignored.
    pub properties: &'a Properties,
    /// The targets of expanded navigation properties.
    pub expanded: Vec<ExpandedNavigation<'a>>,
}

impl EntityView<'_> {
    /// The value of `__published` or `__updated`.
    pub(crate) fn timestamp(&self, property: &Property) -> Value {
        Value::DateTime(if &*property.name == UPDATED {
            self.etag.updated_ms
        } else {
            self.published
        })
    }
}

/// The targets of one expanded navigation property.
#[derive(Clone, Debug)]
pub struct ExpandedNavigation<'a> {
    /// The name of the navigation property.
    pub navigation: &'a str,
    /// The targets.
    pub entities: Vec<EntityView<'a>>,
}

/// The members of a list after its entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListEnd<'a> {
    /// The number of matching entities on all pages.
    pub count: Option<u64>,
    /// The URL of the next page.
    pub next: Option<&'a str>,
}

/// The members of an entity in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityShape {
    /// The response to GET: every property of the type, then the navigation properties.
    Read,
    /// The response to POST: the declared properties and the dynamic properties of the request, the key properties that are
    /// null at the end, no navigation properties.
    Created,
    /// The response to POST in `$batch`: every property of the type, null except for the key, then the navigation
    /// properties.
    BatchCreated,
}

/// Appends the key predicate of an entity with its brackets.
pub(crate) fn push_entity_key(out: &mut String, entity: &EntityView<'_>, style: KeyStyle) {
    push_key(out, entity.entity_type, style, |_, name| {
        entity.properties.text(name)
    });
}
