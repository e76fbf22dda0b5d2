//! Changes of entities.

use std::collections::BTreeMap;

use personium_odata::body::{Intent, ValidatedBody};
use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Direction, Expect};
use personium_types::preconditions::{Outcome, RequestKind, ResourceState};
use personium_types::{Code, ETag, Preconditions, Result};

use super::association::{Association, parent_of};
use super::dynamic_properties::DynamicProperties;
use super::load::{self, Entity, EntityCheck};
use super::operations::{check_write, permits_link};
use super::pending_entity::PendingEntity;
use super::root::{EntityRef, ServiceRoot, SetRef};
use super::{ownership, rules, schema_rules, validate};
use crate::Permit;
use crate::cell_context::TOKEN_GENERATION;
use crate::commit::Invalidation;
use crate::keys::{self, ControlSet};

/// A change of one entity.
#[derive(Debug, Clone)]
pub struct Change {
    /// The validated body.
    pub body: ValidatedBody,
    /// Whether the body is the whole entity or only the changed properties.
    pub intent: Intent,
    /// Hidden values to set; others are kept.
    pub hidden: BTreeMap<String, String>,
    /// The conditions of the request.
    pub conditions: Preconditions,
}

/// The result of a change.
#[derive(Debug, Clone)]
pub struct Update {
    /// The entity before the change.
    pub before: Entity,
    /// The entity after the change.
    pub after: Entity,
}

impl Update {
    /// The new ETag.
    #[must_use]
    pub fn etag(&self) -> ETag {
        self.after.stored.etag()
    }
}

/// Changes an entity. `check` may refuse the change after the entity was found, for instance because of its owner.
///
/// The change of the URL of an external cell gives another cell what its links give. If it has links to roles, the permit must
/// be for changing these too; see [`repointed_links`]. So also if a relation of it has roles.
///
/// # Errors
/// [`Code::NoSuchEntity`] if it does not exist; [`Code::EntityTagMismatch`] if the precondition fails;
/// [`Code::EntityExists`] if the new key is taken; [`Code::CellIsIssuer`] if a cell with administrators of the unit would
/// get another name, and the settings name it; [`Code::ParentMissing`]; [`Code::PrivilegeLacking`] if the change needs the permit to change links as well;
/// the codes of the rules of its set and of `check`; [`Code::Unknown`] if the permit is not for this set; failures of the store.
pub async fn update(
    root: &ServiceRoot,
    permit: &Permit,
    target: EntityRef<'_>,
    change: &Change,
    check: EntityCheck<'_>,
) -> Result<Update> {
    check_write(root, permit, target.set)?;
    let links = repointed_links(root, target.set);
    let links = links.filter(|association| !permits_link(root, permit, association));
    let check_all = |before: &Entity| {
        check(before)?;
        ownership::check_rename(root, target.set, before, &change.body.properties)
    };
    let updated = store(root, target, (change, links.as_ref()), &check_all).await?;
    ownership::follow_rename(root, target.set, &updated.before, &updated.after).await?;
    Ok(updated)
}

/// The links whose meaning changes with the key of an entity, where changing them needs more than changing the entity: those of
/// an external cell to roles.
#[must_use]
pub fn repointed_links(root: &ServiceRoot, set: &SetRef) -> Option<Association> {
    if set.control != Some(ControlSet::ExtCell) {
        return None;
    }
    let mut all = root.associations(set).into_iter();
    all.find(|association| association.target.set.control == Some(ControlSet::Role))
}

/// As [`update`], for a caller that has checked its own permit.
///
/// # Errors
/// As [`update`].
pub(crate) async fn store_change(
    root: &ServiceRoot,
    target: EntityRef<'_>,
    change: &Change,
    check: EntityCheck<'_>,
) -> Result<Update> {
    store(root, target, (change, None), check).await
}

