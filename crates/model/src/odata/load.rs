//! Loads entities, with all properties that clients see.

use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::key::EntityKey;
use personium_odata::value::{Properties, Value};
use personium_store::{CommitSeq, Key};
use personium_types::{Code, Error, NodeId, Result};

use super::association::parent_of;
use super::root::{RootScope, ServiceRoot, SetRef};
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::records::Versioned;

/// The key member with the name of the box of a relation that is a parent.
pub(super) const RELATION_BOX: &str = "_Relation._Box.Name";

/// An entity with the properties that clients see.
#[derive(Debug, Clone)]
pub struct Entity {
    /// Its id; for user data the value of `__id`.
    pub id: String,
    /// The stored entity without its document, which became [`Entity::properties`].
    pub stored: StoredEntity,
    /// The version of its record, which a change asserts.
    pub stamp: CommitSeq,
    /// The length of its record; 0 if it is not stored.
    pub stored_bytes: usize,
    /// Its properties under the names of the schema, with key members and timestamps.
    pub properties: Properties,
}

/// A check that may refuse a change after the entity was found.
pub type EntityCheck<'a> = &'a (dyn Fn(&Entity) -> Result<()> + Sync);

impl Entity {
    /// Its approximate memory in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let inner = self.stored.memory_bytes() + self.properties.memory_bytes();
        size_of::<Self>() + self.id.len() + inner
    }

    /// Removes all that is not part of the key.
    pub(super) fn reduce_to_key(&mut self, set: &SetRef) {
        self.properties.retain(|name| set.entity_type.is_key(name));
        self.stored.links.clear();
        self.stored.hidden.clear();
    }

    /// Its key.
    #[must_use]
    pub fn key(&self, set: &SetRef) -> EntityKey {
        EntityKey::of(&set.entity_type, &self.properties)
    }
}

/// Finds the entity with this key.
///
/// # Errors
/// Failures of the store.
pub async fn find(root: &ServiceRoot, set: &SetRef, key: &EntityKey) -> Result<Option<Entity>> {
    let Some(id) = find_id(root, set, key).await? else {
        return Ok(None);
    };
    find_by_id(root, set, &id).await
}

/// Finds the entity with this id.
pub(super) async fn find_by_id(
    root: &ServiceRoot,
    set: &SetRef,
    id: &str,
) -> Result<Option<Entity>> {
    match entity::find(&root.records, &set.key, id).await? {
        Some(found) => Ok(Some(complete(root, set, id.to_owned(), found).await?)),
        None => Ok(None),
    }
}

