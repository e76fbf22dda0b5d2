//! Removes a box or a cell with everything in it.

use std::sync::Arc;

use personium_store::{Batch, Expect, Key};
use personium_types::{Code, Error, NodeId, Operation, Result};

use super::association::Association;
use super::delete::remove;
use super::link_cursor::linked_ids;
use super::load;
use super::root::{ServiceRoot, SetRef};
use super::rules;
use crate::erased_cell::ErasedCell;
use crate::event::EventCause;
use crate::keys::{self, ControlSet};
use crate::node::{Node, NodeKind};
use crate::{CellContext, Permit, PermitTarget, PostCommit, Unit, garbage_collection};

/// The number of linked entities that are read at once.
const LINK_BATCH: usize = 100;

/// Removes a box with its roles, relations, rules and messages. Its files are removed in the background.
///
/// If the server stops meanwhile, the box still exists and can be removed again. `events` is the cause of the event about it.
///
/// # Errors
/// [`Code::NoSuchBox`] if it does not exist any more; [`Code::Unknown`] if the permit is not for this box; failures of
/// the store.
pub async fn remove_box(
    unit: &Arc<Unit>,
    context: &Arc<CellContext>,
    permit: &Permit,
    id: &NodeId,
    events: Option<&Arc<EventCause>>,
) -> Result<()> {
    let (root, set) = boxes_for_removal(unit, context, permit, id)?;
    // What belongs to the box goes without events.
    let reporting = root.clone().reporting(events.cloned(), "");
    let mark = &garbage_collection::mark_pending(unit, context).await?;
    loop {
        remove_owned(&root, &set, &id.to_string()).await?;
        let done = reporting
            .transact_with(root.invalidation(), || async {
                let found = load::find_by_id(&root, &set, &id.to_string()).await?;
                let found =
                    found.ok_or_else(|| Error::new(Code::NoSuchBox).with(id.to_string()))?;
                let mut batch = Batch::new();
                if !owns_nothing(&root, &set, &found.id, &mut batch).await? {
                    return Ok((Batch::new(), PostCommit::none(), false));
                }
                let event = reporting.box_deletion_event(&found);
                mark.assert_in(&mut batch);
                remove(&root, &set, found, &mut batch).await?;
                rules::delete_box_node(&root, id, &mut batch).await?;
                garbage_collection::add_record(&mut batch, &Node::new(*id, NodeKind::Box, 0))?;
                let post_commit = PostCommit::none()
                    .collect_garbage(context.cell().id, mark)
                    .posting(event);
                Ok((batch, post_commit, true))
            })
            .await?;
        if done {
            return Ok(());
        }
    }
}

/// Removes the roles, relations, rules and messages that belong to a box, but not what is stored in it.
///
/// # Errors
/// [`Code::Unknown`] if the permit is not for removing this box; failures of the store.
pub async fn remove_box_objects(
    unit: &Arc<Unit>,
    context: &Arc<CellContext>,
    permit: &Permit,
    id: &NodeId,
) -> Result<()> {
    let (root, set) = boxes_for_removal(unit, context, permit, id)?;
    remove_owned(&root, &set, &id.to_string()).await
}

/// The control objects of a cell and its set of boxes, for a permit to remove this box.
fn boxes_for_removal(
    unit: &Arc<Unit>,
    context: &Arc<CellContext>,
    permit: &Permit,
    id: &NodeId,
) -> Result<(ServiceRoot, SetRef)> {
    let target = PermitTarget::Node {
        cell: context.cell().id,
        node: *id,
    };
    permit.check(Operation::RemoveBox, &target)?;
    let root = ServiceRoot::of_cell(Arc::clone(unit), Arc::clone(context));
    let set = root.control_set(ControlSet::Box).ok_or(Code::NoSuchSet)?;
    Ok((root, set))
}

/// The associations along which other entities belong to one entity of a set.
fn owned(root: &ServiceRoot, set: &SetRef) -> impl Iterator<Item = Association> {
    let all = root.associations(set).into_iter();
    all.filter(Association::is_ownership)
}

