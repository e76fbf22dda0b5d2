//! Rules of single control sets of units and cells.

use std::collections::HashSet;

use personium_odata::value::Properties;
use personium_store::{Batch, Expect, Key, KeyRange};
use personium_types::{CellId, Code, Error, NodeId, Result};

use super::load::Entity;
use super::root::{ServiceRoot, SetRef};
use crate::event::rule::MAX_RULES;
use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Node, NodeKind};
use crate::timer_index::{self, Timer, TimerPlan, is_timer};
use crate::{PostCommit, garbage_collection, records};

/// The number of the constraint that the schema of a box is unique in its cell.
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

/// The keys of the unique values of an entity besides its key.
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

/// The key of the record with the box of a schema.
pub(super) fn box_of_schema(schema: &str) -> Key {
    let set = SetKey::control(ControlSet::Box);
    keys::unique(&set, BOX_SCHEMA_CONSTRAINT, &[Some(schema)])
}

/// Adds to a batch that an entity takes its unique values, and releases those of its former state.
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
        batch.assert(key.clone(), Expect::Absent);
        batch.put(key, after.id.clone().into_bytes());
    }
}

/// The number of stored rules of a cell.
///
/// # Errors
/// A failure of the store.
pub(super) async fn count(root: &ServiceRoot, set: &SetRef) -> Result<u64> {
    root.records.count(&keys::entities(&set.key)).await
}

/// Refuses a further rule of a cell that has as many as are applied. `rules` is their number, if the set is that of rules.
///
/// # Errors
/// [`Code::RuleLimit`]
pub(super) fn check_count(set: &SetRef, rules: Option<u64>) -> Result<()> {
    match (set.control, rules) {
        (Some(ControlSet::Rule), Some(count)) if count >= MAX_RULES as u64 => {
            Err(Error::new(Code::RuleLimit).with(MAX_RULES.to_string()))
        }
        _ => Ok(()),
    }
}

/// Adds to a batch what changes together with the creation of an entity: a box gets its node, and what is known of failed
/// installations of its name is over. The space of a cell is created at once. `announced` are the times for which the cell is in the index
/// of timers; the time for which it now is too is returned, if the entity has a timer.
pub(super) async fn after_create(
    root: &ServiceRoot,
    set: &SetRef,
    entity: &Entity,
    (batch, announced): (&mut Batch, &HashSet<i64>),
) -> Result<Option<i64>> {
    if set.control == Some(ControlSet::Cell)
        && let Ok(id) = entity.id.parse::<CellId>()
    {
        garbage_collection::create_space(&root.unit, &id, batch).await?;
    }
    if set.control == Some(ControlSet::Box)
        && let Ok(id) = entity.id.parse::<NodeId>()
    {
        let node = Node::new(id, NodeKind::Box, entity.stored.published);
        records::put(batch, keys::box_node(&id), &node)?;
        let name = entity.properties.text("Name").unwrap_or_default();
        batch.delete(keys::failed_installation(name));
    }
    let (Some(timer), Some(context)) = (timer_of(root, set, entity), &root.context) else {
        return Ok(None);
    };
    let due = timer.plan.due;
    if !announced.contains(&due) {
        timer_index::announce(&root.unit, &context.cell().id, due).await?;
    }
    timer_index::put_announced(batch, &timer)?;
    Ok(Some(due))
}

/// The timer of a rule; `None` if it has none.
fn timer_of(root: &ServiceRoot, set: &SetRef, entity: &Entity) -> Option<Timer> {
    if set.control != Some(ControlSet::Rule) {
        return None;
    }
    let kind = entity.properties.text("EventType")?;
    let object = entity.properties.text("EventObject")?;
    Some(Timer {
        rule: entity.id.clone(),
        plan: TimerPlan::of(kind, object, root.unit.now_ms())?,
        fired: 0,
    })
}

async fn put_timer(root: &ServiceRoot, batch: &mut Batch, timer: &Timer) -> Result<()> {
    match &root.context {
        Some(context) => timer_index::put(&root.unit, &context.cell().id, batch, timer).await,
        None => Ok(()),
    }
}

