//! Deletion of entities.

use personium_store::Batch;
use personium_types::{Code, Preconditions, Result};

use super::association::{Association, Cardinality, parent_of};
use super::link_cursor::{link_keys, list_links_exactly};
use super::load::{self, Entity, EntityCheck};
use super::operations::check_write;
use super::pending_entity::PendingEntity;
use super::query_budget::QueryBudget;
use super::root::{EntityRef, ServiceRoot, SetRef};
use super::update::check_conditions;
use super::{rules, schema_rules};
use crate::keys::{self, ControlSet};
use crate::{Permit, timer_index};

/// Deletes an entity with its links. `check` may refuse the deletion after the entity was found, for instance because
/// of its owner.
///
/// # Errors
/// [`Code::NoSuchEntity`] if it does not exist; [`Code::EntityTagMismatch`] if the precondition fails;
/// [`Code::HasRelated`] if others depend on it; the codes of `check`; [`Code::Unknown`] if the permit is not for this
/// set; failures of the store.
pub async fn delete(
    root: &ServiceRoot,
    permit: &Permit,
    target: EntityRef<'_>,
    conditions: &Preconditions,
    check: EntityCheck<'_>,
) -> Result<Entity> {
    let set = target.set;
    check_write(root, permit, set)?;
    root.transact_with(root.invalidation(), || async {
        let found = load::find(root, set, target.key)
            .await?
            .ok_or(Code::NoSuchEntity)?;
        check(&found)?;
        let mut batch = Batch::new();
        rules::check_cell_empty(root, set, &found).await?;
        check_conditions(conditions, &found)?;
        check_dependents(root, set, &found, &mut batch).await?;
        rules::check_delete(root, set, &found, &mut batch).await?;
        schema_rules::check_delete(root, set, &found, &mut batch).await?;
        remove(root, set, found.clone(), &mut batch).await?;
        let post_commit = rules::after_delete(set, &found).and(rules::require_empty(set, &found)?);
        let post_commit = post_commit.posting(root.deletion_event(set, &found));
        Ok((batch, post_commit, found))
    })
    .await
}

/// Refuses to delete an entity that others belong to: they must be deleted first.
async fn check_dependents(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    for association in root.associations(set) {
        if !association.is_ownership() || schema_rules::cascades_to(set, &association) {
            continue;
        }
        let range = keys::links(&set.key, &found.id, &association.target.tag);
        if !root.records.is_empty(&range).await? {
            return Err(Code::HasRelated.into());
        }
        batch.assert_empty(range);
    }
    Ok(())
}

/// Adds the removal of an entity with its key, its links and its index.
///
/// # Errors
/// Failures of the store.
pub(super) async fn remove(
    root: &ServiceRoot,
    set: &SetRef,
    found: Entity,
    batch: &mut Batch,
) -> Result<()> {
    for association in root.associations(set) {
        if !schema_rules::cascades_to(set, &association) {
            remove_links(root, &association, &found, batch).await?;
        }
    }
    if !load::is_keyed_by_id(set) {
        // The key contains the id of the parent, not its name, which may have changed since the entity was read.
        let parent = set.control.and_then(parent_of);
        let parent = parent.and_then(|(parent, _)| found.stored.links.get(parent.name()));
        let key = found.key(set);
        batch.delete(load::unique(set, key.name(), parent.map(String::as_str)));
    }
    for key in rules::unique_keys(set, &found.properties) {
        batch.delete(key);
    }
    match set.control {
        Some(ControlSet::Rule) => {
            batch.delete(keys::rule_hits(&found.id));
            batch.delete(keys::rule_state(&found.id));
            timer_index::remove(&root.records, batch, &found.id).await?;
        }
        Some(ControlSet::Box) => batch.delete(keys::installation(&found.id)),
        _ => {}
    }
    PendingEntity::of_stored(set, found).remove(batch);
    Ok(())
}

/// Adds the removal of all links of an entity along an association.
async fn remove_links(
    root: &ServiceRoot,
    association: &Association,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    let (source, target) = (&association.source, &association.target);
    let mut budget = QueryBudget::for_change(root);
    for id in list_links_exactly(root, association, found, batch).await? {
        budget.tick().await?;
        let Some(other) = load::find_by_id(root, &target.set, &id).await? else {
            continue;
        };
        let (forward, backward) = link_keys(association, &found.id, &other.id);
        batch.delete(forward);
        batch.delete(backward);
        let is_self = other.id == found.id && target.set.key == source.set.key;
        let stores_link = source.cardinality == Cardinality::One
            && other.stored.links.get(&source.field) == Some(&found.id);
        if stores_link && !is_self {
            let mut other = PendingEntity::of_stored(&target.set, other);
            other.set_link(&source.field, None);
            other.write(root, batch)?;
        }
    }
    Ok(())
}
