//! Changes of entities.

use std::collections::{BTreeMap, HashSet};

use personium_odata::body::{Intent, ValidatedBody};
use personium_odata::conditions::IfMatch;
use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::key::EntityKey;
use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Expect};
use personium_types::{Code, ETag, Error, Result};

use super::association::parent_of;
use super::create::{entity_type_key, register_property};
use super::load::{self, Entity, Parent};
use super::operations::check_write;
use super::pending_entity::PendingEntity;
use super::root::{ServiceRoot, SetRef};
use super::{accept, rules, schema_rules};
use crate::Permit;
use crate::commit::Invalidation;
use crate::keys;

/// A change of one entity.
#[derive(Debug, Clone)]
pub struct Change {
    /// The validated body.
    pub accepted: ValidatedBody,
    /// Whether the body is the whole entity or only what changes.
    pub intent: Intent,
    /// Hidden values to set; others are kept.
    pub hidden: BTreeMap<String, String>,
    /// The precondition.
    pub if_match: IfMatch,
}

/// What a change led to.
#[derive(Debug, Clone)]
pub struct Update {
    /// The entity as it was.
    pub before: Entity,
    /// The entity as it is.
    pub after: Entity,
}

impl Update {
    /// The new ETag.
    #[must_use]
    pub fn etag(&self) -> ETag {
        self.after.stored.etag()
    }
}

/// Changes an entity. `check` may refuse after the entity was found, for instance because of its owner.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is none, [`Code::EntityTagMismatch`] if the precondition fails, [`Code::EntityExists`] if
/// the new key is taken, a code that names what is wrong if a parent does not exist or the change is not allowed, what
/// `check` refuses with. An internal error if the permit is not for this set.
pub async fn update(
    root: &ServiceRoot,
    permit: &Permit,
    set: &SetRef,
    key: &EntityKey,
    change: &Change,
    check: &(dyn Fn(&Entity) -> Result<()> + Sync),
) -> Result<Update> {
    check_write(root, permit, set)?;
    store_change(root, set, key, change, check).await
}

/// As [`update`], for a caller that checked its own permit.
pub(crate) async fn store_change(
    root: &ServiceRoot,
    set: &SetRef,
    key: &EntityKey,
    change: &Change,
    check: &(dyn Fn(&Entity) -> Result<()> + Sync),
) -> Result<Update> {
    let registers = !change.accepted.new_properties.is_empty();
    let invalidation = if registers {
        Invalidation::Cell
    } else {
        root.invalidation()
    };
    root.transact_with(invalidation, || async {
        let before = load::find(root, set, key)
            .await?
            .ok_or(Code::NoSuchEntity)?;
        check(&before)?;
        rules::check_used(root, set, &before, change.intent).await?;
        check_if_match(change.if_match, &before)?;
        let mut batch = Batch::new();
        let after = apply(root, set, change, &before, &mut batch).await?;
        let post_commit = rules::after_update(set, &before, &after);
        Ok((batch, post_commit, Update { before, after }))
    })
    .await
}

pub(super) fn check_if_match(if_match: IfMatch, entity: &Entity) -> Result<()> {
    if if_match.allows(entity.stored.etag()) {
        Ok(())
    } else {
        Err(Code::EntityTagMismatch.into())
    }
}

async fn apply(
    root: &ServiceRoot,
    set: &SetRef,
    change: &Change,
    before: &Entity,
    batch: &mut Batch,
) -> Result<Entity> {
    let now = root.unit.now_ms();
    let mut properties = new_values(root, set, change, before).await?;
    properties.set(PUBLISHED, Value::DateTime(before.stored.published));
    properties.set(UPDATED, Value::DateTime(now));
    let parent = new_parent(root, set, &properties).await?;
    let mut draft = PendingEntity::of_stored(set, before.clone());
    draft.replace(properties, now);
    draft.entity.stored.hidden.extend(change.hidden.clone());
    let new_name = draft.entity.properties.text("Name").map(str::to_owned);
    schema_rules::keep_alias(set, before, &mut draft.entity.stored, new_name.as_deref());
    move_key(root, set, before, &mut draft, parent, batch).await?;
    schema_rules::check_update(root, set, before, &draft.entity, batch).await?;
    for key in rules::unique_keys(set, &draft.entity.properties) {
        let is_own = rules::unique_keys(set, &before.properties).contains(&key);
        if !is_own && root.records.find_bytes(&key).await?.is_some() {
            return Err(Code::EntityExists.into());
        }
    }
    rules::claim_uniques(set, &draft.entity, Some(before), batch);
    let mut registered = HashSet::new();
    for property in &change.accepted.new_properties {
        registered.extend(register_property(root, set, property, now, batch, &registered).await?);
    }
    if let Some(type_id) = &set.type_id {
        batch.assert(entity_type_key(root, type_id), Expect::Present);
    }
    draft.write(root, batch)
}

