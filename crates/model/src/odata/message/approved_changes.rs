//! The changes that an approved message requests.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use personium_odata::entity_rules::{
    ClassKind, MessageCheck, MessageSide, check_requests, requested_rule, split_class_url,
};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::value::{Properties, Value};
use personium_store::{Expect, Key, KeyRange};
use personium_types::{Code, Error, Result};

use super::super::association::Association;
use super::super::creation_batch::CreationBatch;
use super::super::delete::remove;
use super::super::events::entity_path;
use super::super::load::{self, Entity};
use super::super::root::SetRef;
use super::{creation, find_box_of};
use crate::keys::{self, ControlSet};
use crate::{PostedEvent, entity};

/// The requests of a message.
pub(super) fn requests(message: &Entity) -> Vec<&Properties> {
    let Value::List(items) = message.properties.value("RequestObjects") else {
        return Vec::new();
    };
    items.iter().filter_map(members).collect()
}

fn members(item: &Value) -> Option<&Properties> {
    match item {
        Value::Complex(members) => Some(members),
        _ => None,
    }
}

/// The changes that an approved message requests, in their order. Later ones see earlier ones.
pub(super) struct ApprovedChanges<'m, 'r, 'u> {
    creations: &'r mut CreationBatch<'u>,
    box_id: Option<&'m str>,
    box_name: Option<&'m str>,
    relations: SetRef,
    roles: SetRef,
    cells: SetRef,
    rules: SetRef,
    /// The ids of external cells that the batch creates, by URL.
    created_cells: HashMap<String, String>,
    links: BTreeMap<Key, PendingLink>,
    rule_changes: BTreeMap<Key, PendingRule>,
    /// The message.
    message: &'m Entity,
    events: Vec<PostedEvent>,
}

/// A link with its stored and its requested state.
struct PendingLink {
    backward: Key,
    is_stored: bool,
    is_requested: bool,
    ends: Vec<Key>,
}

/// A rule with its stored and its requested state.
struct PendingRule {
    stored: Option<Entity>,
    removed: bool,
    created: Option<Properties>,
}

impl PendingRule {
    fn exists(&self) -> bool {
        self.created.is_some() || (self.stored.is_some() && !self.removed)
    }
}

impl<'m, 'r, 'u> ApprovedChanges<'m, 'r, 'u> {
    /// Reads the requests of a message.
    ///
    /// # Errors
    /// [`Code::FieldFormat`] if a request is not valid.
    pub fn new(message: &'m Entity, creations: &'r mut CreationBatch<'u>) -> Result<Self> {
        let root = creations.root;
        let box_id = message.stored.links.get("Box").map(String::as_str);
        let check = MessageCheck {
            side: MessageSide::Receiver,
            in_box: box_id.is_some(),
        };
        // Messages that were created through the navigation property of a box have not been checked.
        check_requests(&message.properties, check)
            .map_err(|error| Error::new(Code::FieldFormat).with(error.member))?;
        Ok(Self {
            creations,
            box_id,
            box_name: message.properties.text("_Box.Name"),
            relations: root.set(ControlSet::Relation.name())?,
            roles: root.set(ControlSet::Role.name())?,
            cells: root.set(ControlSet::ExtCell.name())?,
            rules: root.set(ControlSet::Rule.name())?,
            created_cells: HashMap::new(),
            links: BTreeMap::new(),
            rule_changes: BTreeMap::new(),
            message,
            events: Vec::new(),
        })
    }

    /// Adds all requested changes to the batch. Returns the events about them.
    ///
    /// # Errors
    /// [`Code::RequestedLinkExists`], [`Code::RequestedClassMissing`], [`Code::RequestedObjectMissing`],
    /// [`Code::LinkSourceMissing`], [`Code::LinkLimit`], [`Code::EntityExists`] or [`Code::NoSuchEntity`] if a change is
    /// not possible; failures of the store.
    pub async fn apply(mut self) -> Result<Vec<PostedEvent>> {
        for request in requests(self.message) {
            let kind = request.text("RequestType").unwrap_or_default();
            match kind {
                "relation.add" | "role.add" => self.link(request, ClassKind::of(kind)).await?,
                "relation.remove" | "role.remove" => {
                    self.unlink(request, ClassKind::of(kind)).await?;
                }
                "rule.add" => self.add_rule(request).await?,
                "rule.remove" => self.remove_rule(request).await?,
                _ => return Err(invalid_request("RequestType")),
            }
        }
        let events = std::mem::take(&mut self.events);
        self.finish().await?;
        Ok(events)
    }

