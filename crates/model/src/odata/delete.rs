//! Deletion of entities.

use personium_odata::conditions::IfMatch;
use personium_odata::key::EntityKey;
use personium_store::Batch;
use personium_types::{Code, Result};

use super::association::{Cardinality, parent_of};
use super::link::{link_keys, list_links_exactly};
use super::load::{self, Entity};
use super::operations::check_write;
use super::pending_entity::PendingEntity;
use super::query_budget::QueryBudget;
use super::root::{ServiceRoot, SetRef};
use super::update::check_if_match;
use super::{rules, schema_rules};
use crate::Permit;
use crate::keys::{self, ControlSet};

/// Deletes an entity with its links. `check` may refuse after the entity was found, for instance because of its owner.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is none, [`Code::EntityTagMismatch`] if the precondition fails, [`Code::HasRelated`] if
/// others depend on it, what `check` refuses with. An internal error if the permit is not for this set.
pub async fn delete(
    root: &ServiceRoot,
    permit: &Permit,
    set: &SetRef,
    key: &EntityKey,
    if_match: IfMatch,
    check: &(dyn Fn(&Entity) -> Result<()> + Sync),
) -> Result<Entity> {
    check_write(root, permit, set)?;
    root.transact_with(root.invalidation(), || async {
        let found = load::find(root, set, key)
            .await?
            .ok_or(Code::NoSuchEntity)?;
        check(&found)?;
        let mut batch = Batch::new();
        rules::check_cell_empty(root, set, &found).await?;
        check_if_match(if_match, &found)?;
        check_dependents(root, set, &found, &mut batch).await?;
        rules::check_delete(root, set, &found, &mut batch).await?;
        schema_rules::check_delete(root, set, &found, &mut batch).await?;
        remove(root, set, found.clone(), &mut batch).await?;
        let post_commit = rules::after_delete(set, &found).and(rules::require_empty(set, &found)?);
        Ok((batch, post_commit, found))
    })
    .await
}

/// Entities of which this one is the single other end must go first.
async fn check_dependents(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    for association in root.associations(set) {
        let holds = association.target_cardinality == Cardinality::Many
            && association.source_cardinality == Cardinality::One;
        if !holds || schema_rules::cascades_to(set, &association) {
            continue;
        }
        let range = keys::links(&set.key, &found.id, &association.target_tag);
        if !root.records.is_empty(&range).await? {
            return Err(Code::HasRelated.into());
        }
        batch.assert_empty(range);
    }
    Ok(())
}

/// Adds the removal of an entity with its key, its links and its index.
pub(super) async fn remove(
    root: &ServiceRoot,
    set: &SetRef,
    found: Entity,
    batch: &mut Batch,
) -> Result<()> {
    let mut pace = QueryBudget::for_change(root);
    for association in root.associations(set) {
        if schema_rules::cascades_to(set, &association) {
            continue;
        }
        for id in list_links_exactly(root, &association, &found, batch).await? {
            pace.tick().await?;
            let Some(other) = load::find_by_id(root, &association.target_set, &id).await? else {
                continue;
            };
            let (forth, back) = link_keys(&association, &found, &other);
            batch.delete(forth);
            batch.delete(back);
            let detached = association.source_cardinality == Cardinality::One
                && other.stored.links.get(&association.source_field) == Some(&found.id)
                && !(other.id == found.id && association.target_set.key == set.key);
            if detached {
                let mut partner = PendingEntity::of_stored(&association.target_set, other);
                partner.set_link(&association.source_field, None);
                partner.write(root, batch)?;
            }
        }
    }
    if !load::is_keyed_by_id(set) {
        // By the id of the parent: its name may have changed since the entity was read.
        let parent = set.control.and_then(parent_of);
        let parent = parent.and_then(|(parent, _)| found.stored.links.get(parent.name()));
        let key = found.key(set);
        batch.delete(load::unique(set, key.name(), parent.map(String::as_str)));
    }
    for key in rules::unique_keys(set, &found.properties) {
        batch.delete(key);
    }
    match set.control {
        Some(ControlSet::Rule) => batch.delete(keys::rule_hits(&found.id)),
        Some(ControlSet::Box) => batch.delete(keys::installation(&found.id)),
        _ => {}
    }
    PendingEntity::of_stored(set, found).remove(batch);
    Ok(())
}
