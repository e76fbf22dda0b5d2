//! Creations that are collected in one batch.

use std::collections::{BTreeSet, HashMap, HashSet};

use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Expect, Key};
use personium_types::{CellId, Code, NodeId, Result};

use super::association::{Cardinality, parent_of};
use super::creation::{Creation, NavigationSource};
use super::dynamic_properties::DynamicProperties;
use super::link_writer::{LinkChange, LinkWriter};
use super::load::{self, Entity};
use super::pending_entity::PendingEntity;
use super::root::{ServiceRoot, SetRef};
use super::{rules, schema_rules};
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet};

/// The largest number of keys that are read at once.
const KEYS_PER_READ: usize = 1_000;

/// Creations that are collected in one batch. Later ones see the keys and to-one links of earlier ones.
pub(super) struct CreationBatch<'a> {
    pub root: &'a ServiceRoot,
    pub batch: Batch,
    /// Keys that the batch releases: a later creation may take them.
    pub released: HashSet<Key>,
    /// Keys that earlier creations of this batch take.
    claimed: HashSet<Key>,
    /// Whether there were records of keys that were read in advance.
    present: HashMap<Key, bool>,
    /// Whether keys of user data that were not read are taken to be free. The batch asserts it.
    pub assumes_free_keys: bool,
    dynamic_properties: DynamicProperties,
    /// The number of rules of the cell, those of the batch included, once the first one was added.
    rules: Option<u64>,
    /// The times for which the cell was added to the index of timers.
    announced: HashSet<i64>,
}

/// The changes of one creation, before they join the batch.
#[derive(Default)]
struct Changes {
    batch: Batch,
    claimed: Vec<Key>,
    dynamic_properties: Vec<Key>,
    announced: Option<i64>,
}

impl<'a> CreationBatch<'a> {
    pub fn new(root: &'a ServiceRoot) -> Self {
        Self {
            root,
            batch: Batch::new(),
            released: HashSet::new(),
            claimed: HashSet::new(),
            present: HashMap::new(),
            assumes_free_keys: false,
            dynamic_properties: DynamicProperties::default(),
            rules: None,
            announced: HashSet::new(),
        }
    }

    /// The same, but the keys of user data are not read before the batch is committed: if one is taken, the commit conflicts. On a
    /// shared store that saves a round trip, since most keys are new.
    pub fn assuming_free_keys(root: &'a ServiceRoot) -> Self {
        Self {
            assumes_free_keys: true,
            ..Self::new(root)
        }
    }