/// Stores a change. If the key changes, there must be no links along `no_links`.
async fn store(
    root: &ServiceRoot,
    target: EntityRef<'_>,
    (change, no_links): (&Change, Option<&Association>),
    check: EntityCheck<'_>,
) -> Result<Update> {
    let set = target.set;
    let registers = !change.body.new_properties.is_empty();
    let invalidation = if registers {
        Invalidation::Cell
    } else {
        root.invalidation()
    };
    root.transact_with(invalidation, || async {
        let before = load::find(root, set, target.key)
            .await?
            .ok_or(Code::NoSuchEntity)?;
        check(&before)?;
        schema_rules::check_not_used(root, set, &before).await?;
        check_conditions(&change.conditions, &before)?;
        let mut batch = Batch::new();
        let step = EntityChange {
            root,
            set,
            before: &before,
            batch: &mut batch,
        };
        let after = step.apply(change).await?;
        if let Some(association) = no_links
            && before.key(set) != after.key(set)
        {
            let range = keys::links(&set.key, &before.id, &association.target.tag);
            if !root.records.is_empty(&range).await? {
                return Err(Code::PrivilegeLacking.into());
            }
            batch.assert_empty(range);
            check_indirect_roles(root, set, (&before, association), &mut batch).await?;
        }
        ownership::rename_administrators(root, set, (&before, &after), &mut batch).await?;
        rules::follow_timer(root, set, (&before, &after), &mut batch).await?;
        let update = Update { before, after };
        let post_commit = rules::after_update(set, &update.before, &update.after);
        let post_commit = post_commit.posting(root.update_event(set, &update, change.intent));
        Ok((batch, post_commit, update))
    })
    .await
}

/// The number of relations that are read at once.
const RELATIONS_AT_ONCE: usize = 1000;

/// Refuses another URL for a cell if one of its relations has roles: the new cell would get them. Adds the assertion to a batch
/// that those that have none get none meanwhile.
async fn check_indirect_roles(
    root: &ServiceRoot,
    set: &SetRef,
    (cell, to_roles): (&Entity, &Association),
    batch: &mut Batch,
) -> Result<()> {
    let relations = root.control_set(ControlSet::Relation);
    let relations = relations.ok_or(Code::OdataInconsistent)?.key;
    let range = keys::links(&set.key, &cell.id, &relations);
    let prefix = range.start.as_bytes().len();
    let mut rest = range;
    loop {
        let up = Direction::Up;
        let found = root.records.list_keys(&rest, up, RELATIONS_AT_ONCE).await?;
        for relation in found.iter().filter_map(|key| keys::last_text(key, prefix)) {
            let roles = keys::links(&relations, &relation, &to_roles.target.tag);
            if !root.records.is_empty(&roles).await? {
                return Err(Code::PrivilegeLacking.into());
            }
            batch.assert_empty(roles);
        }
        match found.last() {
            Some(last) if found.len() == RELATIONS_AT_ONCE => rest = rest.after(last),
            _ => return Ok(()),
        }
    }
}

/// Checks the conditions of a request that changes or deletes an entity.
pub(super) fn check_conditions(conditions: &Preconditions, entity: &Entity) -> Result<()> {
    let state = ResourceState::of_entity(entity.stored.etag());
    match conditions.evaluate(RequestKind::Write, state) {
        Outcome::Failed => Err(Code::EntityTagMismatch.into()),
        Outcome::Proceed | Outcome::NotModified => Ok(()),
    }
}

/// Whether a change deactivates an account.
fn is_deactivation(set: &SetRef, before: &Entity, after: &Entity) -> bool {
    let is_off = |account: &Entity| account.properties.text("Status") == Some("deactivated");
    set.control == Some(ControlSet::Account) && is_off(after) && !is_off(before)
}

/// The change of an entity that is being added to a batch.
struct EntityChange<'a> {
    root: &'a ServiceRoot,
    set: &'a SetRef,
    before: &'a Entity,
    batch: &'a mut Batch,
}

