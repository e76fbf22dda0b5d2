//! What becomes of messages that a cell got: read, approved with the changes they ask for, or rejected.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use personium_odata::edm::UPDATED;
use personium_odata::entity_rules::{
    ClassKind, MessageCheck, MessageSide, check_requests, requested_rule, split_class_url,
};
use personium_odata::value::{Properties, Value};
use personium_store::{Expect, Key, KeyRange};
use personium_types::{Code, Error, Operation, Result};

use super::super::association::Association;
use super::super::create::CreationBatch;
use super::super::delete::remove;
use super::super::load::{self, Entity};
use super::super::pending_entity::PendingEntity;
use super::super::root::{ServiceRoot, SetRef};
use super::{creation, find_box_of};
use crate::commit::Invalidation;
use crate::keys::{self, ControlSet};
use crate::{Permit, entity};

/// What shall become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageCommand {
    /// Somebody has read it.
    Read,
    /// As if nobody had.
    Unread,
    /// What it asks for is done.
    Approve,
    /// What it asks for is not done.
    Reject,
}

impl MessageCommand {
    /// The status that it leads to.
    fn status(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unread => "unread",
            Self::Approve => "approved",
            Self::Reject => "rejected",
        }
    }

    /// Whether it can be given about this message.
    fn fits(self, message: &Entity) -> bool {
        let asks = message.properties.text("Type") == Some("request");
        match self {
            Self::Read | Self::Unread => !asks,
            Self::Approve | Self::Reject => {
                asks && message.properties.text("Status") == Some("none")
            }
        }
    }
}

impl FromStr for MessageCommand {
    type Err = Error;

    /// Reads the status that the command leads to.
    fn from_str(text: &str) -> Result<Self> {
        [Self::Read, Self::Unread, Self::Approve, Self::Reject]
            .into_iter()
            .find(|command| command.status() == text)
            .ok_or_else(no_command)
    }
}

fn no_command() -> Error {
    Error::new(Code::FieldFormat).with("Command")
}

/// What a message asks to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestedChange {
    /// Which cells a relation or a role has.
    Social,
    /// The rules of the cell.
    Rule,
}

impl RequestedChange {
    /// The operation that approving such a change is.
    #[must_use]
    pub fn operation(self) -> Operation {
        match self {
            Self::Social => Operation::ApproveSocial,
            Self::Rule => Operation::ApproveRules,
        }
    }
}

