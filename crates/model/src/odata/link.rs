//! Links between entities.

use personium_odata::key::EntityKey;
use personium_store::{Batch, Direction, Expect, KeyRange};
use personium_types::{Code, Error, Result};

use super::association::{Association, Cardinality};
use super::load::{self, Entity};
use super::operations::check_link;
use super::pending_entity::PendingEntity;
use super::query_budget::QueryBudget;
use super::root::{ServiceRoot, SetRef};
use super::schema_rules;
use crate::Permit;
use crate::keys;

/// Adds the link from one entity to another.
///
/// # Errors
/// 404 if the source, 400 if the target does not exist; 409 if the link exists, if an end is taken that may be linked
/// once, or if the new key is taken; 400 if an end has as many links as it may have.
pub async fn add_link(
    root: &ServiceRoot,
    permit: &Permit,
    association: &Association,
    source: &EntityKey,
    target: &EntityKey,
) -> Result<()> {
    check_link(root, permit, association)?;
    root.transact(root.invalidation(), || async {
        let source = load::find(root, &association.source_set, source)
            .await?
            .ok_or(Code::LinkSourceMissing)?;
        let target = load::find(root, &association.target_set, target).await?;
        let target = target.ok_or_else(|| Error::new(Code::FieldFormat).with("uri"))?;
        let mut batch = Batch::new();
        let mut source = PendingEntity::of_stored(&association.source_set, source);
        let mut target = PendingEntity::of_stored(&association.target_set, target);
        check_ends_of_association(root, association, &source.entity, &target.entity).await?;
        connect(root, &mut batch, association, &mut source, &mut target).await?;
        rekey(
            root,
            &mut batch,
            association,
            &source.entity,
            &target.entity,
            LinkChange::Add,
        )
        .await?;
        rekey(
            root,
            &mut batch,
            &association.reversed(),
            &target.entity,
            &source.entity,
            LinkChange::Add,
        )
        .await?;
        finish_pair(root, &mut batch, source, target)?;
        Ok((batch, ()))
    })
    .await
}

/// Removes the link from one entity to another.
///
/// # Errors
/// 404 if an entity or the link does not exist; 409 if the key without the link is taken.
pub async fn remove_link(
    root: &ServiceRoot,
    permit: &Permit,
    association: &Association,
    source: &EntityKey,
    target: &EntityKey,
) -> Result<()> {
    check_link(root, permit, association)?;
    root.transact(root.invalidation(), || async {
        let source = load::find(root, &association.source_set, source)
            .await?
            .ok_or(Code::LinkSourceMissing)?;
        let target = load::find(root, &association.target_set, target)
            .await?
            .ok_or(Code::LinkSourceMissing)?;
        let mut batch = Batch::new();
        let mut source = PendingEntity::of_stored(&association.source_set, source);
        let mut target = PendingEntity::of_stored(&association.target_set, target);
        disconnect(root, &mut batch, association, &mut source, &mut target).await?;
        rekey(
            root,
            &mut batch,
            association,
            &source.entity,
            &target.entity,
            LinkChange::Remove,
        )
        .await?;
        rekey(
            root,
            &mut batch,
            &association.reversed(),
            &target.entity,
            &source.entity,
            LinkChange::Remove,
        )
        .await?;
        finish_pair(root, &mut batch, source, target)?;
        Ok((batch, ()))
    })
    .await
}

/// Adds both drafts; a link of an entity to itself is one draft.
fn finish_pair(
    root: &ServiceRoot,
    batch: &mut Batch,
    source: PendingEntity,
    target: PendingEntity,
) -> Result<()> {
    if source.set.key == target.set.key && source.entity.id == target.entity.id {
        let mut one = source;
        for (field, id) in target.entity.stored.links.clone() {
            if one.entity.stored.links.get(&field) != Some(&id) {
                one.set_link(&field, Some(&id));
            }
        }
        one.write(root, batch)?;
    } else {
        source.write(root, batch)?;
        target.write(root, batch)?;
    }
    Ok(())
}

