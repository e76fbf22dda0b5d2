//! New entities.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use personium_odata::body::{NewProperty, ValidatedBody};
use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::key::EntityKey;
use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Expect, Key};
use personium_types::{CellId, Code, Error, NodeId, Result};

use super::association::{Association, Cardinality, parent_of};
use super::link;
use super::load::{self, Entity, Parent};
use super::operations::{check_link, check_write};
use super::pending_entity::PendingEntity;
use super::root::{ServiceRoot, SetRef};
use super::{rules, schema_rules};
use crate::Permit;
use crate::commit::Invalidation;
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet, SetKey};

/// An entity to create.
#[derive(Debug, Clone)]
pub struct Creation {
    /// The set.
    pub set: SetRef,
    /// The validated body.
    pub accepted: ValidatedBody,
    /// What clients never see: hashed credentials, the owner of a cell.
    pub hidden: BTreeMap<String, String>,
    /// The entity to link it to, if it is created through a navigation property.
    pub navigation: Option<NavigationSource>,
    /// The code if the key is taken.
    pub exists: Code,
}

/// The source of a navigation property through which an entity is created.
#[derive(Debug, Clone)]
pub struct NavigationSource {
    /// The association from the source to the set of the new entity.
    pub association: Association,
    /// The key of the source.
    pub source: EntityKey,
}

/// Creates entities by one batch: all that can be are created, each has its own result.
///
/// With one creation this is a plain create. Later ones see the keys and to-one links of earlier ones. In a collection
/// nothing is created once that, or the entity type, is gone.
///
/// # Errors
/// [`Code::NoSuchResource`] or [`Code::NoSuchSet`] if the collection or an entity type was removed meanwhile, a failure of
/// the store, or an internal error if the permit is not for these sets and links.
pub async fn create(
    root: &ServiceRoot,
    permit: &Permit,
    creations: &[Creation],
) -> Result<Vec<Result<Entity>>> {
    for creation in creations {
        check_write(root, permit, &creation.set)?;
        if let Some(source) = &creation.navigation {
            check_link(root, permit, &source.association)?;
        }
    }
    store_new(root, creations).await
}

/// As [`create`], for a caller that checked its own permit.
pub(super) async fn store_new(
    root: &ServiceRoot,
    creations: &[Creation],
) -> Result<Vec<Result<Entity>>> {
    let registers = creations
        .iter()
        .any(|c| !c.accepted.new_properties.is_empty());
    let is_message = |set: Option<ControlSet>| {
        matches!(
            set,
            Some(ControlSet::SentMessage | ControlSet::ReceivedMessage)
        )
    };
    let invalidation = if registers {
        Invalidation::Cell
    } else if creations.iter().all(|c| is_message(c.set.control)) {
        Invalidation::None
    } else {
        root.invalidation()
    };
    let again = AtomicBool::new(false);
    root.transact(invalidation, || async {
        let home = if again.swap(true, Ordering::AcqRel) {
            check_types(root, creations).await?;
            root.reload_collection().await?
        } else {
            root.collection_guard()
        };
        let mut run = CreationBatch::new(root);
        let mut out = Vec::with_capacity(creations.len());
        for creation in creations {
            // Boxed: as a part of every request that may create something it would be large.
            let outcome = Box::pin(run.add(creation)).await;
            if let Err(failure) = &outcome
                && failure.code().is_server_error()
            {
                return Err(Error::new(failure.code()));
            }
            out.push(outcome);
        }
        if let Some(home) = home.filter(|_| !run.batch.is_empty()) {
            home.assert(&mut run.batch);
        }
        Ok((run.batch, out))
    })
    .await
}

/// Whether the entity types of user data are still there.
///
/// # Errors
/// 404 if one is gone.
async fn check_types(root: &ServiceRoot, creations: &[Creation]) -> Result<()> {
    let ids = creations.iter().filter_map(|c| c.set.type_id.as_ref());
    let keys: BTreeSet<Key> = ids.map(|id| entity_type_key(root, id)).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    if root.records.are_present(&keys).await?.contains(&false) {
        return Err(Code::NoSuchSet.into());
    }
    Ok(())
}

