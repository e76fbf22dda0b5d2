//! How long the events of a feed are kept.

use std::time::Duration;

use personium_store::{Direction, Limit};
use personium_types::error::chain;
use personium_types::{CellId, Code, Error, Result};

use super::membership;
use crate::{Unit, keys};

/// The last events that are kept, by number and by size.
const KEPT: Limit = Limit {
    records: 1_000,
    bytes: 8 << 20,
};
/// The time for which events are stored although nobody listens: whoever comes back resumes.
const UNWANTED: Duration = Duration::from_secs(600);
/// The pause before a second attempt to leave, and the time that the removal is later than it could be.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Removes old events of a cell in the background. A failure is logged; later events retry.
pub(super) fn trim_in_background(unit: &Unit, cell: CellId) {
    let unit = unit.share();
    tokio::spawn(async move {
        if let Err(error) = trim(&unit, cell).await {
            report(&cell, &error);
        }
    });
}

/// Says, in the background, that this process has no listener any more, and removes the feed when nobody comes back.
pub(super) fn leave_in_background(unit: &Unit, cell: CellId) {
    let unit = unit.share();
    tokio::spawn(async move {
        if let Err(error) = membership::leave(&unit, &cell).await {
            // Other processes find out when this one is dead.
            report(&cell, &error);
            tokio::time::sleep(RETRY_DELAY).await;
            if membership::leave(&unit, &cell).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(UNWANTED + RETRY_DELAY).await;
        if let Err(error) = trim(&unit, cell).await {
            report(&cell, &error);
        }
    });
}

fn report(cell: &CellId, error: &Error) {
    if error.code() != Code::NoSuchCell {
        let error = chain(error);
        tracing::warn!(cell.id = %cell, %error, "failed to remove what is old of an event feed");
    }
}

/// Removes old events of a cell, the server nodes that are dead from its record, and all if nobody has listened for long.
pub(super) async fn trim(unit: &Unit, cell: CellId) -> Result<()> {
    let records = unit.cell_records(&cell);
    let events = keys::feed_events();
    let kept = records
        .list_keys_within(&events, Direction::Down, KEPT)
        .await?;
    if let Some(oldest) = kept.last() {
        records.remove_range(&events.before(oldest)).await?;
    }
    let Some(found) = membership::find(unit, &cell).await? else {
        return Ok(());
    };
    let mut dead = Vec::new();
    for node in &found.value.nodes {
        let id = node.parse().ok();
        let is_alive = match &id {
            Some(id) => unit.is_node_alive(id).await?,
            None => false,
        };
        if !is_alive {
            dead.push(node.clone());
        }
    }
    let now = unit.now_ms();
    if !dead.is_empty() {
        membership::change(unit, &cell, |state| state.remove(&dead, now)).await?;
        return Ok(());
    }
    let Some(since) = found.value.unwanted_since else {
        return Ok(());
    };
    match u64::try_from(now.saturating_sub(since)).map(Duration::from_millis) {
        Ok(unwanted) if unwanted >= UNWANTED => membership::remove(unit, &cell, &found).await,
        Ok(_) => Ok(()),
        // The clock of whoever stored it was ahead.
        Err(_) => {
            let changed = membership::change(unit, &cell, |state| {
                let is_same = state.unwanted_since == Some(since);
                if is_same {
                    state.unwanted_since = Some(now);
                }
                is_same
            });
            changed.await.map(drop)
        }
    }
}
