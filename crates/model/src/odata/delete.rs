//! Deletion of entities.

use personium_odata::etag::IfMatch;
use personium_odata::key::EntityKey;
use personium_store::Batch;
use personium_types::{Code, Result};

use super::association::{Side, parent_of};
use super::draft::Draft;
use super::link::{hold_links, link_keys};
use super::load::{self, Entity};
use super::query_budget::QueryBudget;
use super::root::{Root, SetRef};
use super::update::check_if_match;
use super::{rules, schema_rules};
use crate::Permit;
use crate::keys::{self, ControlSet};

/// Deletes an entity with its links. `check` may refuse after the entity was found, for instance because of its owner.
///
/// # Errors
/// 404 if there is none, 412 if the precondition fails, 409 if others depend on it.
pub async fn delete(
    root: &Root,
    _permit: &Permit,
    set: &SetRef,
    key: &EntityKey,
    if_match: IfMatch,
    check: &(dyn Fn(&Entity) -> Result<()> + Sync),
) -> Result<Entity> {
    root.transact_with(root.invalidation(), || async {
        let found = load::find(root, set, key)
            .await?
            .ok_or(Code::NoSuchEntity)?;
        check(&found)?;
        let mut batch = Batch::new();
        rules::check_delete_first(root, set, &found).await?;
        check_if_match(if_match, &found)?;
        check_dependents(root, set, &found, &mut batch).await?;
        rules::check_delete(root, set, &found, &mut batch).await?;
        schema_rules::check_delete(root, set, &found, &mut batch).await?;
        remove(root, set, found.clone(), &mut batch).await?;
        let post_commit = rules::after_delete(set, &found).and(rules::if_empty(set, &found)?);
        Ok((batch, post_commit, found))
    })
    .await
}

/// Entities of which this one is the single other end must go first.
async fn check_dependents(
    root: &Root,
    set: &SetRef,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    for association in root.associations(set) {
        let holds = association.forth == Side::Many && association.back == Side::One;
        if !holds || schema_rules::goes_along(set, &association) {
            continue;
        }
        let range = keys::links(&set.key, &found.id, &association.tag_forth);
        if !root.records.is_empty(&range).await? {
            return Err(Code::HasRelated.into());
        }
        batch.assert_empty(range);
    }
    Ok(())
}

/// Adds the removal of an entity with its key, its links and its index.
pub(super) async fn remove(
    root: &Root,
    set: &SetRef,
    found: Entity,
    batch: &mut Batch,
) -> Result<()> {
    let mut pace = QueryBudget::of_change();
    for association in root.associations(set) {
        if schema_rules::goes_along(set, &association) {
            continue;
        }
        for id in hold_links(root, &association, &found, batch).await? {
            pace.step().await?;
            let Some(other) = load::find_by_id(root, &association.there, &id).await? else {
                continue;
            };
            let (forth, back) = link_keys(&association, &found, &other);
            batch.delete(forth);
            batch.delete(back);
            let detached = association.back == Side::One
                && other.stored.links.get(&association.field_back) == Some(&found.id)
                && !(other.id == found.id && association.there.key == set.key);
            if detached {
                let mut partner = Draft::of(&association.there, other);
                partner.set_link(&association.field_back, None);
                partner.finish(root, batch)?;
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
        Some(ControlSet::Box) => batch.delete(crate::install::record_key(&found.id)),
        _ => {}
    }
    Draft::of(set, found).remove(batch);
    Ok(())
}
