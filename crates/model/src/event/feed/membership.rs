//! The record of a cell that says which server nodes have listeners to its events. While it is there, events are stored.

use personium_store::{Batch, Direction, Expect, StoreError};
use personium_types::{CellId, Result, ServerNodeId};
use serde::{Deserialize, Serialize};

use super::stored::{encode_mark, key_at};
use crate::commit::Invalidation;
use crate::event_feed::FeedPosition;
use crate::records::{self, Versioned, put_checked, retry_on_conflict};
use crate::{CellContext, PostCommit, Unit, keys};

/// The stored record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredFeed {
    /// The server nodes with listeners.
    #[serde(rename = "n")]
    pub(super) nodes: Vec<String>,
    /// Since when there is none, milliseconds since 1970.
    #[serde(rename = "u", default)]
    pub(super) unwanted_since: Option<i64>,
    /// The cell whose listeners it continues, if an import has replaced that.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) replaced: Option<StoredReplaced>,
}

/// The cell whose listeners a feed continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredReplaced {
    /// The id of the cell.
    #[serde(rename = "c")]
    pub(super) cell: String,
    /// The time of the record that the feed begins with, milliseconds since 1970.
    #[serde(rename = "a")]
    pub(super) at: i64,
}

impl StoredFeed {
    /// Adds a server node. `false` if it is there.
    fn add(&mut self, node: &ServerNodeId) -> bool {
        let node = node.to_string();
        if self.unwanted_since.is_none() && self.nodes.contains(&node) {
            return false;
        }
        self.nodes.retain(|other| *other != node);
        self.nodes.push(node);
        self.unwanted_since = None;
        true
    }

    /// Removes server nodes at this time. `false` if none of them is there.
    pub(super) fn remove(&mut self, nodes: &[String], now: i64) -> bool {
        let before = self.nodes.len();
        self.nodes.retain(|node| !nodes.contains(node));
        if self.nodes.is_empty() && self.unwanted_since.is_none() {
            self.unwanted_since = Some(now);
            return true;
        }
        self.nodes.len() < before
    }
}

/// The record, if there is one.
pub(super) async fn find(unit: &Unit, cell: &CellId) -> Result<Option<Versioned<StoredFeed>>> {
    unit.cell_records(cell).find(&keys::feed()).await
}

/// Changes the record, if there is one and `change` returns `true`. Returns whether there is one.
pub(super) async fn change(
    unit: &Unit,
    cell: &CellId,
    change: impl Fn(&mut StoredFeed) -> bool,
) -> Result<bool> {
    let records = unit.cell_records(cell);
    let transacted = records.transact(|| async {
        let mut batch = Batch::new();
        let Some(found) = records.find::<StoredFeed>(&keys::feed()).await? else {
            return Ok((batch, false));
        };
        let mut state = found.value;
        if change(&mut state) {
            put_checked(&mut batch, keys::feed(), Some(found.version), &state)?;
        }
        Ok((batch, true))
    });
    transacted.await
}

/// Lets this process listen: when this returns, the events of every request that begins are stored. Returns the position that
/// they follow.
///
/// # Errors
/// A failure of the store.
pub(super) async fn join(unit: &Unit, context: &CellContext) -> Result<FeedPosition> {
    let node = unit.register_node().await?;
    let cell = context.cell();
    let records = unit.cell_records(&cell.id);
    let events = keys::feed_events();
    let last = records.list_keys(&events, Direction::Down, 1).await?;
    let (seq, at) = retry_on_conflict(&records, || async {
        let found = records.find::<StoredFeed>(&keys::feed()).await?;
        let version = found.as_ref().map(|found| found.version);
        let mut state = found.map(|found| found.value).unwrap_or_default();
        state.add(&node);
        let at = unit.now_ms();
        let mut batch = Batch::new();
        put_checked(&mut batch, keys::feed(), version, &state)?;
        batch.put_sequenced(keys::feed_events_prefix(), encode_mark(at)?);
        let post_commit = match version {
            Some(_) => PostCommit::none(),
            None => PostCommit::invalidating(cell, Invalidation::Cell),
        };
        let committed = unit.commit(&records, batch, post_commit).await;
        let seq = committed.as_ref().map_or(0, |seq| *seq);
        Ok((committed, (seq, at)))
    })
    .await?;
    let mark = FeedPosition { seq, number: 0, at };
    if let Some(last) = last.first().filter(|last| **last >= key_at(&mark)) {
        // The records were copied from another store, whose commits have other numbers.
        let mut copied = events.after(&key_at(&mark));
        copied.end = Some(events.after(last).start);
        records.remove_range(&copied).await?;
    }
    Ok(mark)
}

/// Makes sure that events are stored for this process, which may have another id than when it began. `false` if they were not.
///
/// # Errors
/// A failure of the store.
pub(super) async fn confirm(unit: &Unit, cell: &CellId) -> Result<bool> {
    let node = unit.register_node().await?;
    change(unit, cell, |state| state.add(&node)).await
}

/// Says that this process has no listener any more.
///
/// # Errors
/// A failure of the store.
pub(super) async fn leave(unit: &Unit, cell: &CellId) -> Result<()> {
    let Some(node) = unit.node_id() else {
        return Ok(());
    };
    let now = unit.now_ms();
    let nodes = [node.to_string()];
    let left = change(unit, cell, |state| state.remove(&nodes, now)).await;
    left.map(drop)
}

/// Removes the record and the events of a cell in this state, if it still has it.
///
/// # Errors
/// A failure of the store.
pub(super) async fn remove(
    unit: &Unit,
    cell: &CellId,
    found: &Versioned<StoredFeed>,
) -> Result<()> {
    let Some(context) = unit.find_cell_by_id(cell).await? else {
        return Ok(());
    };
    let records = unit.cell_records(cell);
    let mut events = keys::feed_events();
    // Later ones belong to somebody who begins to listen meanwhile.
    let last = records.list_keys(&events, Direction::Down, 1).await?;
    let mut batch = Batch::new();
    batch.assert(keys::feed(), Expect::Version(found.version));
    batch.delete(keys::feed());
    let post_commit = PostCommit::invalidating(context.cell(), Invalidation::Cell);
    match unit.commit(&records, batch, post_commit).await {
        Ok(_) => {}
        Err(StoreError::Conflict) => return Ok(()),
        Err(other) => return Err(records::store_error(other)),
    }
    if let Some(last) = last.first() {
        events.end = Some(events.after(last).start);
        records.remove_range(&events).await?;
    }
    Ok(())
}
