//! What is special about the control sets of units and cells.

use personium_odata::body::Intent;
use personium_odata::value::Properties;
use personium_store::{Batch, Key, KeyRange};
use personium_types::{CellId, Code, NodeId, Result};

use super::load::Entity;
use super::root::{ServiceRoot, SetRef};
use super::schema_rules;
use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Kind, Node};
use crate::{PostCommit, records};

/// The number of the constraint that a box's schema is unique in its cell.
const BOX_SCHEMA_CONSTRAINT: u8 = 1;

/// Control sets that must be empty before their cell is deleted.
const CELL_CONTENT: &[ControlSet] = &[
    ControlSet::Box,
    ControlSet::Account,
    ControlSet::Role,
    ControlSet::ExtCell,
    ControlSet::ExtRole,
    ControlSet::Relation,
    ControlSet::Rule,
    ControlSet::SentMessage,
    ControlSet::ReceivedMessage,
];

/// The unique values besides the key that an entity takes.
pub(super) fn unique_keys(set: &SetRef, properties: &Properties) -> Vec<Key> {
    match set.control {
        Some(ControlSet::Box) => properties
            .text("Schema")
            .map(box_of_schema)
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// The record that names the box of a schema.
pub(super) fn box_of_schema(schema: &str) -> Key {
    let set = SetKey::control(ControlSet::Box);
    keys::unique(&set, BOX_SCHEMA_CONSTRAINT, &[Some(schema)])
}

/// Takes the unique values of an entity and gives up those of its former state.
pub(super) fn claim_uniques(
    set: &SetRef,
    after: &Entity,
    before: Option<&Entity>,
    batch: &mut Batch,
) {
    let new = unique_keys(set, &after.properties);
    let old = before
        .map(|b| unique_keys(set, &b.properties))
        .unwrap_or_default();
    for key in old.iter().filter(|k| !new.contains(k)) {
        batch.delete(key.clone());
    }
    for key in new.into_iter().filter(|k| !old.contains(k)) {
        batch.assert(key.clone(), personium_store::Expect::Absent);
        batch.put(key, after.id.clone().into_bytes());
    }
}

/// Checks a creation that is valid by itself.
pub(super) async fn check_create(
    root: &ServiceRoot,
    set: &SetRef,
    properties: &Properties,
    parent: Option<&str>,
    batch: &mut Batch,
) -> Result<()> {
    schema_rules::check_create(root, set, properties, parent, batch).await
}

/// Adds what comes into being with an entity.
pub(super) fn after_create(set: &SetRef, entity: &Entity, batch: &mut Batch) -> Result<()> {
    if set.control == Some(ControlSet::Box)
        && let Ok(id) = entity.id.parse::<NodeId>()
    {
        let node = Node::new(id, Kind::Box, entity.stored.published);
        records::put(batch, keys::box_node(&id), &node)?;
    }
    Ok(())
}

/// Refuses changes of what is in use.
pub(super) async fn check_used(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    intent: Intent,
) -> Result<()> {
    schema_rules::check_used(root, set, before, intent).await
}

/// What follows a change: nothing is cached any more about a cell that was renamed.
pub(super) fn after_update(set: &SetRef, before: &Entity, after: &Entity) -> PostCommit {
    invalidate_name(set, before).and(invalidate_name(set, after))
}

/// What follows a deletion: nothing is cached any more about a cell, and what it held is removed.
pub(super) fn after_delete(set: &SetRef, gone: &Entity) -> PostCommit {
    let forget = invalidate_name(set, gone);
    match (set.control, gone.id.parse()) {
        (Some(ControlSet::Cell), Ok(cell)) => forget.collect_removed_cell(cell),
        _ => forget,
    }
}

fn invalidate_name(set: &SetRef, entity: &Entity) -> PostCommit {
    match (set.control, entity.properties.text("Name")) {
        (Some(ControlSet::Cell), Some(name)) => PostCommit::none().invalidate_cell_name(name),
        _ => PostCommit::none(),
    }
}

/// What a deletion of a single entity depends on elsewhere: a cell must be empty.
pub(super) fn require_empty(set: &SetRef, found: &Entity) -> Result<PostCommit> {
    Ok(match content(set, found)? {
        Some((cell, ranges)) => PostCommit::none().if_empty(cell, ranges),
        None => PostCommit::none(),
    })
}

/// A cell with the ranges that must be empty before it is deleted; `None` for anything else.
fn content(set: &SetRef, found: &Entity) -> Result<Option<(CellId, Vec<KeyRange>)>> {
    if set.control != Some(ControlSet::Cell) {
        return Ok(None);
    }
    let Ok(cell) = found.id.parse::<CellId>() else {
        return Err(Code::OdataInconsistent.into());
    };
    let main_box = NodeId::from_bytes(*cell.as_bytes());
    let objects = CELL_CONTENT.iter().copied();
    let ranges = objects
        .map(|set| keys::entities(&SetKey::control(set)))
        .chain([keys::children(&main_box)]);
    Ok(Some((cell, ranges.collect())))
}

/// Checks before the precondition that nothing is left in a cell.
pub(super) async fn check_cell_empty(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
) -> Result<()> {
    let Some((cell, ranges)) = content(set, found)? else {
        return Ok(());
    };
    let records = root.unit.cell_records(&cell);
    for range in ranges {
        if !records.is_empty(&range).await? {
            return Err(Code::HasRelated.into());
        }
    }
    Ok(())
}

/// Checks that nothing is left in a box, and adds the removal of what goes with an entity.
pub(super) async fn check_delete(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    match set.control {
        Some(ControlSet::Box) => {
            let Ok(id) = found.id.parse::<NodeId>() else {
                return Err(Code::OdataInconsistent.into());
            };
            let members: KeyRange = keys::children(&id);
            if !root.records.is_empty(&members).await? {
                return Err(Code::HasRelated.into());
            }
            batch.assert_empty(members);
            batch.delete(keys::box_node(&id));
            batch.delete(keys::child_count(&id));
            Ok(())
        }
        Some(ControlSet::Account) => {
            batch.delete(keys::login_history(&found.id));
            Ok(())
        }
        Some(ControlSet::Cell) => {
            let Ok(cell) = found.id.parse() else {
                return Err(Code::OdataInconsistent.into());
            };
            crate::garbage_collection::add_removed_cell(batch, &cell);
            Ok(())
        }
        _ => Ok(()),
    }
}
