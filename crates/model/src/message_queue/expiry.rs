//! The removal of messages that have expired.
//!
//! They are found by the index of `expiry_index`. Messages that have expired are not delivered, whether they were removed or not.

use std::time::Duration;

use personium_store::{Batch, Channel, ChannelKind, Direction};
use personium_types::error::chain;
use personium_types::{CellId, Result};

use super::{expiry_index, queue, topic};
use crate::records::store_error;
use crate::{Unit, keys};

/// The number of entries of an index that are looked at once.
const ENTRIES_AT_ONCE: usize = 100;
/// The time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// The time after which a cell that could not be looked into is looked into again, milliseconds.
const RETRY_MS: i64 = 300_000;

/// Removes messages that have expired, until it is dropped.
pub async fn remove_when_expired(unit: &Unit) {
    loop {
        match remove_due(unit).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %chain(&error), "failed to remove expired messages, will retry");
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Removes messages that have expired a while ago. On a shared store one server node does so, and another one after its death. Returns
/// whether there may be more.
///
/// # Errors
/// A failure of the store.
pub async fn remove_due(unit: &Unit) -> Result<bool> {
    let now = unit.now_ms();
    let range = keys::cells_with_expiring(now);
    let found = unit.records();
    let found = found
        .list_keys(&range, Direction::Up, ENTRIES_AT_ONCE)
        .await?;
    unit.message_news().forget_announced(now);
    if found.is_empty() || unit.acquire_claim(&keys::stream_claim()).await?.is_none() {
        return Ok(false);
    }
    let is_cut = found.len() == ENTRIES_AT_ONCE;
    for entry in found {
        let mut batch = Batch::new();
        if let Some(cell) = keys::cell_of_expiring(&entry)
            && let Err(error) = remove_in(unit, cell, now).await
        {
            tracing::warn!(
                cell.id = %cell,
                error = %chain(&error),
                "failed to remove expired messages of a cell, will retry"
            );
            let again = now.saturating_add(RETRY_MS);
            batch.put(keys::cell_with_expiring(again, &cell), Vec::new());
        }
        batch.delete(entry);
        unit.records().commit(batch).await.map_err(store_error)?;
    }
    Ok(is_cut)
}

async fn remove_in(unit: &Unit, cell: CellId, now: i64) -> Result<()> {
    if unit.find_cell_by_id(&cell).await?.is_none() {
        // The cell was removed, and its messages with it.
        return Ok(());
    }
    let records = unit.cell_records(&cell);
    let range = keys::expiring_channels(now);
    loop {
        let due = records
            .list_keys(&range, Direction::Up, ENTRIES_AT_ONCE)
            .await?;
        if due.is_empty() {
            return Ok(());
        }
        for entry in due {
            let mut batch = Batch::new();
            if let Some((kind, collection, name)) = keys::parts_of_expiring_channel(&entry) {
                let channel = Channel {
                    cell,
                    collection,
                    kind,
                    name,
                    address: String::new(),
                };
                let next = match kind {
                    ChannelKind::Queue => queue::remove_expired(unit, &channel).await?,
                    ChannelKind::Topic => topic::remove_expired(unit, &channel).await?,
                };
                // What is left has an entry of its own, unless the clock of its server node differs.
                if let Some(next) = next {
                    batch.put(
                        expiry_index::announce(unit, &channel, next).await?,
                        Vec::new(),
                    );
                }
            }
            batch.delete(entry);
            records.commit(batch).await.map_err(store_error)?;
        }
    }
}