/// Creations that go into one batch.
pub(super) struct CreationBatch<'a> {
    pub root: &'a ServiceRoot,
    pub batch: Batch,
    /// Keys that the batch gives up: a later creation may take them.
    pub freed: HashSet<Key>,
    /// Keys that an earlier creation of this batch takes.
    seen: HashSet<Key>,
    registered: HashSet<Key>,
}

impl<'a> CreationBatch<'a> {
    pub fn new(root: &'a ServiceRoot) -> Self {
        Self {
            root,
            batch: Batch::new(),
            freed: HashSet::new(),
            seen: HashSet::new(),
            registered: HashSet::new(),
        }
    }

    /// Adds a creation to the batch.
    pub async fn add(&mut self, creation: &Creation) -> Result<Entity> {
        let root = self.root;
        let set = &creation.set;
        let now = root.unit.now_ms();
        let mut step = Batch::new();
        let mut claimed = Vec::new();
        let mut properties = creation.accepted.properties.clone();
        let id = self.new_id(set, &mut properties);
        let source = self.source(creation).await?;
        let parent = self.parent(set, &properties).await?;
        if let Some(linked) = &creation.navigation
            && linked.association.target_cardinality == Cardinality::One
            && let Some(source) = &source
            && source
                .entity
                .stored
                .links
                .contains_key(&linked.association.target_field)
        {
            self.check_free(creation, &id, parent.as_deref(), &properties)
                .await?;
            return Err(Code::LinkExists.into());
        }
        for key in self
            .check_free(creation, &id, parent.as_deref(), &properties)
            .await?
        {
            self.assert_free(&mut step, &key);
            claimed.push(key);
        }
        rules::check_create(root, set, &properties, parent.as_deref(), &mut step).await?;
        let mut stored = StoredEntity::new(Properties::new(), now);
        stored.hidden = creation.hidden.clone();
        schema_rules::choose_alias(root, set, &properties, parent.as_deref(), &mut stored).await?;
        properties.set(PUBLISHED, Value::DateTime(now));
        properties.set(UPDATED, Value::DateTime(now));
        let mut draft = PendingEntity::of_new(set, id, properties, stored);
        let bound_by_link = creation
            .navigation
            .as_ref()
            .is_some_and(|l| l.association.source_in_target_key);
        if let Some(parent) = &parent {
            self.bind(&mut step, &mut draft, parent)?;
        }
        let mut key_parent = parent;
        if let (Some(linked), Some(source)) = (&creation.navigation, source)
            && !(bound_by_link && key_parent.is_some())
        {
            let source = self.attach(linked, source, &mut draft, &mut step).await?;
            if linked.association.target_cardinality == Cardinality::One {
                let set = &linked.association.source_set;
                claimed.push(keys::link_claim(&set.key, &source));
            }
            if bound_by_link {
                key_parent = Some(source);
            }
        }
        if !load::is_keyed_by_id(set) {
            let key = self.unique(set, &draft.entity.properties, key_parent.as_deref());
            if bound_by_link && root.records.find_bytes(&key).await?.is_some() {
                return Err(Code::LinkExists.into());
            }
            self.assert_free(&mut step, &key);
            step.put(key, draft.entity.id.clone().into_bytes());
        }
        rules::claim_uniques(set, &draft.entity, None, &mut step);
        rules::after_create(set, &draft.entity, &mut step)?;
        let registered = self
            .register(set, &creation.accepted.new_properties, now, &mut step)
            .await?;
        if let Some(type_id) = &set.type_id {
            step.assert(entity_type_key(root, type_id), Expect::Present);
        }
        let entity = draft.write(root, &mut step)?;
        if claimed.iter().any(|key| self.seen.contains(key)) {
            return Err(creation.exists.into());
        }
        self.seen.extend(claimed);
        self.registered.extend(registered);
        self.batch.append(step);
        Ok(entity)
    }

