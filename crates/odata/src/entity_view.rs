//! The input of the response writers: entities with their metadata.

use crate::edm::EntityType;
use crate::key::{KeyStyle, push_key};
use crate::value::Properties;
use personium_types::ETag;

/// One entity as an answer shows it.
#[derive(Clone, Debug)]
pub struct EntityView<'a> {
    /// Its type.
    pub entity_type: &'a EntityType,
    /// Its version and the time of its last change, shown as `__updated` too.
    pub etag: ETag,
    /// Time of its creation in milliseconds since 1970.
    pub published: i64,
    /// Its values by wire name, key members among them; stamps need not be.
    pub properties: &'a Properties,
    /// Targets of expanded navigation properties.
    pub expanded: Vec<ExpandedNavigation<'a>>,
}

/// The targets of one expanded navigation property.
#[derive(Clone, Debug)]
pub struct ExpandedNavigation<'a> {
    /// Name of the navigation property.
    pub navigation: &'a str,
    /// Its targets; a list also where there is at most one.
    pub entities: Vec<EntityView<'a>>,
}

/// Which members an entity is shown with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityShape {
    /// As GET shows it: every property of the type, then the navigation properties.
    Read,
    /// As POST shows it: declared properties and those dynamic ones that were sent, null key members at the end, no
    /// navigation properties.
    Created,
    /// As a POST inside `$batch` shows it: only the key has a value, every other property of the type is null;
    /// then the navigation properties.
    BatchCreated,
}

/// Appends the key of an entity with its brackets.
pub(crate) fn push_entity_key(out: &mut String, entity: &EntityView<'_>, style: KeyStyle) {
    push_key(out, entity.entity_type, style, |_, name| {
        entity.properties.text(name)
    });
}
