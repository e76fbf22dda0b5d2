//! Requests that wait and that nobody works on: those of an owner that is dead or of an earlier run, and those that other server
//! nodes stored in an outbox of this process.
//!
//! Cells with an owner of their outbox are marked in the space of the unit, so that they are found without reading every cell.
//! On a shared store the owner looks for requests of others every second, and gives up an outbox that stays empty.

use std::time::Duration;

use personium_store::{Batch, Expect, StoreError};
use personium_types::{CellId, Code, Error, Result, ServerNodeId};

use super::outbox;
use super::outbox_owner::find_owner;
use crate::outbox_queue::OutboxPartition;
use crate::records::{Records, store_error};
use crate::server_node::Claim;
use crate::{Unit, keys};

/// The time after which the owner gives up an empty outbox, if others may want to own it.
const RELEASE_AFTER: Duration = Duration::from_secs(5);

/// The claims of cells that may have requests to send, which this process has or may take over and does not work on.
///
/// # Errors
/// A failure of the store.
pub async fn list_claims(unit: &Unit) -> Result<Vec<(CellId, Claim)>> {
    let markers = keys::outbox_markers();
    let claims = unit.list_free_claims(&markers.range).await?;
    let with_cell = claims
        .into_iter()
        .filter_map(|claim| Some((markers.cell_of(&claim.key)?, claim)));
    let is_idle = |cell: &CellId| match unit.outbox().owner(cell) {
        Some(node) => Some(node) != unit.node_id(),
        None => true,
    };
    Ok(with_cell.filter(|(cell, _)| is_idle(cell)).collect())
}

/// Takes over the outbox of a cell, and enqueues its rules that have requests to send. Removes the claim if there are none.
///
/// # Errors
/// A failure of the store.
pub async fn resume(unit: &Unit, cell: CellId, claim: &Claim) -> Result<()> {
    let Some(claim) = unit.take_over_in_cell(claim, &cell).await? else {
        return Ok(());
    };
    let Some(own) = claim.owner else {
        return Ok(());
    };
    let is_marked = unit.is_marked(&claim.key);
    let records = unit.cell_records(&cell);
    let (owner, unchanged) = find_owner(&records).await?;
    if let Some(other) = owner.filter(|owner| *owner != own)
        && unit.is_node_alive(&other).await?
    {
        // Two server nodes wanted to become the owner, and the one that did claimed the cell before the other one.
        return unit.hand_over(&claim, &other).await;
    }
    let rules = outbox::list_rules(&records).await?;
    if rules.is_empty() {
        return match is_marked {
            true => Ok(()),
            false => release(unit, &records, &claim, unchanged).await.map(drop),
        };
    }
    let mut batch = Batch::new();
    batch.assert(keys::outbox_owner(), unchanged);
    batch.put(keys::outbox_owner(), own.as_bytes().to_vec());
    match records.commit(batch).await {
        Ok(_) => {
            unit.outbox().own(cell, own);
            enqueue(unit, cell, rules);
            Ok(())
        }
        Err(StoreError::Conflict) => Ok(()),
        Err(other) => Err(store_error(other)),
    }
}

fn enqueue(unit: &Unit, cell: CellId, rules: Vec<String>) {
    for rule in rules {
        unit.outbox().enqueue(OutboxPartition { cell, rule });
    }
}

/// Removes the owner of an empty outbox, then the claim. `false` if the outbox is not empty or the owner has changed.
async fn release(unit: &Unit, cell: &Records, claim: &Claim, unchanged: Expect) -> Result<bool> {
    let key = keys::outbox_owner();
    let mut batch = Batch::new();
    batch.assert_empty(keys::all_outbox_entries());
    batch.assert(key.clone(), unchanged);
    if unchanged != Expect::Absent {
        batch.delete(key);
    }
    match cell.commit(batch).await {
        Ok(_) => unit.release_claim(claim).await,
        Err(StoreError::Conflict) => Ok(false),
        Err(other) => Err(store_error(other)),
    }
}

/// Enqueues requests that other server nodes stored in the outboxes of this process, and gives up those that stay empty. Returns
/// the cells that could not be read, with the causes.
pub async fn look_for_requests(unit: &Unit) -> Vec<(CellId, Error)> {
    let mut failed = Vec::new();
    for (cell, owned) in unit.outbox().list_owned() {
        if unit.node_id() != Some(owned.node) {
            unit.outbox().disown(&cell);
            continue;
        }
        if let Err(error) = look_into(unit, cell).await {
            failed.push((cell, error));
        }
    }
    failed
}

async fn look_into(unit: &Unit, cell: CellId) -> Result<()> {
    let records = unit.cell_records(&cell);
    let rules = match outbox::list_rules(&records).await {
        Err(error) if error.code() == Code::NoSuchCell => {
            unit.outbox().disown(&cell);
            return Ok(());
        }
        listed => listed?,
    };
    if !rules.is_empty() || unit.outbox().is_processing(&cell) {
        unit.outbox().set_empty_since(&cell, None);
        enqueue(unit, cell, rules);
        return Ok(());
    }
    let mut owned = unit.outbox().list_owned().into_iter();
    let Some((_, owned)) = owned.find(|(of, _)| *of == cell) else {
        return Ok(());
    };
    let now = unit.monotonic();
    match owned.empty_since {
        None => unit.outbox().set_empty_since(&cell, Some(now)),
        Some(since) if now.saturating_duration_since(since) < RELEASE_AFTER => {}
        Some(_) => give_up(unit, cell, owned.node).await?,
    }
    Ok(())
}

/// Gives up an empty outbox.
async fn give_up(unit: &Unit, cell: CellId, node: ServerNodeId) -> Result<()> {
    let Some(claim) = unit.find_claim(&keys::outbox_marker(&cell)).await? else {
        return Ok(());
    };
    if unit.is_marked(&claim.key) || claim.owner != Some(node) {
        return Ok(());
    }
    let records = unit.cell_records(&cell);
    let (owner, unchanged) = find_owner(&records).await?;
    // Before the record is removed: an event may make this process the owner again at once.
    unit.outbox().disown(&cell);
    if owner != Some(node) {
        return Ok(());
    }
    let released = release(unit, &records, &claim, unchanged).await;
    if !matches!(released, Ok(true)) && find_owner(&records).await?.0 == Some(node) {
        unit.outbox().own(cell, node);
    }
    released.map(drop)
}
