//! A listener to the events of a cell.

use std::collections::VecDeque;
use std::sync::Arc;

use personium_store::Limit;
use personium_types::Result;
use tokio::sync::broadcast::{self, error::RecvError};

use super::reader::{FeedPage, ReadFailure, read_page};
use crate::Unit;
use crate::event_feed::{FeedEnd, FeedEvent, FeedInterest, FeedItem, FeedPosition};
use crate::records::Records;

/// The events that a listener that resumes has in memory.
const REPLAY_PAGE: Limit = Limit {
    records: 8,
    bytes: 32 << 10,
};

/// A listener to the events of a cell. It is one until it is dropped.
pub struct FeedListener {
    receiver: broadcast::Receiver<FeedItem>,
    position: FeedPosition,
    records: Records,
    replay: Option<Replay>,
    _interest: FeedInterest,
}

/// The events between where a listener left off and where it begins.
#[derive(Debug)]
struct Replay {
    until: FeedPosition,
    page: VecDeque<FeedEvent>,
    /// The position of the last record of the page.
    last: FeedPosition,
    is_cut: bool,
}

impl FeedListener {
    /// A listener that gets what the receiver gets, which follows a position.
    pub(super) fn new(
        unit: &Unit,
        interest: FeedInterest,
        receiver: broadcast::Receiver<FeedItem>,
        position: FeedPosition,
    ) -> Self {
        Self {
            receiver,
            position,
            records: unit.cell_records(&interest.feed.cell),
            replay: None,
            _interest: interest,
        }
    }

    /// The position of the last event that was returned, or what is in its place before.
    #[must_use]
    pub fn position(&self) -> FeedPosition {
        self.position
    }

    /// Lets the listener get what follows this position. `false` if that is not known any more: then it gets only what is new, and
    /// events are missing.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn resume(&mut self, after: FeedPosition) -> Result<bool> {
        let page = match read_page(&self.records, after, REPLAY_PAGE).await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.replay = Some(Replay::new(page, self.position));
        self.position = after;
        Ok(true)
    }

    /// The next event.
    ///
    /// # Errors
    /// The end of the feed.
    pub async fn next(&mut self) -> Result<Arc<FeedEvent>, FeedEnd> {
        while let Some(replay) = &mut self.replay {
            if let Some(event) = replay.pop() {
                self.position = event.position;
                return Ok(Arc::new(event));
            }
            if !replay.is_cut || !is_before(replay.last, replay.until) {
                self.position = replay.until;
                self.replay = None;
                break;
            }
            let page = read_page(&self.records, replay.last, REPLAY_PAGE).await;
            match page.map_err(ReadFailure::from) {
                Ok(Some(page)) => *replay = Replay::new(page, replay.until),
                Ok(None) => return Err(FeedEnd::Missed),
                Err(ReadFailure::Ended(end)) => return Err(end),
                Err(ReadFailure::Failed(_)) => return Err(FeedEnd::Stopped),
            }
        }
        let received = self.receiver.recv().await.map_err(|error| match error {
            RecvError::Lagged(_) => FeedEnd::TooSlow,
            RecvError::Closed => FeedEnd::Stopped,
        });
        let event = received??;
        self.position = event.position;
        Ok(event)
    }
}

impl Replay {
    fn new(page: FeedPage, until: FeedPosition) -> Self {
        Self {
            until,
            page: page.events.into(),
            last: page.last,
            is_cut: page.is_cut,
        }
    }

    /// The next event of the page. What follows the end comes from the ring.
    fn pop(&mut self) -> Option<FeedEvent> {
        let next = self.page.front()?;
        match is_before(self.until, next.position) {
            true => None,
            false => self.page.pop_front(),
        }
    }
}

/// Whether a position comes before another one.
fn is_before(one: FeedPosition, other: FeedPosition) -> bool {
    (one.seq, one.number) < (other.seq, other.number)
}