/// Finds the id of the entity with this key.
pub(super) async fn find_id(
    root: &ServiceRoot,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Option<String>> {
    if is_keyed_by_id(set) {
        return Ok(key.part(0).map(str::to_owned));
    }
    let Some(unique) = unique_of(root, set, key).await? else {
        return Ok(None);
    };
    entity::find_id(&root.records, &unique).await
}

/// Whether `__id` is the key of the set.
pub(super) fn is_keyed_by_id(set: &SetRef) -> bool {
    matches!(set.entity_type.key.as_slice(), [only] if &**only == ID)
}

/// The unique key of an entity of a control or schema set; `None` if the parent in the key does not exist.
async fn unique_of(root: &ServiceRoot, set: &SetRef, key: &EntityKey) -> Result<Option<Key>> {
    let parent = match find_parent(root, set, key).await? {
        Parent::Missing(_) => return Ok(None),
        Parent::None => None,
        Parent::Found(id) => Some(id),
    };
    Ok(Some(unique(set, key.name(), parent.as_deref())))
}

/// The unique key of a name below a parent.
pub(super) fn unique(set: &SetRef, name: &str, parent: Option<&str>) -> Key {
    if set.control.and_then(parent_of).is_some() {
        keys::unique(&set.key, 0, &[Some(name), parent])
    } else {
        keys::unique(&set.key, 0, &[Some(name)])
    }
}

/// The unique key of an entity with these properties, below a parent.
pub(super) fn unique_key(set: &SetRef, properties: &Properties, parent: Option<&str>) -> Key {
    let member = set.entity_type.key.first();
    let name = member.and_then(|member| properties.text(member));
    unique(set, name.unwrap_or_default(), parent)
}

/// The entity that is part of the key of another one.
enum Parent {
    /// The key has none.
    None,
    /// The entity with this id.
    Found(String),
    /// The entity of this name, which does not exist.
    Missing(String),
}

/// Finds the parent in a key.
async fn find_parent(root: &ServiceRoot, set: &SetRef, key: &EntityKey) -> Result<Parent> {
    let name_at = |member: &str| {
        let at = set.entity_type.key.iter().position(|k| &**k == member);
        at.and_then(|at| key.part(at)).map(str::to_owned)
    };
    let Some((_, member)) = set.control.and_then(parent_of) else {
        return Ok(Parent::None);
    };
    find_parent_named(root, set, name_at(member), name_at(RELATION_BOX)).await
}

/// Finds the parent of an entity of `set` by its name, and by the name of the parent's box if the parent is a relation.
async fn find_parent_named(
    root: &ServiceRoot,
    set: &SetRef,
    name: Option<String>,
    box_name: Option<String>,
) -> Result<Parent> {
    let Some((parent_set, _)) = set.control.and_then(parent_of) else {
        return Ok(Parent::None);
    };
    let Some(name) = name else {
        return Ok(Parent::None);
    };
    let Some(parent) = root.control_set(parent_set) else {
        return Ok(Parent::Missing(name));
    };
    let grandparent = if parent_set == ControlSet::Relation && box_name.is_some() {
        let Some(boxes) = root.control_set(ControlSet::Box) else {
            return Ok(Parent::Missing(name));
        };
        let key = unique(&boxes, box_name.as_deref().unwrap_or_default(), None);
        match entity::find_id(&root.records, &key).await? {
            Some(id) => Some(id),
            None => return Ok(Parent::Missing(box_name.unwrap_or(name))),
        }
    } else {
        None
    };
    let found = entity::find_id(
        &root.records,
        &unique(&parent, &name, grandparent.as_deref()),
    )
    .await?;
    Ok(found.map_or(Parent::Missing(name), Parent::Found))
}

/// Returns the id of the parent that the properties of a new or changed entity name.
///
/// # Errors
/// [`Code::ParentMissing`] if it does not exist; failures of the store.
pub(super) async fn find_parent_of(
    root: &ServiceRoot,
    set: &SetRef,
    properties: &Properties,
) -> Result<Option<String>> {
    let Some((_, member)) = set.control.and_then(parent_of) else {
        return Ok(None);
    };
    let name = properties.text(member).map(str::to_owned);
    let box_name = properties.text(RELATION_BOX).map(str::to_owned);
    match find_parent_named(root, set, name, box_name).await? {
        Parent::None => Ok(None),
        Parent::Found(id) => Ok(Some(id)),
        Parent::Missing(name) => Err(Error::new(Code::ParentMissing).with(name)),
    }
}

/// The key of the entity type of user data.
pub(super) fn entity_type_key(root: &ServiceRoot, type_id: &NodeId) -> Key {
    let set = match root.scope() {
        RootScope::Data(collection) => SetKey::schema(&collection, ControlSet::EntityType),
        _ => SetKey::control(ControlSet::EntityType),
    };
    keys::entity(&set, &type_id.to_string())
}

/// Adds the properties that are not part of the stored document: the id, key members that are names of parents,
/// timestamps.
pub(super) async fn complete(
    root: &ServiceRoot,
    set: &SetRef,
    id: String,
    found: Versioned<StoredEntity>,
) -> Result<Entity> {
    let mut stored = found.value;
    let mut properties =
        std::mem::take(&mut stored.doc).into_wire_names(root.edm(), &set.entity_type);
    if is_keyed_by_id(set) {
        properties.set(ID, id.as_str());
    }
    if let Some((parent_set, member)) = set.control.and_then(parent_of)
        && let Some(parent_id) = stored.links.get(parent_set.name())
    {
        let (name, box_name) = parent_names(root, parent_set, parent_id).await?;
        properties.set(member, name.as_str());
        if let Some(box_name) = box_name {
            properties.set(RELATION_BOX, box_name.as_str());
        }
    }
    properties.set(PUBLISHED, Value::DateTime(stored.published));
    properties.set(UPDATED, Value::DateTime(stored.updated));
    Ok(Entity {
        id,
        stored,
        stamp: found.version,
        stored_bytes: found.bytes,
        properties,
    })
}

async fn parent_names(
    root: &ServiceRoot,
    parent: ControlSet,
    id: &str,
) -> Result<(String, Option<String>)> {
    let Some(set) = root.control_set(parent) else {
        return Err(Code::OdataInconsistent.into());
    };
    let name_of = |set: SetKey, id: String| async move {
        let found = entity::find(&root.records, &set, &id).await?;
        let found = found.ok_or(Code::OdataInconsistent)?;
        Result::<_>::Ok((
            found.value.text("Name").unwrap_or_default(),
            found.value.links.get("Box").cloned(),
        ))
    };
    let (name, box_id) = name_of(set.key, id.to_owned()).await?;
    let box_name = match (parent, box_id) {
        (ControlSet::Relation, Some(box_id)) => {
            Some(name_of(SetKey::control(ControlSet::Box), box_id).await?.0)
        }
        _ => None,
    };
    Ok((name, box_name))
}