/// What a message asks to change, each kind once.
fn requested_changes(message: &Entity) -> Vec<RequestedChange> {
    let kind = |request: &Properties| match request.text("RequestType") {
        Some(kind) if kind.starts_with("rule.") => RequestedChange::Rule,
        _ => RequestedChange::Social,
    };
    let mut kinds: Vec<RequestedChange> = requests(message).iter().map(|r| kind(r)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn requests(message: &Entity) -> Vec<&Properties> {
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

/// Gives a command about a received message. An approved one is carried out: all that it asks for, or nothing.
/// `permit_change` makes the permit for each kind of change that the message asks for, after it was found.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is no such message, [`Code::FieldFormat`] if the command cannot be given about it. Of an
/// approval also what `permit_change` refuses with, and [`Code::RequestedLinkExists`], [`Code::RequestedClassMissing`],
/// [`Code::RequestedObjectMissing`], [`Code::LinkSourceMissing`] or another code about what cannot be changed as it asks. An
/// internal error if a permit is not for that.
pub async fn change_status(
    root: &ServiceRoot,
    permit: &Permit,
    id: &str,
    command: MessageCommand,
    permit_change: &(dyn Fn(RequestedChange) -> Result<Permit> + Sync),
) -> Result<Entity> {
    permit.check(Operation::ChangeMessageStatus, &root.permit_target())?;
    let set = root.set(ControlSet::ReceivedMessage.name())?;
    let invalidation = match command {
        MessageCommand::Approve => root.invalidation(),
        MessageCommand::Read | MessageCommand::Unread | MessageCommand::Reject => {
            Invalidation::None
        }
    };
    root.transact(invalidation, || async {
        let found = load::find_by_id(root, &set, id).await?;
        let found = found.ok_or(Code::NoSuchEntity)?;
        if !command.fits(&found) {
            return Err(no_command());
        }
        let mut run = CreationBatch::new(root);
        if command == MessageCommand::Approve {
            for change in requested_changes(&found) {
                permit_change(change)?.check(change.operation(), &root.permit_target())?;
            }
            Approval::of(&found, &mut run)?.carry_out(&found).await?;
        }
        let mut batch = run.batch;
        let now = root.unit.now_ms();
        let mut properties = found.properties.clone();
        properties.set("Status", command.status());
        properties.set(UPDATED, Value::DateTime(now));
        let mut draft = PendingEntity::of_stored(&set, found);
        draft.replace(properties, now);
        let after = draft.write(root, &mut batch)?;
        Ok((batch, after))
    })
    .await
}

/// The changes that a message asks for, collected in the order in which it asks. Later ones see earlier ones.
struct Approval<'m, 'r, 'u> {
    run: &'r mut CreationBatch<'u>,
    box_id: Option<&'m str>,
    box_name: Option<&'m str>,
    relations: SetRef,
    roles: SetRef,
    cells: SetRef,
    rules: SetRef,
    /// Cells that the batch makes, by URL.
    made: HashMap<String, String>,
    links: BTreeMap<Key, PendingLink>,
    rule_changes: BTreeMap<Key, PendingRule>,
}

/// A link as it is stored and as it shall be.
struct PendingLink {
    back: Key,
    stored: bool,
    wanted: bool,
    ends: Vec<Key>,
}

/// A rule as it is stored and as it shall be.
struct PendingRule {
    stored: Option<Entity>,
    removed: bool,
    made: Option<Properties>,
}

impl PendingRule {
    fn exists(&self) -> bool {
        self.made.is_some() || (self.stored.is_some() && !self.removed)
    }
}

impl<'m, 'r, 'u> Approval<'m, 'r, 'u> {
    fn of(message: &'m Entity, run: &'r mut CreationBatch<'u>) -> Result<Self> {
        let root = run.root;
        let box_id = message.stored.links.get("Box").map(String::as_str);
        let check = MessageCheck {
            side: MessageSide::Receiver,
            in_box: box_id.is_some(),
        };
        // Messages that were put into the box through its navigation property were not checked.
        check_requests(&message.properties, check)
            .map_err(|error| Error::new(Code::FieldFormat).with(error.member))?;
        Ok(Self {
            run,
            box_id,
            box_name: message.properties.text("_Box.Name"),
            relations: root.set(ControlSet::Relation.name())?,
            roles: root.set(ControlSet::Role.name())?,
            cells: root.set(ControlSet::ExtCell.name())?,
            rules: root.set(ControlSet::Rule.name())?,
            made: HashMap::new(),
            links: BTreeMap::new(),
            rule_changes: BTreeMap::new(),
        })
    }

    async fn carry_out(mut self, message: &Entity) -> Result<()> {
        for request in requests(message) {
            let kind = request.text("RequestType").unwrap_or_default();
            match kind {
                "relation.add" | "role.add" => self.link(request, ClassKind::of(kind)).await?,
                "relation.remove" | "role.remove" => {
                    self.unlink(request, ClassKind::of(kind)).await?;
                }
                "rule.add" => self.add_rule(request).await?,
                "rule.remove" => self.remove_rule(request).await?,
                _ => return Err(faulty("RequestType")),
            }
        }
        self.finish().await
    }

    async fn link(&mut self, request: &Properties, kind: ClassKind) -> Result<()> {
        let url = request
            .text("TargetUrl")
            .ok_or_else(|| faulty("TargetUrl"))?;
        let (association, class) = self.class(request, kind).await?;
        let cell = match self.find_cell(url).await? {
            Some(cell) => cell,
            None => self.make_cell(url).await?,
        };
        let link = self.link_between(&association, &class, &cell).await?;
        if std::mem::replace(&mut link.wanted, true) {
            return Err(Code::RequestedLinkExists.into());
        }
        let ranges = [
            (&association.source_set, &class, &association.target_tag),
            (&association.target_set, &cell, &association.source_tag),
        ];
        for (set, id, tag) in ranges {
            self.check_room(&keys::links(&set.key, id, tag)).await?;
        }
        Ok(())
    }

    async fn unlink(&mut self, request: &Properties, kind: ClassKind) -> Result<()> {
        let url = request
            .text("TargetUrl")
            .ok_or_else(|| faulty("TargetUrl"))?;
        let (association, class) = self.class(request, kind).await?;
        let missing = || Error::new(Code::RequestedObjectMissing).with(url);
        let cell = self.find_cell(url).await?.ok_or_else(missing)?;
        let link = self.link_between(&association, &class, &cell).await?;
        if std::mem::replace(&mut link.wanted, false) {
            Ok(())
        } else {
            Err(Code::LinkSourceMissing.into())
        }
    }

    /// The relation or role that a request names, with how cells are linked to it.
    async fn class(&self, request: &Properties, kind: ClassKind) -> Result<(Association, String)> {
        let root = self.run.root;
        let set = match kind {
            ClassKind::Relation => &self.relations,
            ClassKind::Role => &self.roles,
        };
        let (box_id, name) = match request.text("ClassUrl") {
            None => {
                let name = request.text("Name").ok_or_else(|| faulty("Name"))?;
                (self.box_id.map(str::to_owned), name)
            }
            Some(class) => {
                let (schema, name) =
                    split_class_url(class, kind).ok_or_else(|| faulty("ClassUrl"))?;
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

    /// The cell of this URL in any of its spellings, as it is given first.
    async fn find_cell(&self, url: &str) -> Result<Option<String>> {
        let root = self.run.root;
        let others = root.unit.urls().spellings(url);
        for spelling in std::iter::once(url).chain(others.iter().map(String::as_str)) {
            if let Some(id) = self.made.get(spelling) {
                return Ok(Some(id.clone()));
            }
            let key = load::unique(&self.cells, spelling, None);
            if let Some(id) = entity::find_id(&root.records, &key).await? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    async fn make_cell(&mut self, url: &str) -> Result<String> {
        let mut properties = Properties::new();
        properties.set("Url", url);
        let made = self.run.add(&creation(&self.cells, properties)).await?;
        self.made.insert(url.to_owned(), made.id.clone());
        Ok(made.id)
    }

    async fn link_between(
        &mut self,
        association: &Association,
        class: &str,
        cell: &str,
    ) -> Result<&mut PendingLink> {
        let (here, there) = (&association.source_set.key, &association.target_set.key);
        let forth = keys::link(here, class, &association.target_tag, cell);
        let entry = match self.links.entry(forth) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let stored = self
            .run
            .root
            .records
            .find_bytes(entry.key())
            .await?
            .is_some();
        let mut ends = vec![keys::entity(here, class)];
        if !self.made.values().any(|made| made == cell) {
            ends.push(keys::entity(there, cell));
        }
        Ok(entry.insert(PendingLink {
            back: keys::link(there, cell, &association.source_tag, class),
            stored,
            wanted: stored,
            ends,
        }))
    }

    /// Refuses links of one entity beyond the limit.
    async fn check_room(&self, range: &KeyRange) -> Result<()> {
        let root = self.run.root;
        let added = |(forth, link): &(&Key, &PendingLink)| {
            link.wanted && !link.stored && (range.contains(forth) || range.contains(&link.back))
        };
        let added = self.links.iter().filter(added).count() as u64;
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
        change.made = Some(rule);
        Ok(())
    }

    async fn remove_rule(&mut self, request: &Properties) -> Result<()> {
        let change = self.rule_change(request).await?;
        if !change.exists() {
            return Err(Code::NoSuchEntity.into());
        }
        change.made = None;
        change.removed = change.stored.is_some();
        Ok(())
    }

    async fn rule_change(&mut self, request: &Properties) -> Result<&mut PendingRule> {
        let root = self.run.root;
        let name = request.text("Name").ok_or_else(|| faulty("Name"))?;
        let key = load::unique(&self.rules, name, self.box_id);
        let entry = match self.rule_changes.entry(key) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let stored = match entity::find_id(&root.records, entry.key()).await? {
            Some(id) => load::find_by_id(root, &self.rules, &id).await?,
            None => None,
        };
        Ok(entry.insert(PendingRule {
            stored,
            removed: false,
            made: None,
        }))
    }

    /// Adds everything that was collected to the batch.
    async fn finish(self) -> Result<()> {
        let run = self.run;
        for (forth, link) in self.links {
            let batch = &mut run.batch;
            for end in link.ends {
                batch.assert(end, Expect::Present);
            }
            let expected = if link.stored {
                Expect::Present
            } else {
                Expect::Absent
            };
            batch.assert(forth.clone(), expected);
            if link.wanted {
                batch.put(forth, Vec::new());
                batch.put(link.back, Vec::new());
            } else {
                batch.delete(forth);
                batch.delete(link.back);
            }
        }
        for (key, change) in self.rule_changes {
            if let Some(stored) = change.stored.filter(|_| change.removed) {
                remove(run.root, &self.rules, stored, &mut run.batch).await?;
                run.freed.insert(key);
            }
            if let Some(properties) = change.made {
                run.add(&creation(&self.rules, properties)).await?;
            }
        }
        Ok(())
    }
}

fn faulty(member: &str) -> Error {
    Error::new(Code::FieldFormat).with(format!("RequestObjects.{member}"))
}
