//! Reads the feed of a cell and passes its events on.

use std::sync::Arc;
use std::time::Duration;

use personium_store::{Direction, Limit};
use personium_types::error::chain;
use personium_types::{Code, Error, Result};

use super::stored::{StoredFeedRecord, key_at, position_of};
use super::{membership, retention};
use crate::event_feed::{CellFeed, FeedCursor, FeedEnd, FeedEvent, FeedPosition};
use crate::records::Records;
use crate::{Unit, keys};

/// The time for which a feed stays without a listener: a client that comes back costs nothing then.
const LINGER: Duration = Duration::from_secs(30);
/// The pause after a failure of the store.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time after which a process makes sure that events are still stored for it.
const CONFIRM_AFTER: Duration = Duration::from_secs(10);
/// The size of a page: half of a ring. The largest event is smaller than the bytes.
const PAGE: Limit = Limit {
    records: 64,
    bytes: 4 << 20,
};
/// The number of events in a ring from which on the next page waits for the listeners.
const FULL_RING: usize = 64;
/// The pause in which they can read, and the number of pauses.
const READING_PAUSE: Duration = Duration::from_millis(10);
const READING_PAUSES: usize = 10;

/// Why a feed could not be read.
pub(super) enum ReadFailure {
    /// It ends.
    Ended(FeedEnd),
    /// The store failed; it can be tried again.
    Failed(Error),
}

impl From<Error> for ReadFailure {
    fn from(error: Error) -> Self {
        match error.code() {
            Code::NoSuchCell => Self::Ended(FeedEnd::Stopped),
            // Whoever begins anew begins behind the damage.
            Code::StoreCorrupt => Self::Ended(FeedEnd::Missed),
            _ => Self::Failed(error),
        }
    }
}

/// A page of a feed.
pub(super) struct FeedPage {
    /// Its events.
    pub(super) events: Vec<FeedEvent>,
    /// The position of its last record.
    pub(super) last: FeedPosition,
    /// Whether there may be more.
    pub(super) is_cut: bool,
}

/// The page of a feed after a position; `None` if the record there is gone or another one: then events may be missing.
///
/// # Errors
/// A failure of the store.
pub(super) async fn read_page(
    records: &Records,
    after: FeedPosition,
    limit: Limit,
) -> Result<Option<FeedPage>> {
    let mut range = keys::feed_events();
    range.start = key_at(&after);
    // The record at the position comes first, so it takes one more.
    let limit = Limit {
        records: limit.records.saturating_add(1),
        ..limit
    };
    let read = records.list_within::<StoredFeedRecord>(&range, Direction::Up, limit);
    let (found, mut is_cut) = read.await?;
    let mut found = found.into_iter();
    let first = found.next();
    if is_cut && found.len() == 0 {
        // The record at the position alone is as large as a page.
        range = range.after(&range.start.clone());
        let read = records.list_within::<StoredFeedRecord>(&range, Direction::Up, limit);
        let (rest, is_rest_cut) = read.await?;
        (found, is_cut) = (rest.into_iter(), is_rest_cut);
    }
    if !first.is_some_and(|(key, first)| position_of(&key, first.value.at) == Some(after)) {
        return Ok(None);
    }
    let (mut events, mut last) = (Vec::new(), after);
    for (key, record) in found {
        if let Some(position) = position_of(&key, record.value.at) {
            last = position;
            events.extend(record.value.into_event(position));
        }
    }
    Ok(Some(FeedPage {
        events,
        last,
        is_cut,
    }))
}

/// Passes on everything that is stored after the cursor, which must be at an event. Returns where it is then.
pub(super) async fn advance(
    unit: &Unit,
    feed: &CellFeed,
    cursor: &mut FeedCursor,
) -> std::result::Result<FeedPosition, ReadFailure> {
    let FeedCursor::At {
        position,
        confirmed,
    } = cursor
    else {
        return Err(ReadFailure::Ended(FeedEnd::Missed));
    };
    let now = unit.monotonic();
    if now.saturating_duration_since(*confirmed) >= CONFIRM_AFTER {
        if !membership::confirm(unit, &feed.cell).await? {
            return Err(ReadFailure::Ended(FeedEnd::Missed));
        }
        *confirmed = now;
    }
    let records = unit.cell_records(&feed.cell);
    loop {
        let page = {
            let _permit = unit.event_feed().reads.acquire().await;
            read_page(&records, *position, PAGE).await?
        };
        let page = page.ok_or(ReadFailure::Ended(FeedEnd::Missed))?;
        for event in page.events {
            // It fails if nobody listens.
            let _ = feed.ring.send(Ok(Arc::new(event)));
        }
        *position = page.last;
        if !page.is_cut {
            return Ok(*position);
        }
        for _ in 0..READING_PAUSES {
            if feed.ring.len() < FULL_RING {
                break;
            }
            tokio::time::sleep(READING_PAUSE).await;
        }
    }
}

/// Reads a feed whenever there may be something new, until nobody has listened to it for a while.
pub(super) async fn follow(unit: Arc<Unit>, feed: Arc<CellFeed>) {
    let mut unwanted_since = None;
    loop {
        if feed.is_wanted() {
            unwanted_since = None;
            feed.news.notified().await;
        } else {
            let now = unit.monotonic();
            let since = *unwanted_since.get_or_insert(now);
            let rest = LINGER.saturating_sub(now.saturating_duration_since(since));
            if rest.is_zero() && unit.event_feed().end_unwanted(&feed) {
                let has_begun = matches!(*feed.cursor.lock().await, FeedCursor::At { .. });
                if has_begun {
                    retention::leave_in_background(&unit, feed.cell);
                }
                return;
            }
            let _ = tokio::time::timeout(rest, feed.news.notified()).await;
        }
        if !step(&unit, &feed).await {
            return;
        }
    }
}

/// Reads what is new. Returns whether the feed goes on.
async fn step(unit: &Unit, feed: &Arc<CellFeed>) -> bool {
    let mut cursor = feed.cursor.lock().await;
    match *cursor {
        // The first listener begins.
        FeedCursor::New => return true,
        FeedCursor::Over => return false,
        FeedCursor::At { .. } => {}
    }
    let is_complete = feed.is_complete();
    match advance(unit, feed, &mut cursor).await {
        Ok(_) if is_complete => {
            super::finish(unit, feed, &mut cursor, FeedEnd::Stopped);
            false
        }
        Ok(_) => true,
        Err(ReadFailure::Ended(end)) => {
            super::finish(unit, feed, &mut cursor, end);
            false
        }
        Err(ReadFailure::Failed(error)) => {
            drop(cursor);
            tracing::warn!(
                cell.id = %feed.cell,
                error = %chain(&error),
                "failed to read the event feed, will retry"
            );
            tokio::time::sleep(RETRY_DELAY).await;
            feed.news.notify_one();
            true
        }
    }
}
