//! The records that follow from an entity: its unique keys, its index entries, and its links to single entities.

use std::collections::HashMap;
use std::sync::Arc;

use personium_odata::control;
use personium_odata::edm::{EntityType, ID, PUBLISHED, Schema, UPDATED};
use personium_odata::value::Value;
use personium_store::Key;
use personium_types::{NodeId, Result};

use super::association::parent_of;
use super::load::{self, Entity};
use super::root::SetRef;
use super::user_schema::{self, UserSchema};
use super::{index, rules};
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet, SetKey, SetParts};
use crate::records::Records;

/// The largest number of schemas of collections that are kept.
const SCHEMAS_MAX: usize = 8;

/// A record that follows from an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DerivedRecord {
    pub(crate) key: Key,
    /// The value, if the record has one.
    pub(crate) value: Option<String>,
    pub(crate) kind: DerivedKind,
}

/// The kind of a record that follows from an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DerivedKind {
    Unique,
    Index,
    Link,
}

/// The schemas of the sets of one space.
pub(crate) struct SetSchemas {
    records: Records,
    of_unit: bool,
    user: HashMap<NodeId, Arc<UserSchema>>,
}

impl SetSchemas {
    /// Those of the unit, or of a cell.
    pub(crate) fn new(records: Records) -> Self {
        let of_unit = *records.space() == personium_store::Space::Unit;
        Self {
            records,
            of_unit,
            user: HashMap::new(),
        }
    }

    /// Forgets the schemas of collections, which may have been changed.
    pub(crate) fn forget(&mut self) {
        self.user.clear();
    }

    /// Returns the schema of a collection.
    ///
    /// # Errors
    /// A failure of the store.
    async fn user_schema(&mut self, collection: &NodeId) -> Result<Arc<UserSchema>> {
        if let Some(found) = self.user.get(collection) {
            return Ok(Arc::clone(found));
        }
        if self.user.len() >= SCHEMAS_MAX {
            self.user.clear();
        }
        let read = user_schema::read(&self.records, collection).await?;
        let schema = Arc::new(read);
        self.user.insert(*collection, Arc::clone(&schema));
        Ok(schema)
    }

    /// Returns the name of an entity type of a collection.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn type_name(
        &mut self,
        collection: &NodeId,
        type_id: &NodeId,
    ) -> Result<Option<String>> {
        let schema = self.user_schema(collection).await?;
        Ok(schema.name_of_type(type_id).map(str::to_owned))
    }

    /// Returns the set of entities at the other end of the links with this tag from entities of a set. `None` if there is no such
    /// association any more.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn linked_set(&mut self, set: &SetKey, tag: &[u8]) -> Result<Option<SetKey>> {
        let parts = (SetKey::parse(set.as_bytes()), SetKey::parse(tag));
        let (Some((_, of_set)), Some((tag, of_tag))) = parts else {
            return Ok(None);
        };
        let SetParts::Association(association) = of_tag else {
            return Ok(Some(tag));
        };
        let SetParts::Data(collection, type_id) = of_set else {
            return Ok(None);
        };
        let schema = self.user_schema(&collection).await?;
        let other = schema.linked_type(&type_id, &association);
        Ok(other.map(|other| SetKey::data(&collection, &other)))
    }

    /// Returns the records that follow from an entity. `None` if there is no such set any more.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn derive(
        &mut self,
        key: &SetKey,
        id: &str,
        stored: StoredEntity,
    ) -> Result<Option<Vec<DerivedRecord>>> {
        let Some((_, parts)) = SetKey::parse(key.as_bytes()) else {
            return Ok(None);
        };
        let fixed = |schema: &'static Schema, control: ControlSet| {
            let entity_type = schema.entity_type(control.name())?;
            Some((schema, set_ref(key, entity_type, Some(control), None)))
        };
        let set = match parts {
            SetParts::Control(set) if self.of_unit => fixed(control::unit(), set),
            SetParts::Control(set) => fixed(control::cell(), set),
            SetParts::Schema(_, set) => fixed(control::schema(), set),
            SetParts::Association(_) => None,
            SetParts::Data(collection, type_id) => {
                let schema = self.user_schema(&collection).await?;
                let name = schema.name_of_type(&type_id);
                let found = name.and_then(|name| schema.edm.entity_type(name));
                return Ok(found.map(|entity_type| {
                    let set = set_ref(key, entity_type, None, Some(type_id));
                    derived((&schema.edm, &set), id, stored, |field| {
                        let association = field.parse::<NodeId>().ok()?;
                        schema.linked_type(&type_id, &association)?;
                        Some(SetKey::association(&association))
                    })
                }));
            }
        };
        Ok(set.map(|(schema, set)| {
            derived((schema, &set), id, stored, |field| {
                let other = ControlSet::named(field)?;
                Some(match parts {
                    SetParts::Schema(collection, _) => SetKey::schema(&collection, other),
                    _ => SetKey::control(other),
                })
            })
        }))
    }
}

fn set_ref(
    key: &SetKey,
    entity_type: &Arc<EntityType>,
    control: Option<ControlSet>,
    type_id: Option<NodeId>,
) -> SetRef {
    SetRef {
        key: key.clone(),
        entity_type: Arc::clone(entity_type),
        control,
        type_id,
    }
}

/// `tag_of` returns the part of link keys for the name of a link to a single entity.
fn derived(
    (schema, set): (&Schema, &SetRef),
    id: &str,
    mut stored: StoredEntity,
    tag_of: impl Fn(&str) -> Option<SetKey>,
) -> Vec<DerivedRecord> {
    let doc = std::mem::take(&mut stored.doc);
    let mut properties = doc.into_wire_names(schema, &set.entity_type);
    let is_keyed_by_id = load::is_keyed_by_id(set);
    if is_keyed_by_id {
        properties.set(ID, id);
    }
    properties.set(PUBLISHED, Value::DateTime(stored.published));
    properties.set(UPDATED, Value::DateTime(stored.updated));
    let parent = set.control.and_then(parent_of);
    let parent = parent.and_then(|(parent, _)| stored.links.get(parent.name()));
    let mut unique = rules::unique_keys(set, &properties);
    if !is_keyed_by_id {
        unique.push(load::unique_key(
            set,
            &properties,
            parent.map(String::as_str),
        ));
    }
    let links = stored.links.iter().filter_map(|(field, other)| {
        let tag = tag_of(field)?;
        Some(keys::link(&set.key, id, &tag, other))
    });
    let links: Vec<Key> = links.collect();
    let entity = Entity {
        id: id.to_owned(),
        stored,
        stamp: 0,
        stored_bytes: 0,
        properties,
    };
    let record = |key, value: Option<&str>, kind| DerivedRecord {
        key,
        value: value.map(str::to_owned),
        kind,
    };
    let unique = unique.into_iter();
    let mut all: Vec<DerivedRecord> = unique
        .map(|key| record(key, Some(id), DerivedKind::Unique))
        .collect();
    let entries = index::entries(set, &entity).into_iter();
    all.extend(entries.map(|key| record(key, None, DerivedKind::Index)));
    all.extend(
        links
            .into_iter()
            .map(|key| record(key, None, DerivedKind::Link)),
    );
    all
}

/// The id of the entity in the key of an index entry.
pub(crate) fn id_of_index_entry(key: &Key) -> Option<(SetKey, String)> {
    let (set, _, begin) = keys::parts_of_index_entry(key)?;
    Some((set, index::id_of(key, begin)?.0))
}