/// The properties after the change.
async fn new_values(
    root: &ServiceRoot,
    set: &SetRef,
    change: &Change,
    before: &Entity,
) -> Result<Properties> {
    let mut patch = change.accepted.properties.clone();
    if load::is_keyed_by_id(set) {
        check_id(root, set, before, patch.text(ID)).await?;
        patch.remove(ID);
    }
    let mut properties = match change.intent {
        Intent::Merge => accept::merge(root, set, &before.properties, patch).await?,
        Intent::Create | Intent::Replace => {
            for member in &set.entity_type.key {
                let generated = set
                    .entity_type
                    .properties
                    .get(member)
                    .is_some_and(|p| p.default.is_some());
                if generated && patch.get(member).is_none() && &**member == "Name" {
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

/// An id in the body never renames; it must not be another entity's.
async fn check_id(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    id: Option<&str>,
) -> Result<()> {
    let Some(id) = id.filter(|id| *id != before.id) else {
        return Ok(());
    };
    if root
        .records
        .find_bytes(&keys::entity(&set.key, id))
        .await?
        .is_some()
    {
        return Err(Code::EntityExists.into());
    }
    Ok(())
}

async fn new_parent(
    root: &ServiceRoot,
    set: &SetRef,
    properties: &Properties,
) -> Result<Option<String>> {
    let Some((_, member)) = set.control.and_then(parent_of) else {
        return Ok(None);
    };
    let name = properties.text(member).map(str::to_owned);
    let box_name = properties.text("_Relation._Box.Name").map(str::to_owned);
    match load::find_parent_named(root, set, name, box_name).await? {
        Parent::None => Ok(None),
        Parent::Found(id) => Ok(Some(id)),
        Parent::Missing(name) => Err(Error::new(Code::ParentMissing).with(name)),
    }
}

/// Renames the entity or moves it to another parent.
async fn move_key(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    draft: &mut PendingEntity,
    parent: Option<String>,
    batch: &mut Batch,
) -> Result<()> {
    let old_parent = set
        .control
        .and_then(parent_of)
        .and_then(|(parent, _)| before.stored.links.get(parent.name()).cloned());
    if !load::is_keyed_by_id(set) {
        let first = set.entity_type.key.first();
        let name = |e: &Entity| {
            first
                .and_then(|m| e.properties.text(m))
                .unwrap_or_default()
                .to_owned()
        };
        let old = load::unique(set, &name(before), old_parent.as_deref());
        let new = load::unique(set, &name(&draft.entity), parent.as_deref());
        if old != new {
            if root.records.find_bytes(&new).await?.is_some() {
                return Err(Code::EntityExists.into());
            }
            batch.assert(new.clone(), Expect::Absent);
            batch.delete(old);
            batch.put(new, before.id.clone().into_bytes());
        }
    }
    if old_parent == parent {
        return Ok(());
    }
    let Some((parent_set, _)) = set.control.and_then(parent_of) else {
        return Ok(());
    };
    let there = root
        .control_set(parent_set)
        .ok_or(Code::OdataInconsistent)?;
    let field = parent_set.name().to_owned();
    if let Some(old) = old_parent {
        batch.delete(keys::link(&set.key, &before.id, &there.key, &old));
        batch.delete(keys::link(&there.key, &old, &set.key, &before.id));
        draft.entity.stored.links.remove(&field);
    }
    if let Some(new) = parent {
        batch.assert(keys::entity(&there.key, &new), Expect::Present);
        batch.put(
            keys::link(&set.key, &before.id, &there.key, &new),
            Vec::new(),
        );
        batch.put(
            keys::link(&there.key, &new, &set.key, &before.id),
            Vec::new(),
        );
        draft.entity.stored.links.insert(field, new);
    }
    Ok(())
}
