//! The listeners of a cell that an import has replaced: they go on with the feed of the new one, which begins with the event of the
//! import.

use std::sync::Arc;

use personium_store::{Batch, Direction, Limit};
use personium_types::{CellId, Result};

use super::listener::FeedListener;
use super::membership::{self, StoredFeed, StoredReplaced};
use super::stored::{StoredFeedRecord, encode_mark, position_of};
use crate::event_feed::FeedPosition;
use crate::records::{self, Records};
use crate::{Cell, CellContext, Unit, keys};

/// The first record of a feed.
const FIRST: Limit = Limit {
    records: 1,
    bytes: 1 << 20,
};

/// Lets the feed of a cell begin that will replace another one, if there is a feed of that: so what is posted afterwards is stored for
/// its listeners.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn begin(unit: &Unit, old: &CellId, new: &Records) -> Result<()> {
    if membership::find(unit, old).await?.is_none() {
        return Ok(());
    }
    let at = unit.now_ms();
    let feed = StoredFeed {
        // Whoever listens says so when it goes on.
        nodes: Vec::new(),
        unwanted_since: Some(at),
        replaced: Some(StoredReplaced {
            cell: old.to_string(),
            at,
        }),
    };
    let mut batch = Batch::new();
    records::put(&mut batch, keys::feed(), &feed)?;
    batch.put_sequenced(keys::feed_events_prefix(), encode_mark(at)?);
    let committed = new.commit(batch).await;
    committed.map(drop).map_err(records::store_error)
}

/// The cell that has replaced another one and continues its feed, with the time of the record that the feed begins with.
async fn find(unit: &Unit, old: &Cell) -> Result<Option<(Arc<CellContext>, i64)>> {
    let Some(context) = unit.find_cell(&old.name).await? else {
        return Ok(None);
    };
    let found = membership::find(unit, &context.cell().id).await?;
    let replaced = found.and_then(|found| found.value.replaced);
    let of_old = replaced.filter(|replaced| replaced.cell == old.id.to_string());
    Ok(of_old.map(|replaced| (context, replaced.at)))
}

/// The cell that has replaced another one, if listeners of that may go on with its feed.
///
/// # Errors
/// A failure of the store.
pub async fn find_replacement(unit: &Unit, old: &Cell) -> Result<Option<Arc<CellContext>>> {
    Ok(find(unit, old).await?.map(|(context, _)| context))
}

/// Listens to the cell that has replaced another one, from its first event on. `None` if none has, or if events are not known any more.
///
/// # Errors
/// As [`listen`](super::listen).
pub async fn listen_to_replacement(
    unit: &Unit,
    old: &Cell,
) -> Result<Option<(Arc<CellContext>, FeedListener)>> {
    let Some((context, at)) = find(unit, old).await? else {
        return Ok(None);
    };
    let mut listener = super::listen(unit, &context).await?;
    let begin = first_position(&unit.cell_records(&context.cell().id)).await?;
    // A later one is the first if old ones were removed. The replacement may have been tried several times.
    match begin.filter(|begin| begin.at <= at) {
        Some(begin) if listener.resume(begin).await? => Ok(Some((context, listener))),
        _ => Ok(None),
    }
}

async fn first_position(records: &Records) -> Result<Option<FeedPosition>> {
    let (found, _) = records
        .list_within::<StoredFeedRecord>(&keys::feed_events(), Direction::Up, FIRST)
        .await?;
    let first = found.first();
    Ok(first.and_then(|(key, first)| position_of(key, first.value.at)))
}