/// Whether nothing belongs to an entity. Adds the assertion of this to a batch.
async fn owns_nothing(
    root: &ServiceRoot,
    set: &SetRef,
    id: &str,
    batch: &mut Batch,
) -> Result<bool> {
    for association in owned(root, set) {
        let range = keys::links(&set.key, id, &association.target.tag);
        if !root.records.is_empty(&range).await? {
            return Ok(false);
        }
        batch.assert_empty(range);
    }
    Ok(true)
}

/// Removes the entities that belong to an entity, one per batch, each after those that belong to it.
async fn remove_owned(root: &ServiceRoot, set: &SetRef, id: &str) -> Result<()> {
    for association in owned(root, set) {
        let there = &association.target.set;
        while let Some(found) = load::find_by_id(root, set, id).await? {
            let ids = linked_ids(root, &association, &found, LINK_BATCH).await?;
            if ids.is_empty() {
                break;
            }
            for id in ids {
                let link = keys::link(&set.key, &found.id, &association.target.tag, &id);
                remove_one(root, there, &id, &link).await?;
            }
        }
    }
    Ok(())
}

/// Removes an entity that belongs to another one by this link, after the entities that belong to it.
async fn remove_one(root: &ServiceRoot, set: &SetRef, id: &str, link: &Key) -> Result<()> {
    loop {
        Box::pin(remove_owned(root, set, id)).await?;
        let done = root
            .transact(root.invalidation(), || async {
                let mut batch = Batch::new();
                match load::find_by_id(root, set, id).await? {
                    Some(found) => {
                        if !owns_nothing(root, set, id, &mut batch).await? {
                            return Ok((Batch::new(), false));
                        }
                        remove(root, set, found, &mut batch).await?;
                    }
                    // A link without an entity would make the loop of the caller endless.
                    None if root.records.find_bytes(link).await?.is_some() => {
                        batch.assert(link.clone(), Expect::Present);
                        batch.delete(link.clone());
                    }
                    None => {}
                }
                Ok((batch, true))
            })
            .await?;
        if done {
            return Ok(());
        }
    }
}

/// Removes a cell with everything in it. Its records and bodies are removed in the background.
///
/// # Errors
/// [`Code::NoSuchCell`] if it does not exist any more. An internal error if the permit is not for this cell.
pub async fn remove_cell(unit: &Arc<Unit>, context: &CellContext, permit: &Permit) -> Result<()> {
    remove_whole_cell(unit, context, permit, None).await
}

/// Removes a cell with everything in it, as [`remove_cell`] does, for good: a record says that back-ups lose it too.
///
/// # Errors
/// As [`remove_cell`].
pub async fn erase_cell(unit: &Arc<Unit>, context: &CellContext, permit: &Permit) -> Result<()> {
    let erased = ErasedCell {
        name: context.cell().name.clone(),
        owner: context.cell().owner.clone(),
        time_ms: unit.now_ms(),
    };
    remove_whole_cell(unit, context, permit, Some(&erased)).await
}

async fn remove_whole_cell(
    unit: &Arc<Unit>,
    context: &CellContext,
    permit: &Permit,
    erased: Option<&ErasedCell>,
) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::RemoveCell, &target)?;
    let root = ServiceRoot::of_unit(Arc::clone(unit));
    let set = root.control_set(ControlSet::Cell).ok_or(Code::NoSuchSet)?;
    let id = context.cell().id;
    root.transact_with(root.invalidation(), || async {
        let found = load::find_by_id(&root, &set, &id.to_string()).await?;
        let found = found.ok_or(Code::NoSuchCell)?;
        let post_commit = rules::after_delete(&set, &found);
        let mut batch = Batch::new();
        garbage_collection::add_removed_cell(unit, &mut batch, &id);
        if let Some(erased) = erased {
            erased.put(&mut batch, &id)?;
        }
        remove(&root, &set, found, &mut batch).await?;
        Ok((batch, post_commit, ()))
    })
    .await
}