impl EntityChange<'_> {
    async fn apply(mut self, change: &Change) -> Result<Entity> {
        let (root, set, before) = (self.root, self.set, self.before);
        let now = root.unit.now_ms();
        let mut properties = self.new_properties(change).await?;
        properties.set(PUBLISHED, Value::DateTime(before.stored.published));
        properties.set(UPDATED, Value::DateTime(now));
        let parent = load::find_parent_of(root, set, &properties).await?;
        let mut pending = PendingEntity::of_stored(set, before.clone());
        pending.replace(properties, now);
        pending.entity.stored.hidden.extend(change.hidden.clone());
        if is_deactivation(set, before, &pending.entity) {
            // What was issued before stays revoked when the account is activated again.
            let generation = root.unit.random().uuid().simple().to_string();
            let hidden = &mut pending.entity.stored.hidden;
            hidden.insert(TOKEN_GENERATION.to_owned(), generation);
        }
        let new_name = pending.entity.properties.text("Name").map(str::to_owned);
        schema_rules::keep_stored_name(
            set,
            before,
            &mut pending.entity.stored,
            new_name.as_deref(),
        );
        let old_parent = set
            .control
            .and_then(parent_of)
            .and_then(|(parent, _)| before.stored.links.get(parent.name()));
        self.move_key(
            old_parent.map(String::as_str),
            parent.as_deref(),
            &pending.entity,
        )
        .await?;
        if old_parent != parent.as_ref() {
            self.move_to_parent(old_parent.map(String::as_str), parent, &mut pending)?;
        }
        schema_rules::check_update(root, set, before, &pending.entity)?;
        self.check_uniques(&pending.entity).await?;
        rules::claim_uniques(set, &pending.entity, Some(before), self.batch);
        DynamicProperties::default()
            .register(root, set, &change.body.new_properties, self.batch)
            .await?;
        if let Some(type_id) = &set.type_id {
            let entity_type = load::entity_type_key(root, type_id);
            self.batch.assert(entity_type, Expect::Present);
        }
        pending.write(root, self.batch)
    }

    /// The properties after the change.
    async fn new_properties(&self, change: &Change) -> Result<Properties> {
        let (root, set, before) = (self.root, self.set, self.before);
        let mut patch = change.body.properties.clone();
        if load::is_keyed_by_id(set) {
            self.check_id(patch.text(ID)).await?;
            patch.remove(ID);
        }
        let mut properties = match change.intent {
            Intent::Merge => validate::merge(root, set, &before.properties, patch).await?,
            Intent::Create | Intent::Replace => {
                for member in &set.entity_type.key {
                    let is_generated = set
                        .entity_type
                        .properties
                        .get(member)
                        .is_some_and(|p| p.default.is_some());
                    if is_generated && patch.get(member).is_none() && &**member == "Name" {
                        patch.set(member.clone(), before.properties.value(member).clone());
                    }
                }
                patch
            }
        };
        if load::is_keyed_by_id(set) {
            properties.set(ID, before.id.as_str());
        }
        Ok(properties)
    }

    /// Checks an id in the body: it never renames the entity, and it must not be the id of another one.
    async fn check_id(&self, id: Option<&str>) -> Result<()> {
        let Some(id) = id.filter(|id| *id != self.before.id) else {
            return Ok(());
        };
        let key = keys::entity(&self.set.key, id);
        if self.root.records.find_bytes(&key).await?.is_some() {
            return Err(Code::EntityExists.into());
        }
        Ok(())
    }

    /// Moves the unique key, if name or parent change.
    async fn move_key(
        &mut self,
        old_parent: Option<&str>,
        parent: Option<&str>,
        after: &Entity,
    ) -> Result<()> {
        if load::is_keyed_by_id(self.set) {
            return Ok(());
        }
        let old = load::unique_key(self.set, &self.before.properties, old_parent);
        let new = load::unique_key(self.set, &after.properties, parent);
        if old == new {
            return Ok(());
        }
        if self.root.records.find_bytes(&new).await?.is_some() {
            return Err(Code::EntityExists.into());
        }
        self.batch.assert(new.clone(), Expect::Absent);
        self.batch.delete(old);
        self.batch.put(new, self.before.id.clone().into_bytes());
        Ok(())
    }

    /// Links the entity to its new parent instead of its old one.
    fn move_to_parent(
        &mut self,
        old_parent: Option<&str>,
        parent: Option<String>,
        pending: &mut PendingEntity,
    ) -> Result<()> {
        let Some((parent_set, _)) = self.set.control.and_then(parent_of) else {
            return Ok(());
        };
        let parents = self
            .root
            .control_set(parent_set)
            .ok_or(Code::OdataInconsistent)?
            .key;
        let (children, id) = (&self.set.key, &self.before.id);
        let field = parent_set.name();
        if let Some(old) = old_parent {
            self.batch.delete(keys::link(children, id, &parents, old));
            self.batch.delete(keys::link(&parents, old, children, id));
            pending.entity.stored.links.remove(field);
        }
        if let Some(new) = parent {
            let link = keys::link(children, id, &parents, &new);
            let back_link = keys::link(&parents, &new, children, id);
            self.batch
                .assert(keys::entity(&parents, &new), Expect::Present);
            self.batch.put(link, Vec::new());
            self.batch.put(back_link, Vec::new());
            pending.entity.stored.links.insert(field.to_owned(), new);
        }
        Ok(())
    }

    /// Checks that the unique values of the entity besides its key are free or its own.
    async fn check_uniques(&self, after: &Entity) -> Result<()> {
        let own = rules::unique_keys(self.set, &self.before.properties);
        for key in rules::unique_keys(self.set, &after.properties) {
            if !own.contains(&key) && self.root.records.find_bytes(&key).await?.is_some() {
                return Err(Code::EntityExists.into());
            }
        }
        Ok(())
    }
}