    /// Links a new entity to the source of a navigation property; gives the id of the source.
    async fn attach(
        &self,
        linked: &NavigationSource,
        mut source: PendingEntity,
        draft: &mut PendingEntity,
        step: &mut Batch,
    ) -> Result<String> {
        let root = self.root;
        let association = &linked.association;
        let ends = Some(ControlSet::AssociationEnd);
        if association.source_set.control == ends && association.target_set.control == ends {
            schema_rules::check_relation(root, &source.entity, &draft.entity).await?;
        }
        link::connect(root, step, association, &mut source, draft).await?;
        let (from, to) = (&source.entity, &draft.entity);
        link::rekey(root, step, association, from, to, link::LinkChange::Add).await?;
        Ok(source.write(root, step)?.id)
    }

    fn new_id(&self, set: &SetRef, properties: &mut Properties) -> String {
        if load::is_keyed_by_id(set) {
            return properties.text(ID).map_or_else(
                || NodeId::at(self.root.unit.now_ms(), self.root.unit.random()).to_string(),
                str::to_owned,
            );
        }
        match set.control {
            Some(ControlSet::Cell) => {
                CellId::at(self.root.unit.now_ms(), self.root.unit.random()).to_string()
            }
            _ => NodeId::at(self.root.unit.now_ms(), self.root.unit.random()).to_string(),
        }
    }

    async fn source(&self, creation: &Creation) -> Result<Option<PendingEntity>> {
        let Some(linked) = &creation.navigation else {
            return Ok(None);
        };
        let here = &linked.association.source_set;
        let found = load::find(self.root, here, &linked.source)
            .await?
            .ok_or(Code::LinkSourceMissing)?;
        let draft = PendingEntity::of_stored(here, found);
        if linked.association.target_cardinality == Cardinality::One
            && self
                .seen
                .contains(&keys::link_claim(&here.key, &draft.entity.id))
        {
            return Err(Code::LinkExists.into());
        }
        Ok(Some(draft))
    }

    /// The parent that the body names.
    async fn parent(&self, set: &SetRef, properties: &Properties) -> Result<Option<String>> {
        let Some((_, member)) = set.control.and_then(parent_of) else {
            return Ok(None);
        };
        let name = properties.text(member).map(str::to_owned);
        let box_name = properties.text("_Relation._Box.Name").map(str::to_owned);
        match load::find_parent_named(self.root, set, name, box_name).await? {
            Parent::None => Ok(None),
            Parent::Found(id) => Ok(Some(id)),
            Parent::Missing(name) => Err(Error::new(Code::ParentMissing).with(name)),
        }
    }

    /// The keys that must be free, if they are.
    async fn check_free(
        &self,
        creation: &Creation,
        id: &str,
        parent: Option<&str>,
        properties: &Properties,
    ) -> Result<Vec<Key>> {
        let set = &creation.set;
        let mut wanted = if load::is_keyed_by_id(set) {
            vec![keys::entity(&set.key, id)]
        } else {
            vec![self.unique(set, properties, parent)]
        };
        if let Some(first) = wanted.first()
            && self.is_taken(first).await?
        {
            return Err(creation.exists.into());
        }
        for key in rules::unique_keys(set, properties) {
            if self.is_taken(&key).await? {
                return Err(Code::EntityExists.into());
            }
            wanted.push(key);
        }
        Ok(wanted)
    }

    async fn is_taken(&self, key: &Key) -> Result<bool> {
        Ok(self.seen.contains(key)
            || !self.freed.contains(key) && self.root.records.find_bytes(key).await?.is_some())
    }

    fn assert_free(&self, step: &mut Batch, key: &Key) {
        if !self.freed.contains(key) {
            step.assert(key.clone(), Expect::Absent);
        }
    }

    fn unique(&self, set: &SetRef, properties: &Properties, parent: Option<&str>) -> Key {
        let name = set
            .entity_type
            .key
            .first()
            .and_then(|member| properties.text(member))
            .unwrap_or_default();
        load::unique(set, name, parent)
    }

