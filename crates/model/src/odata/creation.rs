//! Entities to create.

use std::collections::BTreeMap;

use personium_odata::body::ValidatedBody;
use personium_odata::key::EntityKey;
use personium_types::Code;

use super::association::Association;
use super::root::SetRef;

/// An entity to create.
#[derive(Debug, Clone)]
pub struct Creation {
    /// The set.
    pub set: SetRef,
    /// The validated body.
    pub body: ValidatedBody,
    /// Values that clients never see: hashed credentials, the owner of a cell.
    pub hidden: BTreeMap<String, String>,
    /// The source, if it is created through a navigation property.
    pub navigation: Option<NavigationSource>,
    /// The code of the error if the key is taken.
    pub exists: Code,
    /// The history of the entity if it does not begin with the creation.
    pub history: Option<EntityHistory>,
}

/// When an entity was created and last changed, milliseconds since 1970, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityHistory {
    /// The creation.
    pub published: i64,
    /// The last change.
    pub updated: i64,
    /// The first part of the ETag. To-one links that are made afterwards add to it.
    pub version: u64,
}

/// The source of a navigation property through which an entity is created.
#[derive(Debug, Clone)]
pub struct NavigationSource {
    /// The association from the source to the set of the new entity.
    pub association: Association,
    /// The key of the source.
    pub source: EntityKey,
    /// The URL of the request, for its event; `None` for a part of a batch.
    pub url: Option<String>,
}