/// The entities that an entity is linked to, up to `limit` after `skip`, with how many there are in all.
pub async fn list_links(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    skip: usize,
    limit: usize,
) -> Result<Vec<Entity>> {
    let mut out = Vec::new();
    let mut pace = QueryBudget::for_query(root);
    for id in linked_ids(root, association, source, usize::MAX).await? {
        pace.tick().await?;
        if let Some(entity) = load::find_by_id(root, &association.target_set, &id).await? {
            out.push(entity);
        }
        // Sorted by id already where the id is the key; control sets are small.
        if load::is_keyed_by_id(&association.target_set) && out.len() >= skip.saturating_add(limit)
        {
            break;
        }
    }
    if !load::is_keyed_by_id(&association.target_set) {
        out.sort_by(|a, b| {
            a.key(&association.target_set)
                .name()
                .cmp(b.key(&association.target_set).name())
        });
    }
    Ok(out.into_iter().skip(skip).take(limit).collect())
}

/// The ids of the entities that an entity is linked to, in their order, at most `limit`.
pub(super) async fn linked_ids(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    limit: usize,
) -> Result<Vec<String>> {
    LinkCursor::of(association, source).next(root, limit).await
}

/// The ids of all entities that an entity is linked to. Adds to a batch that it is linked to no others.
pub(super) async fn list_links_exactly(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    batch: &mut Batch,
) -> Result<Vec<String>> {
    match LinkCursor::of(association, source) {
        // Its links stand in the record of the source, which whoever changes it asserts.
        LinkCursor::One(id) => Ok(id.into_iter().collect()),
        LinkCursor::Many(range, prefix) => {
            let held = root.records.list_keys_exactly(&range, batch).await?;
            let ids = held.iter().filter_map(|key| keys::last_text(key, prefix));
            Ok(ids.collect())
        }
    }
}

/// The ids of the entities that an entity is linked to, some at a time.
pub(super) enum LinkCursor {
    /// By a link of which there is one at most.
    One(Option<String>),
    /// By links that are records: the range of those that are left, and the length of their keys before the id.
    Many(KeyRange, usize),
}

impl LinkCursor {
    /// All from the beginning.
    pub fn of(association: &Association, source: &Entity) -> Self {
        if association.target_cardinality == Cardinality::One {
            return Self::One(source.stored.links.get(&association.target_field).cloned());
        }
        let range = keys::links(
            &association.source_set.key,
            &source.id,
            &association.target_tag,
        );
        let prefix = range.start.as_bytes().len();
        Self::Many(range, prefix)
    }

    /// The next ids in their order; fewer than `limit`, if it is not 0, only at the end.
    pub async fn next(&mut self, root: &ServiceRoot, limit: usize) -> Result<Vec<String>> {
        match self {
            Self::One(id) => Ok(id.take().into_iter().collect()),
            Self::Many(range, prefix) => {
                let found = root.records.list_keys(range, Direction::Up, limit).await?;
                if let Some(last) = found.last() {
                    *range = range.after(last);
                }
                let ids = found.iter().filter_map(|key| keys::last_text(key, *prefix));
                Ok(ids.collect())
            }
        }
    }
}