    /// Adds the event about a link between a relation or role and an external cell.
    async fn add_link_event(
        &mut self,
        association: &Association,
        class: &str,
        url: &str,
        action: &str,
    ) -> Result<()> {
        let root = self.creations.root;
        if root.reporter.is_none() {
            return Ok(());
        }
        let set = &association.source.set;
        let Some(class) = load::find_by_id(root, set, class).await? else {
            return Ok(());
        };
        let key = class.key(set);
        // A relation or role without a box is shown with a simple key.
        let path = match key.part(1) {
            Some(_) => entity_path(set, &key, KeyStyle::Plain),
            None => format!("{}('{}')", set.name(), key.name()),
        };
        let kind = format!("ExtCell.links.{}.{action}", set.name());
        let path = || format!("{path}/$links/_ExtCell('{url}')");
        self.events
            .extend(root.approved_event(kind, path, self.message));
        Ok(())
    }

    /// Adds the event about a rule.
    fn add_rule_event(&mut self, name: &str, action: &str) {
        let root = self.creations.root;
        let box_name = self.box_name.map(str::to_owned);
        let path = || {
            let key = EntityKey::compound(vec![Some(name.to_owned()), box_name]);
            entity_path(&self.rules, &key, KeyStyle::Plain)
        };
        let event = root.approved_event(format!("Rule.{action}"), path, self.message);
        self.events.extend(event);
    }

    async fn link(&mut self, request: &Properties, kind: ClassKind) -> Result<()> {
        let url = request
            .text("TargetUrl")
            .ok_or_else(|| invalid_request("TargetUrl"))?;
        let (association, class) = self.class(request, kind).await?;
        let cell = match self.find_cell(url).await? {
            Some(cell) => cell,
            None => self.create_cell(url).await?,
        };
        let link = self.link_between(&association, &class, &cell).await?;
        if std::mem::replace(&mut link.is_requested, true) {
            return Err(Code::RequestedLinkExists.into());
        }
        let ranges = [
            (&association.source.set, &class, &association.target.tag),
            (&association.target.set, &cell, &association.source.tag),
        ];
        for (set, id, tag) in ranges {
            self.check_link_limit(&keys::links(&set.key, id, tag))
                .await?;
        }
        self.add_link_event(&association, &class, url, "create")
            .await
    }

    async fn unlink(&mut self, request: &Properties, kind: ClassKind) -> Result<()> {
        let url = request
            .text("TargetUrl")
            .ok_or_else(|| invalid_request("TargetUrl"))?;
        let (association, class) = self.class(request, kind).await?;
        let missing = || Error::new(Code::RequestedObjectMissing).with(url);
        let cell = self.find_cell(url).await?.ok_or_else(missing)?;
        let link = self.link_between(&association, &class, &cell).await?;
        if !std::mem::replace(&mut link.is_requested, false) {
            return Err(Code::LinkSourceMissing.into());
        }
        self.add_link_event(&association, &class, url, "delete")
            .await
    }

    /// The id of the relation or role that a request names, with its association to external cells.
    async fn class(&self, request: &Properties, kind: ClassKind) -> Result<(Association, String)> {
        let root = self.creations.root;
        let set = match kind {
            ClassKind::Relation => &self.relations,
            ClassKind::Role => &self.roles,
        };
        let (box_id, name) = match request.text("ClassUrl") {
            None => {
                let name = request
                    .text("Name")
                    .ok_or_else(|| invalid_request("Name"))?;
                (self.box_id.map(str::to_owned), name)
            }
            Some(class) => {
                let (schema, name) =
                    split_class_url(class, kind).ok_or_else(|| invalid_request("ClassUrl"))?;
                let found = find_box_of(root, schema).await?;
                let missing = || Error::new(Code::RequestedClassMissing).with(class);
                (Some(found.ok_or_else(missing)?), name)
            }
        };
        let key = load::unique(set, name, box_id.as_deref());
        let missing = || Error::new(Code::RequestedObjectMissing).with(name);
        let id = entity::find_id(&root.records, &key)
            .await?
            .ok_or_else(missing)?;
        let association = root.association(set, "_ExtCell");
        Ok((association.ok_or(Code::OdataInconsistent)?, id))
    }