/// Adds to a batch what becomes of the timer of a rule that is changed: it stays, unless the rule is for another time.
///
/// # Errors
/// [`Code::FieldFormat`] if that time is over, or no process fires timers: the rule would never fire; a failure of the store.
pub(super) async fn follow_timer(
    root: &ServiceRoot,
    set: &SetRef,
    (before, after): (&Entity, &Entity),
    batch: &mut Batch,
) -> Result<()> {
    let same = |name| before.properties.text(name) == after.properties.text(name);
    if set.control != Some(ControlSet::Rule) || same("EventType") && same("EventObject") {
        return Ok(());
    }
    let is_timer = after.properties.text("EventType").is_some_and(is_timer);
    if is_timer && !timer_index::can_fire(&root.unit) {
        return Err(Error::new(Code::FieldFormat).with("EventType"));
    }
    timer_index::remove(&root.records, batch, &before.id).await?;
    match timer_of(root, set, after) {
        Some(timer) => put_timer(root, batch, &timer).await,
        None if is_timer => Err(Error::new(Code::FieldFormat).with("EventObject")),
        None => Ok(()),
    }
}

/// The post-commit actions of a change: the cached names of a renamed cell are invalidated, also in other processes.
pub(super) fn after_update(set: &SetRef, before: &Entity, after: &Entity) -> PostCommit {
    let names = invalidate_name(set, before).and(invalidate_name(set, after));
    match (set.control, after.id.parse()) {
        (Some(ControlSet::Cell), Ok(cell)) => names.announce_cell(cell),
        _ => names,
    }
}

/// The post-commit actions of a deletion: the cached name of a cell is invalidated and its content is removed.
pub(super) fn after_delete(set: &SetRef, deleted: &Entity) -> PostCommit {
    let actions = invalidate_name(set, deleted);
    match (set.control, deleted.id.parse()) {
        (Some(ControlSet::Cell), Ok(cell)) => actions.collect_removed_cell(cell),
        _ => actions,
    }
}

fn invalidate_name(set: &SetRef, entity: &Entity) -> PostCommit {
    match (set.control, entity.properties.text("Name")) {
        (Some(ControlSet::Cell), Some(name)) => PostCommit::none().invalidate_cell_name(name),
        _ => PostCommit::none(),
    }
}

/// The condition of the deletion of a cell: it must be empty when the batch is committed.
pub(super) fn require_empty(set: &SetRef, found: &Entity) -> Result<PostCommit> {
    Ok(match required_empty(set, found)? {
        Some((cell, ranges)) => PostCommit::none().if_empty(cell, ranges),
        None => PostCommit::none(),
    })
}

/// For a cell, its id and the ranges that must be empty before it is deleted; `None` for any other entity.
fn required_empty(set: &SetRef, found: &Entity) -> Result<Option<(CellId, Vec<KeyRange>)>> {
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

/// Refuses to delete a cell that is not empty. Checked before the precondition of the request.
pub(super) async fn check_cell_empty(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
) -> Result<()> {
    let Some((cell, ranges)) = required_empty(set, found)? else {
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

/// Adds to a batch that the root node of a box is removed.
pub(super) async fn delete_box_node(
    root: &ServiceRoot,
    id: &NodeId,
    batch: &mut Batch,
) -> Result<()> {
    let key = keys::box_node(id);
    if let Some(found) = root.records.find::<Node>(&key).await? {
        batch.assert(key.clone(), Expect::Version(found.version));
        found.value.count_removal(batch);
        batch.delete(key);
    }
    Ok(())
}

/// Refuses to delete a box that is not empty, and adds the removal of what is deleted together with an entity.
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
            delete_box_node(root, &id, batch).await?;
            batch.delete(keys::child_count(&id));
            Ok(())
        }
        Some(ControlSet::Account) => {
            batch.delete(keys::login_history(&found.id));
            batch.delete(keys::failed_logins_of(&found.id));
            Ok(())
        }
        Some(ControlSet::Cell) => {
            let Ok(cell) = found.id.parse() else {
                return Err(Code::OdataInconsistent.into());
            };
            garbage_collection::add_removed_cell(&root.unit, batch, &cell);
            Ok(())
        }
        _ => Ok(()),
    }
}