/// Links two drafts.
pub(super) async fn connect(
    root: &ServiceRoot,
    batch: &mut Batch,
    association: &Association,
    source: &mut PendingEntity,
    target: &mut PendingEntity,
) -> Result<()> {
    let (forth, back) = link_keys(association, &source.entity, &target.entity);
    if association.target_cardinality == Cardinality::One {
        if source
            .entity
            .stored
            .links
            .contains_key(&association.target_field)
        {
            return Err(Code::LinkExists.into());
        }
        source.set_link(&association.target_field, Some(&target.entity.id));
    }
    if association.source_cardinality == Cardinality::One {
        if target
            .entity
            .stored
            .links
            .contains_key(&association.source_field)
            && !(association.source_field == association.target_field
                && source.entity.id == target.entity.id)
        {
            return Err(Code::LinkExists.into());
        }
        target.set_link(&association.source_field, Some(&source.entity.id));
    }
    schema_rules::tag_ends(root, &mut source.entity, &mut target.entity, association);
    if association.target_cardinality == Cardinality::Many
        && association.source_cardinality == Cardinality::Many
    {
        if root.records.find_bytes(&forth).await?.is_some() {
            return Err(Code::LinkExists.into());
        }
        let max = root.unit.settings().odata.links_max;
        for range in [
            keys::links(
                &association.source_set.key,
                &source.entity.id,
                &association.target_tag,
            ),
            keys::links(
                &association.target_set.key,
                &target.entity.id,
                &association.source_tag,
            ),
        ] {
            if root.records.count(&range).await? >= max {
                return Err(Code::LinkLimit.into());
            }
        }
        batch.assert(forth.clone(), Expect::Absent);
    }
    batch.put(forth, Vec::new());
    batch.put(back, Vec::new());
    Ok(())
}

async fn disconnect(
    root: &ServiceRoot,
    batch: &mut Batch,
    association: &Association,
    source: &mut PendingEntity,
    target: &mut PendingEntity,
) -> Result<()> {
    let (forth, back) = link_keys(association, &source.entity, &target.entity);
    if root.records.find_bytes(&forth).await?.is_none() {
        return Err(Code::LinkSourceMissing.into());
    }
    if association.target_cardinality == Cardinality::One {
        source.set_link(&association.target_field, None);
    }
    if association.source_cardinality == Cardinality::One {
        target.set_link(&association.source_field, None);
    }
    batch.assert(forth.clone(), Expect::Present);
    batch.delete(forth);
    batch.delete(back);
    Ok(())
}

pub(super) fn link_keys(
    association: &Association,
    source: &Entity,
    target: &Entity,
) -> (personium_store::Key, personium_store::Key) {
    (
        keys::link(
            &association.source_set.key,
            &source.id,
            &association.target_tag,
            &target.id,
        ),
        keys::link(
            &association.target_set.key,
            &target.id,
            &association.source_tag,
            &source.id,
        ),
    )
}

pub(super) enum LinkChange {
    Add,
    Remove,
}

/// Moves the unique name of an entity whose key the other end is part of.
pub(super) async fn rekey(
    root: &ServiceRoot,
    batch: &mut Batch,
    association: &Association,
    entity: &Entity,
    parent: &Entity,
    way: LinkChange,
) -> Result<()> {
    if !association.target_in_source_key || load::is_keyed_by_id(&association.source_set) {
        return Ok(());
    }
    let set: &SetRef = &association.source_set;
    let name = entity
        .properties
        .text("Name")
        .unwrap_or_default()
        .to_owned();
    let bound = load::unique(set, &name, Some(&parent.id));
    let free = load::unique(set, &name, None);
    let (from, to) = match way {
        LinkChange::Add => (free, bound),
        LinkChange::Remove => (bound, free),
    };
    if root.records.find_bytes(&to).await?.is_some() {
        let parent_name = parent.properties.text("Name").unwrap_or_default();
        return Err(match way {
            LinkChange::Add => Error::new(Code::LinkCollides)
                .with(format!("{}('{name}', '{parent_name}')", set.name())),
            LinkChange::Remove => {
                Error::new(Code::UnlinkCollides).with(format!("{}('{name}')", set.name()))
            }
        });
    }
    batch.assert(to.clone(), Expect::Absent);
    batch.delete(from);
    batch.put(to, entity.id.clone().into_bytes());
    Ok(())
}

/// The rules of linking two association ends.
async fn check_ends_of_association(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    target: &Entity,
) -> Result<()> {
    if association.source_set.control == Some(keys::ControlSet::AssociationEnd)
        && association.target_set.control == Some(keys::ControlSet::AssociationEnd)
    {
        super::schema_rules::check_relation(root, source, target).await?;
    }
    Ok(())
}