    /// The id of the external cell of this URL in any of its spellings, the given one first.
    async fn find_cell(&self, url: &str) -> Result<Option<String>> {
        let root = self.creations.root;
        let others = root.unit.urls().spellings(url);
        for spelling in std::iter::once(url).chain(others.iter().map(String::as_str)) {
            if let Some(id) = self.created_cells.get(spelling) {
                return Ok(Some(id.clone()));
            }
            let key = load::unique(&self.cells, spelling, None);
            if let Some(id) = entity::find_id(&root.records, &key).await? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    async fn create_cell(&mut self, url: &str) -> Result<String> {
        let mut properties = Properties::new();
        properties.set("Url", url);
        let created = self
            .creations
            .add(&creation(&self.cells, properties))
            .await?;
        self.created_cells
            .insert(url.to_owned(), created.id.clone());
        let path = || entity_path(&self.cells, &EntityKey::single(url), KeyStyle::Plain);
        let root = self.creations.root;
        let event = root.approved_event("ExtCell.create".to_owned(), path, self.message);
        self.events.extend(event);
        Ok(created.id)
    }

    async fn link_between(
        &mut self,
        association: &Association,
        class: &str,
        cell: &str,
    ) -> Result<&mut PendingLink> {
        let (classes, cells) = (&association.source.set.key, &association.target.set.key);
        let forward = keys::link(classes, class, &association.target.tag, cell);
        let entry = match self.links.entry(forward) {
            Entry::Occupied(entry) => return Ok(entry.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let is_stored = self
            .creations
            .root
            .records
            .find_bytes(entry.key())
            .await?
            .is_some();
        let mut ends = vec![keys::entity(classes, class)];
        if !self.created_cells.values().any(|id| id == cell) {
            ends.push(keys::entity(cells, cell));
        }
        Ok(entry.insert(PendingLink {
            backward: keys::link(cells, cell, &association.source.tag, class),
            is_stored,
            is_requested: is_stored,
            ends,
        }))
    }

    /// Checks the number of links of one entity against the limit.
    async fn check_link_limit(&self, range: &KeyRange) -> Result<()> {
        let root = self.creations.root;
        let is_added = |(forward, link): &(&Key, &PendingLink)| {
            link.is_requested
                && !link.is_stored
                && (range.contains(forward) || range.contains(&link.backward))
        };
        let added = self.links.iter().filter(is_added).count() as u64;
        if root.records.count(range).await? + added > root.unit.settings().odata.links_max {
            return Err(Code::LinkLimit.into());
        }
        Ok(())
    }

    async fn add_rule(&mut self, request: &Properties) -> Result<()> {
        let rule = requested_rule(request, self.box_name);
        let change = self.rule_change(request).await?;
        if change.exists() {
            return Err(Code::EntityExists.into());
        }
        change.created = Some(rule);
        self.add_rule_event(request.text("Name").unwrap_or_default(), "create");
        Ok(())
    }

    async fn remove_rule(&mut self, request: &Properties) -> Result<()> {
        let change = self.rule_change(request).await?;
        if !change.exists() {
            return Err(Code::NoSuchEntity.into());
        }
        change.created = None;
        change.removed = change.stored.is_some();
        self.add_rule_event(request.text("Name").unwrap_or_default(), "delete");
        Ok(())
    }

    async fn rule_change(&mut self, request: &Properties) -> Result<&mut PendingRule> {
        let root = self.creations.root;
        let name = request
            .text("Name")
            .ok_or_else(|| invalid_request("Name"))?;
        let key = load::unique(&self.rules, name, self.box_id);
        let entry = match self.rule_changes.entry(key) {
            Entry::Occupied(entry) => return Ok(entry.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let stored = match entity::find_id(&root.records, entry.key()).await? {
            Some(id) => load::find_by_id(root, &self.rules, &id).await?,
            None => None,
        };
        Ok(entry.insert(PendingRule {
            stored,
            removed: false,
            created: None,
        }))
    }

    /// Adds the collected changes to the batch.
    async fn finish(self) -> Result<()> {
        let creations = self.creations;
        for (forward, link) in self.links {
            let batch = &mut creations.batch;
            for end in link.ends {
                batch.assert(end, Expect::Present);
            }
            let expected = if link.is_stored {
                Expect::Present
            } else {
                Expect::Absent
            };
            batch.assert(forward.clone(), expected);
            match (link.is_stored, link.is_requested) {
                (false, true) => {
                    batch.put(forward, Vec::new());
                    batch.put(link.backward, Vec::new());
                }
                (true, false) => {
                    batch.delete(forward);
                    batch.delete(link.backward);
                }
                // Taken back by a later request of the message.
                (true, true) | (false, false) => {}
            }
        }
        for (key, change) in self.rule_changes {
            if let Some(stored) = change.stored.filter(|_| change.removed) {
                remove(creations.root, &self.rules, stored, &mut creations.batch).await?;
                creations.released.insert(key);
            }
            if let Some(properties) = change.created {
                creations.add(&creation(&self.rules, properties)).await?;
            }
        }
        Ok(())
    }
}

fn invalid_request(member: &str) -> Error {
    Error::new(Code::FieldFormat).with(format!("RequestObjects.{member}"))
}