    /// Makes a new entity the child of the parent that its body names.
    fn bind(&self, step: &mut Batch, draft: &mut PendingEntity, parent: &str) -> Result<()> {
        let Some((parent_set, _)) = draft.set.control.and_then(parent_of) else {
            return Ok(());
        };
        let parent_ref = self
            .root
            .control_set(parent_set)
            .ok_or(Code::OdataInconsistent)?;
        draft
            .entity
            .stored
            .links
            .insert(parent_set.name().to_owned(), parent.to_owned());
        step.assert(keys::entity(&parent_ref.key, parent), Expect::Present);
        let (child, id) = (&draft.set.key, &draft.entity.id);
        step.put(keys::link(child, id, &parent_ref.key, parent), Vec::new());
        step.put(keys::link(&parent_ref.key, parent, child, id), Vec::new());
        Ok(())
    }

    /// Makes undeclared members properties of the entity type; gives the keys of those that no earlier creation made.
    async fn register(
        &self,
        set: &SetRef,
        new: &[NewProperty],
        now: i64,
        step: &mut Batch,
    ) -> Result<Vec<Key>> {
        let mut registered = self.registered.clone();
        let mut own = Vec::new();
        for property in new {
            let made = register_property(self.root, set, property, now, step, &registered).await?;
            registered.extend(made.clone());
            own.extend(made);
        }
        Ok(own)
    }
}

/// The record of the entity type of user data.
pub(super) fn entity_type_key(root: &ServiceRoot, type_id: &NodeId) -> Key {
    let set = match root.scope() {
        super::RootScope::Data(collection) => SetKey::schema(&collection, ControlSet::EntityType),
        _ => SetKey::control(ControlSet::EntityType),
    };
    keys::entity(&set, &type_id.to_string())
}

/// Adds an undeclared property to the schema. Gives its unique key, or `None` if this batch has it already.
///
/// # Errors
/// 503 if somebody else registered it meanwhile: the body must be validated anew. 400 if there are too many.
pub(super) async fn register_property(
    root: &ServiceRoot,
    set: &SetRef,
    property: &NewProperty,
    now: i64,
    step: &mut Batch,
    registered: &HashSet<Key>,
) -> Result<Option<Key>> {
    let (super::RootScope::Data(collection), Some(type_id)) = (root.scope(), &set.type_id) else {
        return Ok(None);
    };
    let type_id = type_id.to_string();
    let properties = SetKey::schema(&collection, ControlSet::Property);
    let types = SetKey::schema(&collection, ControlSet::EntityType);
    let key = keys::unique(&properties, 0, &[Some(&property.name), Some(&type_id)]);
    if registered.contains(&key) {
        return Ok(None);
    }
    if root.records.find_bytes(&key).await?.is_some() {
        return Err(Code::Conflict.into());
    }
    schema_rules::check_dynamic_count(root, set, registered.len())?;
    let mut doc = Properties::new();
    doc.set("Name", &*property.name);
    doc.set("Type", property.simple.name());
    doc.set("Nullable", true);
    doc.set("CollectionKind", "None");
    doc.set("IsKey", false);
    doc.set("IsDeclared", false);
    let mut stored = StoredEntity::new(doc, now);
    stored
        .links
        .insert("EntityType".to_owned(), type_id.clone());
    let id = NodeId::at(now, root.unit.random()).to_string();
    step.assert(key.clone(), Expect::Absent);
    step.put(key.clone(), id.clone().into_bytes());
    step.put(keys::link(&properties, &id, &types, &type_id), Vec::new());
    step.put(keys::link(&types, &type_id, &properties, &id), Vec::new());
    step.add(keys::entity_count(&properties), 1);
    step.put(keys::schema_version(&collection), Vec::new());
    crate::records::put(step, keys::entity(&properties, &id), &stored)?;
    Ok(Some(key))
}