    /// Reads at once whether the keys are taken of entities that will be added, if they follow from their bodies alone.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn read_keys(&mut self, creations: &[Creation]) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for Creation { set, body, .. } in creations {
            if let Some(id) = body.properties.text(ID)
                && load::is_keyed_by_id(set)
            {
                wanted.insert(keys::entity(&set.key, id));
                wanted.extend(rules::unique_keys(set, &body.properties));
            }
        }
        if wanted.len() < 2 || self.assumes_free_keys {
            return Ok(());
        }
        let wanted: Vec<Key> = wanted.into_iter().collect();
        for page in wanted.chunks(KEYS_PER_READ) {
            let present = self.root.records.are_present(page).await?;
            self.present.extend(page.iter().cloned().zip(present));
        }
        Ok(())
    }

    /// Adds a creation. If it fails, the batch is unchanged.
    ///
    /// # Errors
    /// [`Creation::exists`] if the key is taken; [`Code::EntityExists`] if another unique value is;
    /// [`Code::ParentMissing`], [`Code::LinkSourceMissing`] or [`Code::LinkExists`] for its parent or source; the codes
    /// of the rules of its set; failures of the store.
    pub async fn add(&mut self, creation: &Creation) -> Result<Entity> {
        let mut changes = Changes::default();
        let is_rule = creation.set.control == Some(ControlSet::Rule);
        if is_rule && self.rules.is_none() {
            self.rules = Some(rules::count(self.root, &creation.set).await?);
        }
        let entity = self.build(creation, &mut changes).await?;
        if changes.claimed.iter().any(|key| self.claimed.contains(key)) {
            return Err(creation.exists.into());
        }
        self.claimed.extend(changes.claimed);
        self.dynamic_properties.extend(changes.dynamic_properties);
        self.batch.append(changes.batch);
        self.announced.extend(changes.announced);
        self.rules = self.rules.map(|count| count + u64::from(is_rule));
        Ok(entity)
    }

    /// Builds the changes of a creation.
    async fn build(&self, creation: &Creation, changes: &mut Changes) -> Result<Entity> {
        let (root, set) = (self.root, &creation.set);
        let mut properties = creation.body.properties.clone();
        let id = self.new_id(creation);
        let source = self.find_source(creation).await?;
        let parent = load::find_parent_of(root, set, &properties).await?;
        let parent = parent.as_deref();
        changes.claimed = self.check_keys(creation, &id, parent, &properties).await?;
        if is_source_linked(creation, source.as_ref()) {
            return Err(Code::LinkExists.into());
        }
        for key in &changes.claimed {
            self.assert_absent(&mut changes.batch, key);
        }
        rules::check_count(set, self.rules)?;
        schema_rules::check_create(root, set, &properties, parent, &mut changes.batch).await?;
        let now = root.unit.now_ms();
        let mut stored = StoredEntity::new(Properties::new(), now);
        if let Some(history) = creation.history {
            (stored.published, stored.updated) = (history.published, history.updated);
            stored.version = history.version;
        }
        stored.hidden = creation.hidden.clone();
        schema_rules::choose_stored_name(root, set, &properties, parent, &mut stored).await?;
        properties.set(PUBLISHED, Value::DateTime(stored.published));
        properties.set(UPDATED, Value::DateTime(stored.updated));
        let mut pending = PendingEntity::of_new(set, id, properties, stored);
        let key_parent = self
            .link(creation, source, parent, &mut pending, changes)
            .await?;
        self.claim_key(creation, &pending, key_parent.as_deref(), changes)
            .await?;
        rules::claim_uniques(set, &pending.entity, None, &mut changes.batch);
        let written = (&mut changes.batch, &self.announced);
        changes.announced = rules::after_create(root, set, &pending.entity, written).await?;
        let new_properties = &creation.body.new_properties;
        changes.dynamic_properties = self
            .dynamic_properties
            .register(root, set, new_properties, &mut changes.batch)
            .await?;
        if let Some(type_id) = &set.type_id {
            let entity_type = load::entity_type_key(root, type_id);
            changes.batch.assert(entity_type, Expect::Present);
        }
        pending.write(root, &mut changes.batch)
    }

    /// The id of an entity. Ids sort by the time of the creation, also if that is known from elsewhere.
    fn new_id(&self, creation: &Creation) -> String {
        let (unit, set) = (&self.root.unit, &creation.set);
        let published = creation.history.map(|history| history.published);
        let at = published.unwrap_or_else(|| unit.now_ms());
        match (creation.body.properties.text(ID), set.control) {
            (Some(id), _) if load::is_keyed_by_id(set) => id.to_owned(),
            (_, Some(ControlSet::Cell)) => CellId::at(at, unit.random()).to_string(),
            _ => NodeId::at(at, unit.random()).to_string(),
        }
    }

    /// The source of the navigation property, if the entity is created through one.
    async fn find_source(&self, creation: &Creation) -> Result<Option<PendingEntity>> {
        let Some(navigation) = &creation.navigation else {
            return Ok(None);
        };
        let set = &navigation.association.source.set;
        let found = load::find(self.root, set, &navigation.source).await?;
        let source = PendingEntity::of_stored(set, found.ok_or(Code::LinkSourceMissing)?);
        if navigation.association.target.cardinality == Cardinality::One
            && self
                .claimed
                .contains(&keys::link_claim(&set.key, &source.entity.id))
        {
            return Err(Code::LinkExists.into());
        }
        Ok(Some(source))
    }

    /// Returns the keys that the entity takes, if all are free.
    async fn check_keys(
        &self,
        creation: &Creation,
        id: &str,
        parent: Option<&str>,
        properties: &Properties,
    ) -> Result<Vec<Key>> {
        let set = &creation.set;
        let key = if load::is_keyed_by_id(set) {
            keys::entity(&set.key, id)
        } else {
            load::unique_key(set, properties, parent)
        };
        if self.is_taken(set, &key).await? {
            return Err(creation.exists.into());
        }
        let mut out = vec![key];
        for key in rules::unique_keys(set, properties) {
            if self.is_taken(set, &key).await? {
                return Err(Code::EntityExists.into());
            }
            out.push(key);
        }
        Ok(out)
    }

    async fn is_taken(&self, set: &SetRef, key: &Key) -> Result<bool> {
        let is_user_data = set.control.is_none() && load::is_keyed_by_id(set);
        if self.claimed.contains(key) {
            return Ok(true);
        }
        if self.released.contains(key) {
            return Ok(false);
        }
        match self.present.get(key) {
            Some(is_present) => Ok(*is_present),
            None if self.assumes_free_keys && is_user_data => Ok(false),
            None => Ok(self.root.records.find_bytes(key).await?.is_some()),
        }
    }

    fn assert_absent(&self, batch: &mut Batch, key: &Key) {
        if !self.released.contains(key) {
            batch.assert(key.clone(), Expect::Absent);
        }
    }

    /// Links the entity to the parent that its body names, and to the source of the navigation property. Returns the
    /// id of the entity that is part of its key.
    async fn link(
        &self,
        creation: &Creation,
        source: Option<PendingEntity>,
        parent: Option<&str>,
        pending: &mut PendingEntity,
        changes: &mut Changes,
    ) -> Result<Option<String>> {
        if let Some(parent) = parent {
            self.link_parent(&mut changes.batch, pending, parent)?;
        }
        let key_parent = parent.map(str::to_owned);
        let (Some(navigation), Some(source)) = (&creation.navigation, source) else {
            return Ok(key_parent);
        };
        let association = &navigation.association;
        // A parent in the body takes precedence over the source.
        if association.source.is_parent && parent.is_some() {
            return Ok(key_parent);
        }
        let id = self
            .link_source(navigation, source, pending, &mut changes.batch)
            .await?;
        if association.target.cardinality == Cardinality::One {
            let claim = keys::link_claim(&association.source.set.key, &id);
            changes.claimed.push(claim);
        }
        Ok(match association.source.is_parent {
            true => Some(id),
            false => key_parent,
        })
    }

    /// Links the entity to the parent that its body names.
    fn link_parent(
        &self,
        batch: &mut Batch,
        pending: &mut PendingEntity,
        parent: &str,
    ) -> Result<()> {
        let Some((parent_set, _)) = pending.set.control.and_then(parent_of) else {
            return Ok(());
        };
        let parent_ref = self
            .root
            .control_set(parent_set)
            .ok_or(Code::OdataInconsistent)?;
        pending
            .entity
            .stored
            .links
            .insert(parent_set.name().to_owned(), parent.to_owned());
        batch.assert(keys::entity(&parent_ref.key, parent), Expect::Present);
        let (child, id) = (&pending.set.key, &pending.entity.id);
        batch.put(keys::link(child, id, &parent_ref.key, parent), Vec::new());
        batch.put(keys::link(&parent_ref.key, parent, child, id), Vec::new());
        Ok(())
    }

    /// Links the entity to the source of the navigation property. Returns the id of the source.
    async fn link_source(
        &self,
        navigation: &NavigationSource,
        mut source: PendingEntity,
        pending: &mut PendingEntity,
        batch: &mut Batch,
    ) -> Result<String> {
        let mut writer = LinkWriter {
            root: self.root,
            association: &navigation.association,
            batch,
        };
        writer.add(&mut source, pending).await?;
        writer
            .move_key(&source.entity, &pending.entity, LinkChange::Add)
            .await?;
        Ok(source.write(self.root, batch)?.id)
    }

    /// Takes the unique key of the entity, unless its id is the key.
    async fn claim_key(
        &self,
        creation: &Creation,
        pending: &PendingEntity,
        key_parent: Option<&str>,
        changes: &mut Changes,
    ) -> Result<()> {
        let set = &creation.set;
        if load::is_keyed_by_id(set) {
            return Ok(());
        }
        let key = load::unique_key(set, &pending.entity.properties, key_parent);
        let has_source_as_parent = creation
            .navigation
            .as_ref()
            .is_some_and(|navigation| navigation.association.source.is_parent);
        if has_source_as_parent && self.root.records.find_bytes(&key).await?.is_some() {
            return Err(Code::LinkExists.into());
        }
        self.assert_absent(&mut changes.batch, &key);
        changes
            .batch
            .put(key, pending.entity.id.clone().into_bytes());
        Ok(())
    }
}

/// Whether the source of the navigation property may have one link only, and has it.
fn is_source_linked(creation: &Creation, source: Option<&PendingEntity>) -> bool {
    let (Some(navigation), Some(source)) = (&creation.navigation, source) else {
        return false;
    };
    let target = &navigation.association.target;
    target.cardinality == Cardinality::One && source.entity.stored.links.contains_key(&target.field)
}
