//! Links between entities.

use std::ops::Range;
use std::time::Duration;

use personium_odata::key::EntityKey;
use personium_store::Batch;
use personium_types::{Code, Error, Result};

use super::association::Association;
use super::change_set::{ChangeSet, ChangeSetCommit};
use super::link_cursor::LinkCursor;
use super::link_writer::{LinkChange, LinkWriter};
use super::load::{self, Entity};
use super::operations::check_link;
use super::pending_entity::PendingEntity;
use super::query_budget::QueryBudget;
use super::root::ServiceRoot;
use crate::answer_memory::AnswerReservation;
use crate::{Permit, PostCommit};

/// The number of attempts to commit links together, and the pause after the first one.
const COMMIT_ATTEMPTS: u32 = 20;
const COMMIT_BACKOFF: Duration = Duration::from_millis(2);

/// Adds the link from one entity to another.
///
/// # Errors
/// [`Code::LinkSourceMissing`] if the source does not exist, [`Code::FieldFormat`] if the target does not;
/// [`Code::LinkExists`] if the link exists, or if one of the entities may not have another link; [`Code::LinkCollides`]
/// if the key with the link is taken; [`Code::LinkLimit`] if one of the entities has as many links as it may have;
/// [`Code::Unknown`] if the permit is not for this link; failures of the store.
pub async fn add_link(
    root: &ServiceRoot,
    permit: &Permit,
    association: &Association,
    source: &EntityKey,
    target: &EntityKey,
) -> Result<()> {
    check_link(root, permit, association)?;
    change_link(root, association, source, target, LinkChange::Add).await
}

/// A link to be added.
#[derive(Debug)]
pub struct NewLink {
    /// The permit to add it.
    pub permit: Permit,
    /// The association that it belongs to.
    pub association: Association,
    /// The key of the entity from which it leads.
    pub source: EntityKey,
    /// The key of the entity to which it leads.
    pub target: EntityKey,
}

/// Adds links in one batch. Each has its own result, as that of [`add_link`]: a refused one does not prevent the others. Later ones see
/// earlier ones.
///
/// # Errors
/// [`Code::Conflict`] if the root is stale, or others change the entities again and again; [`Code::Unknown`] if the root is neither that
/// of the data of a collection nor that of a cell; failures of the store.
pub async fn add_links(root: &ServiceRoot, links: &[NewLink]) -> Result<Vec<Result<()>>> {
    for attempt in 1..=COMMIT_ATTEMPTS {
        let (changes, staged) = ChangeSet::begin(root)?;
        let mut results = Vec::with_capacity(links.len());
        for link in links {
            let (source, target) = (&link.source, &link.target);
            // Boxed, because the future is large.
            let adding = Box::pin(add_link(
                &staged,
                &link.permit,
                &link.association,
                source,
                target,
            ));
            match adding.await {
                Err(error) if error.code().is_server_error() || error.code() == Code::Conflict => {
                    return Err(error);
                }
                added => results.push(added),
            }
        }
        if Box::pin(changes.commit()).await? == ChangeSetCommit::Committed {
            return Ok(results);
        }
        if root.is_stale().await? {
            break;
        }
        tokio::time::sleep(COMMIT_BACKOFF * attempt).await;
    }
    Err(Code::Conflict.into())
}

/// Removes the link from one entity to another.
///
/// # Errors
/// [`Code::LinkSourceMissing`] if an entity or the link does not exist; [`Code::UnlinkCollides`] if the key without the
/// link is taken; [`Code::Unknown`] if the permit is not for this link; failures of the store.
pub async fn remove_link(
    root: &ServiceRoot,
    permit: &Permit,
    association: &Association,
    source: &EntityKey,
    target: &EntityKey,
) -> Result<()> {
    check_link(root, permit, association)?;
    change_link(root, association, source, target, LinkChange::Remove).await
}

async fn change_link(
    root: &ServiceRoot,
    association: &Association,
    source: &EntityKey,
    target: &EntityKey,
    change: LinkChange,
) -> Result<()> {
    let reversed = association.reversed();
    let missing_target = || match change {
        LinkChange::Add => Error::new(Code::FieldFormat).with("uri"),
        LinkChange::Remove => Error::new(Code::LinkSourceMissing),
    };
    root.transact_with(root.invalidation(), || async {
        let found = load::find(root, &association.source.set, source).await?;
        let found = found.ok_or(Code::LinkSourceMissing)?;
        let mut source = PendingEntity::of_stored(&association.source.set, found);
        let found = load::find(root, &association.target.set, target).await?;
        let found = found.ok_or_else(missing_target)?;
        let mut target = PendingEntity::of_stored(&association.target.set, found);
        let mut batch = Batch::new();
        let mut writer = LinkWriter {
            root,
            association,
            batch: &mut batch,
        };
        match change {
            LinkChange::Add => writer.add(&mut source, &mut target).await?,
            LinkChange::Remove => writer.remove(&mut source, &mut target).await?,
        }
        let (source_entity, target_entity) = (&source.entity, &target.entity);
        writer
            .move_key(source_entity, target_entity, change)
            .await?;
        writer.association = &reversed;
        writer
            .move_key(target_entity, source_entity, change)
            .await?;
        let event = root.link_event(association, (&source.entity, &target.entity), change);
        write_pair(root, &mut batch, source, target)?;
        Ok((batch, PostCommit::none().posting(event), ()))
    })
    .await
}

/// Writes two linked entities. An entity that is linked to itself is written once, with the links of both.
fn write_pair(
    root: &ServiceRoot,
    batch: &mut Batch,
    source: PendingEntity,
    target: PendingEntity,
) -> Result<()> {
    if source.set.key == target.set.key && source.entity.id == target.entity.id {
        let mut both = source;
        for (field, id) in target.entity.stored.links.clone() {
            if both.entity.stored.links.get(&field) != Some(&id) {
                both.set_link(&field, Some(&id));
            }
        }
        both.write(root, batch)?;
    } else {
        source.write(root, batch)?;
        target.write(root, batch)?;
    }
    Ok(())
}

/// The number of links that are read at once.
const LINKS_BATCH: usize = 256;

/// Returns the entities that an entity is linked to, ordered by key: those at the positions `wanted`, with nothing but their
/// keys. `memory` holds them.
///
/// # Errors
/// [`Code::QueryRefused`] if it takes too long; as [`AnswerReservation::hold`]; failures of the store.
pub async fn list_links(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    wanted: Range<usize>,
    memory: &mut AnswerReservation,
) -> Result<Vec<Entity>> {
    let set = &association.target.set;
    // Links are stored in the order of ids. Entities with another key are sorted below; they are control objects, of which
    // there are few.
    let is_sorted = load::is_keyed_by_id(set);
    let mut out = Vec::new();
    let mut budget = QueryBudget::for_query(root);
    let mut cursor = LinkCursor::new(association, source);
    while !(is_sorted && out.len() >= wanted.end) {
        let batch = match is_sorted {
            true => LINKS_BATCH.min(wanted.end - out.len()),
            false => LINKS_BATCH,
        };
        let ids = cursor.next(root, batch).await?;
        if ids.is_empty() {
            break;
        }
        for id in ids {
            budget.tick().await?;
            if let Some(mut entity) = load::find_by_id(root, set, &id).await? {
                entity.reduce_to_key(set);
                memory.hold(entity.memory_bytes())?;
                out.push(entity);
            }
        }
    }
    if !is_sorted {
        out.sort_by(|a, b| a.key(set).name().cmp(b.key(set).name()));
    }
    let count = wanted.len();
    Ok(out.into_iter().skip(wanted.start).take(count).collect())
}
