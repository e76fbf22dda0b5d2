//! From keys to entities, with everything that clients see of them.

use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::key::EntityKey;
use personium_odata::value::{Properties, Value};
use personium_store::CommitSeq;
use personium_types::{Code, Result};

use super::association::parent_of;
use super::root::{ServiceRoot, SetRef};
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::records::Versioned;

/// An entity with the values that clients see.
#[derive(Debug, Clone)]
pub struct Entity {
    /// Its id in keys; for user data the value of `__id`.
    pub id: String,
    /// As it is stored, but without its document: that is [`Entity::properties`].
    pub stored: StoredEntity,
    /// The version of its record, to be asserted when it is changed.
    pub stamp: CommitSeq,
    /// Its properties under the names of the schema, with key members and time stamps.
    pub properties: Properties,
}

impl Entity {
    /// Its key.
    #[must_use]
    pub fn key(&self, set: &SetRef) -> EntityKey {
        EntityKey::of(&set.entity_type, &self.properties)
    }
}

/// The entity with this key; `None` if there is none.
pub async fn find(root: &ServiceRoot, set: &SetRef, key: &EntityKey) -> Result<Option<Entity>> {
    let Some(id) = find_id(root, set, key).await? else {
        return Ok(None);
    };
    find_by_id(root, set, &id).await
}

/// The entity with this id.
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

/// The id of the entity with this key.
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

/// The unique record that a key of a control or schema set has; `None` if a parent it names does not exist.
pub(super) async fn unique_of(
    root: &ServiceRoot,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Option<personium_store::Key>> {
    let parent = match find_parent(root, set, key).await? {
        Parent::Missing(_) => return Ok(None),
        Parent::None => None,
        Parent::Found(id) => Some(id),
    };
    Ok(Some(unique(set, key.name(), parent.as_deref())))
}

/// The unique record of a name below a parent.
pub(super) fn unique(set: &SetRef, name: &str, parent: Option<&str>) -> personium_store::Key {
    if set.control.and_then(parent_of).is_some() {
        keys::unique(&set.key, 0, &[Some(name), parent])
    } else {
        keys::unique(&set.key, 0, &[Some(name)])
    }
}

/// The entity that is part of the key of another one.
pub(super) enum Parent {
    /// The key names none.
    None,
    /// The one with this id.
    Found(String),
    /// The key names this one, but there is none.
    Missing(String),
}

/// The parent that a key names.
pub(super) async fn find_parent(
    root: &ServiceRoot,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Parent> {
    let name_at = |member: &str| {
        let at = set.entity_type.key.iter().position(|k| &**k == member);
        at.and_then(|at| key.part(at)).map(str::to_owned)
    };
    let Some((_, member)) = set.control.and_then(parent_of) else {
        return Ok(Parent::None);
    };
    find_parent_named(root, set, name_at(member), name_at("_Relation._Box.Name")).await
}

/// The parent of an entity of `set` by its name, and by the name of its own box if it is a relation.
pub(super) async fn find_parent_named(
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
    let grand = if parent_set == ControlSet::Relation && box_name.is_some() {
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
    let found = entity::find_id(&root.records, &unique(&parent, &name, grand.as_deref())).await?;
    Ok(found.map_or(Parent::Missing(name), Parent::Found))
}

/// Adds what is not in the document: the id, key members that are names of parents, time stamps.
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
            properties.set("_Relation._Box.Name", box_name.as_str());
        }
    }
    properties.set(PUBLISHED, Value::DateTime(stored.published));
    properties.set(UPDATED, Value::DateTime(stored.updated));
    Ok(Entity {
        id,
        stored,
        stamp: found.version,
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
