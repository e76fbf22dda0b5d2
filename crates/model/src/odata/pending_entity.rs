//! Entities that are being changed in a batch.

use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::value::Properties;
use personium_store::{Batch, CommitSeq, Expect, Key};
use personium_types::{Code, Error, Result};

use super::association::parent_of;
use super::index;
use super::load::{Entity, RELATION_BOX, is_keyed_by_id};
use super::root::{ServiceRoot, SetRef};
use crate::entity::StoredEntity;
use crate::keys;
use crate::records;
use crate::usage;

/// An entity with its changes so far.
#[derive(Debug, Clone)]
pub(super) struct PendingEntity {
    pub set: SetRef,
    pub entity: Entity,
    /// The version that was read; `None` for a new entity.
    read: Option<CommitSeq>,
    old_index: Vec<Key>,
    changed: bool,
    /// Whether it has other properties than the entity that was read.
    has_new_properties: bool,
}

impl PendingEntity {
    /// Starts changes of an entity that was read.
    pub fn of_stored(set: &SetRef, entity: Entity) -> Self {
        let old_index = index::entries(set, &entity);
        Self {
            set: set.clone(),
            read: Some(entity.stamp),
            old_index,
            entity,
            changed: false,
            has_new_properties: false,
        }
    }

    /// Starts a new entity.
    pub fn of_new(set: &SetRef, id: String, properties: Properties, stored: StoredEntity) -> Self {
        let entity = Entity {
            id,
            stored,
            stamp: 0,
            stored_bytes: 0,
            properties,
        };
        Self {
            set: set.clone(),
            read: None,
            old_index: Vec::new(),
            entity,
            changed: true,
            has_new_properties: true,
        }
    }

    /// Sets or removes a to-one link, and increments the version.
    pub fn set_link(&mut self, field: &str, id: Option<&str>) {
        match id {
            Some(id) => self
                .entity
                .stored
                .links
                .insert(field.to_owned(), id.to_owned()),
            None => self.entity.stored.links.remove(field),
        };
        self.entity.stored.version += 1;
        self.changed = true;
    }

    /// Replaces the properties, and increments the version.
    pub fn replace(&mut self, properties: Properties, now_ms: i64) {
        self.entity.properties = properties;
        self.entity.stored.version += 1;
        self.entity.stored.updated = now_ms;
        self.changed = true;
        self.has_new_properties = true;
    }

    /// Adds the changes to the batch; for an unchanged entity, only the assertion that it exists.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`] if the entity is too large.
    pub fn write(self, root: &ServiceRoot, batch: &mut Batch) -> Result<Entity> {
        let max = root.unit.settings().odata.entity_max_bytes;
        if self.has_new_properties && self.entity.properties.size_bytes() > max {
            return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
        }
        let key = keys::entity(&self.set.key, &self.entity.id);
        if !self.changed {
            batch.assert(key, Expect::Present);
            return Ok(self.entity);
        }
        let new_index = index::entries(&self.set, &self.entity);
        for outdated in self.old_index.iter().filter(|k| !new_index.contains(k)) {
            batch.delete(outdated.clone());
        }
        for added in new_index.iter().filter(|k| !self.old_index.contains(k)) {
            batch.put(added.clone(), Vec::new());
        }
        if self.read.is_none() {
            batch.add(keys::entity_count(&self.set.key), 1);
        }
        let mut stored = self.entity.stored.clone();
        stored.doc = document(root, &self.set, &self.entity.properties);
        let read = self.read.map(|version| (version, self.entity.stored_bytes));
        records::put_entity_checked(batch, key, read, &stored)?;
        Ok(self.entity)
    }

    /// Adds the removal of the entity and its index to the batch. Links are left to the caller.
    pub fn remove(self, batch: &mut Batch) {
        let key = keys::entity(&self.set.key, &self.entity.id);
        batch.assert(
            key.clone(),
            self.read.map_or(Expect::Absent, Expect::Version),
        );
        batch.delete(key);
        for index_key in self.old_index {
            batch.delete(index_key);
        }
        batch.add(keys::entity_count(&self.set.key), -1);
        usage::add_entity(batch, self.entity.stored_bytes, 0);
    }
}

/// The stored document: all properties but null values and those that are stored elsewhere in the record, under stored
/// names.
fn document(root: &ServiceRoot, set: &SetRef, properties: &Properties) -> Properties {
    let parent = set.control.and_then(parent_of).map(|(_, member)| member);
    let is_elsewhere = |name: &str| {
        name == PUBLISHED
            || name == UPDATED
            || (name == ID && is_keyed_by_id(set))
            || Some(name) == parent
            || (parent.is_some() && name == RELATION_BOX)
    };
    let mut out = Properties::with_capacity(properties.len());
    for (name, value) in properties.iter() {
        if !value.is_null() && !is_elsewhere(name) {
            out.push(name.clone(), value.clone());
        }
    }
    out.into_stored_names(root.edm(), &set.entity_type)
}
