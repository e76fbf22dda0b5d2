//! The index by time of messages that expire.
//!
//! An index of the unit has an entry for each cell and minute with messages that expire then; one of the cell names the channels. The
//! entries are written before the messages, once for all messages of a minute. So nobody walks over cells or messages to find old ones.

use personium_store::{Batch, Channel, Key};
use personium_types::Result;

use crate::records::store_error;
use crate::{Unit, keys};

/// The resolution of the index in milliseconds.
const RESOLUTION_MS: i64 = 60_000;

/// Writes the entry of the index of the unit for a message that expires at this time. Returns the entry of the cell, which the batch of
/// the message must put.
pub(super) async fn announce(unit: &Unit, channel: &Channel, expires_ms: i64) -> Result<Key> {
    let at = entry_time(expires_ms);
    let news = unit.message_news();
    if !news.is_announced(at, channel.cell) {
        let mut batch = Batch::new();
        batch.put(keys::cell_with_expiring(at, &channel.cell), Vec::new());
        unit.records().commit(batch).await.map_err(store_error)?;
        news.remember_announced(at, channel.cell);
    }
    let (kind, collection) = (channel.kind, &channel.collection);
    Ok(keys::expiring_channel(at, kind, collection, &channel.name))
}

/// The time of the entry for a message that expires at a time: one to two minutes later, so that the clocks of server nodes may differ.
fn entry_time(expires_ms: i64) -> i64 {
    let minutes = expires_ms.max(0) / RESOLUTION_MS;
    minutes.saturating_add(2).saturating_mul(RESOLUTION_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_of_the_index_is_later_than_what_expires() {
        for expires in [0, 1, 59_999, 60_000, 1_700_000_000_123] {
            let at = entry_time(expires);
            assert!(at > expires + RESOLUTION_MS - 1 && at <= expires + 2 * RESOLUTION_MS);
        }
        assert!(entry_time(i64::MAX) > 0);
    }
}
