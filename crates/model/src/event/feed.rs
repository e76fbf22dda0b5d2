//! The feed of the events of a cell: its events in the order of their commits, for those who listen on any server node.
//!
//! While somebody listens, a record of the cell says so, which is a part of its structure; so every request that begins afterwards,
//! on any server node, stores its events with its change. Each server node with listeners reads them from where it was. What wakes
//! it (a commit of its own, or news of other processes) only makes it faster: it also looks from time to time. Nothing depends on
//! clocks or on the order in which processes hear of each other: a commit has a number, and so have its events.

mod listener;
mod membership;
mod reader;
mod replacement;
mod retention;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use personium_store::{Batch, Space};
use personium_types::{CellId, Code, Result};

pub use self::listener::FeedListener;
use self::reader::ReadFailure;
pub(crate) use self::replacement::begin as begin_replacement;
pub use self::replacement::{find_replacement, listen_to_replacement};
use super::record::Event;
use crate::event_feed::{CellFeed, FeedCursor, FeedEnd};
use crate::{CellContext, PostCommit, Unit, keys};

/// The time between two looks at the feeds of a process that belongs to it alone.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two looks while other processes tell their news.
const POLL_INTERVAL_WITH_NEWS: Duration = Duration::from_secs(2);
/// The time between two looks without news.
const POLL_INTERVAL_WITHOUT_NEWS: Duration = Duration::from_millis(250);
/// The number of feeds that are looked at without a pause.
const POLLED_AT_ONCE: usize = 50;
/// The pause between them.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// Listens to the events of a cell: those whose request begins after this has returned, and maybe some before.
///
/// # Errors
/// [`Code::ServerBusy`] if too many listen; [`Code::NoSuchCell`]; a failure of the store.
pub async fn listen(unit: &Unit, context: &CellContext) -> Result<FeedListener> {
    let all = unit.event_feed();
    loop {
        let interest = all.add_interest(context.cell().id);
        let (interest, is_new) = interest.ok_or(Code::ServerBusy)?;
        let feed = Arc::clone(&interest.feed);
        if is_new {
            tokio::spawn(reader::follow(unit.share(), Arc::clone(&feed)));
        }
        let mut cursor = feed.cursor.lock().await;
        if let FeedCursor::New = *cursor {
            *cursor = FeedCursor::At {
                position: membership::join(unit, context).await?,
                confirmed: unit.monotonic(),
            };
        }
        // Whoever listened before gets what was posted until now; whoever begins gets only what follows.
        let FeedCursor::At { .. } = *cursor else {
            continue;
        };
        match reader::advance(unit, &feed, &mut cursor).await {
            Ok(position) => {
                let receiver = feed.ring.subscribe();
                drop(cursor);
                return Ok(FeedListener::new(unit, interest, receiver, position));
            }
            Err(ReadFailure::Failed(error)) => return Err(error),
            Err(ReadFailure::Ended(end)) => {
                finish(unit, &feed, &mut cursor, end);
                if end == FeedEnd::Stopped {
                    return Err(Code::NoSuchCell.into());
                }
            }
        }
    }
}

/// Ends a feed.
fn finish(unit: &Unit, feed: &Arc<CellFeed>, cursor: &mut FeedCursor, end: FeedEnd) {
    *cursor = FeedCursor::Over;
    unit.event_feed().end(feed, end);
}

/// Adds an event, as listeners see it, to a batch of its cell. Returns the post-commit action that wakes those who listen.
pub(super) fn add(
    unit: &Unit,
    context: &CellContext,
    batch: &mut Batch,
    event: &Event,
) -> Result<PostCommit> {
    let cell = context.cell().id;
    let value = stored::encode(event, unit.now_ms())?;
    if unit
        .event_feed()
        .count_stored(&cell, value.len(), unit.monotonic())
    {
        retention::trim_in_background(unit, cell);
    }
    batch.put_sequenced(keys::feed_events_prefix(), value);
    Ok(PostCommit::none().wake_feed(cell))
}

/// Looks at the feeds of this process from time to time, and when other processes tell news, until it is dropped.
pub async fn follow(unit: &Unit) {
    tokio::join!(poll(unit), hear(unit));
}

async fn poll(unit: &Unit) {
    loop {
        let store = unit.store();
        let interval = match (store.is_shared(), store.has_news()) {
            (false, _) => POLL_INTERVAL,
            (true, true) => POLL_INTERVAL_WITH_NEWS,
            (true, false) => POLL_INTERVAL_WITHOUT_NEWS,
        };
        tokio::time::sleep(interval).await;
        for feeds in unit.event_feed().list().chunks(POLLED_AT_ONCE) {
            feeds.iter().for_each(|feed| feed.news.notify_one());
            if feeds.len() == POLLED_AT_ONCE {
                tokio::time::sleep(POLL_PAUSE).await;
            }
        }
    }
}

/// Waits for news of other processes as long as somebody listens, or waits for messages.
async fn hear(unit: &Unit) {
    let (all, messages) = (unit.event_feed(), unit.message_news());
    loop {
        if all.listeners() == 0 && !messages.is_wanted() {
            tokio::select! {
                () = all.wanted.notified() => {}
                () = messages.wanted.notified() => {}
            }
        }
        match unit.store().next_sequenced().await {
            Some(Space::Cell(cell)) => {
                all.wake(&cell);
                messages.wake(&cell);
            }
            Some(Space::Unit) => {}
            None => {
                all.list().iter().for_each(|feed| feed.news.notify_one());
                messages.wake_all();
            }
        }
    }
}

/// Removes old events of a cell, and the feed of a cell that nobody listens to any more.
///
/// # Errors
/// A failure of the store.
pub async fn trim(unit: &Unit, cell: CellId) -> Result<()> {
    retention::trim(unit, cell).await
}
