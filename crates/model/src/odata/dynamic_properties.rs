//! Registers undeclared members of bodies as dynamic properties of their entity type.

use std::collections::HashSet;

use personium_odata::body::NewProperty;
use personium_odata::value::Properties;
use personium_store::{Batch, Expect, Key};
use personium_types::{Code, NodeId, Result};

use super::property_limits;
use super::root::{RootScope, ServiceRoot, SetRef};
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet, SetKey};
use crate::records;

/// Registers the dynamic properties of one batch. A property that several bodies of the batch have is registered once.
#[derive(Default)]
pub(super) struct DynamicProperties {
    registered: HashSet<Key>,
}

impl DynamicProperties {
    /// Adds properties to a batch. Returns the unique keys of those that this batch does not have yet, for
    /// [`Self::extend`].
    ///
    /// # Errors
    /// [`Code::Conflict`] if another request registered one meanwhile: then the body must be validated again;
    /// [`Code::PropertyLimit`] if the entity type has too many; failures of the store.
    pub async fn register(
        &self,
        root: &ServiceRoot,
        set: &SetRef,
        properties: &[NewProperty],
        batch: &mut Batch,
    ) -> Result<Vec<Key>> {
        let (RootScope::Data(collection), Some(type_id)) = (root.scope(), &set.type_id) else {
            return Ok(Vec::new());
        };
        let set_key = SetKey::schema(&collection, ControlSet::Property);
        let type_id = type_id.to_string();
        let mut registered = self.registered.clone();
        let mut new = Vec::new();
        for property in properties {
            let key = keys::unique(&set_key, 0, &[Some(&property.name), Some(&type_id)]);
            if registered.contains(&key) {
                continue;
            }
            if root.records.find_bytes(&key).await?.is_some() {
                return Err(Code::Conflict.into());
            }
            property_limits::check_dynamic(root, set, registered.len())?;
            store(root, &collection, &type_id, property, batch)?;
            registered.insert(key.clone());
            new.push(key);
        }
        Ok(new)
    }

    /// Adds the keys of properties that joined the batch.
    pub fn extend(&mut self, keys: Vec<Key>) {
        self.registered.extend(keys);
    }
}

/// Adds a dynamic property to a batch.
fn store(
    root: &ServiceRoot,
    collection: &NodeId,
    type_id: &str,
    property: &NewProperty,
    batch: &mut Batch,
) -> Result<()> {
    let properties = SetKey::schema(collection, ControlSet::Property);
    let types = SetKey::schema(collection, ControlSet::EntityType);
    let mut doc = Properties::new();
    doc.set("Name", &*property.name);
    doc.set("Type", property.simple.name());
    doc.set("Nullable", true);
    doc.set("CollectionKind", "None");
    doc.set("IsKey", false);
    doc.set("IsDeclared", false);
    let now = root.unit.now_ms();
    let mut stored = StoredEntity::new(doc, now);
    stored
        .links
        .insert("EntityType".to_owned(), type_id.to_owned());
    let id = NodeId::at(now, root.unit.random()).to_string();
    let unique = keys::unique(&properties, 0, &[Some(&property.name), Some(type_id)]);
    batch.assert(unique.clone(), Expect::Absent);
    batch.put(unique, id.clone().into_bytes());
    batch.put(keys::link(&properties, &id, &types, type_id), Vec::new());
    batch.put(keys::link(&types, type_id, &properties, &id), Vec::new());
    batch.add(keys::entity_count(&properties), 1);
    batch.replace(keys::schema_version(collection), Vec::new());
    let key = keys::entity(&properties, &id);
    records::put_entity_checked(batch, key, None, &stored)
}
