//! The feeds of the events of cells in this process: who listens, and how far each feed was read.
//!
//! Events are stored with their change ([`crate::event::feed`]). Each cell with listeners has one reader here, which passes what it
//! reads on to one ring of events; all listeners of the cell read that. Who falls behind by more than the ring is told so and loses
//! the feed.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use personium_types::CellId;
use tokio::sync::{Notify, Semaphore, broadcast};

/// The number of events that a listener may fall behind.
const RING_EVENTS: usize = 128;
/// The largest number of listeners of a process.
const LISTENERS_MAX: usize = 20_000;
/// The largest number of feeds that are read at the same time.
const READS_MAX: usize = 32;
/// The number of events of a cell after which this process removes old ones.
const TRIM_AFTER_EVENTS: usize = 128;
/// The size of the events of a cell in bytes after which this process removes old ones.
const TRIM_AFTER_BYTES: usize = 2 << 20;
/// The time after which an event makes this process remove old ones.
const TRIM_AFTER: Duration = Duration::from_secs(60);
/// The largest number of cells whose events are counted.
const COUNTED_CELLS_MAX: usize = 10_000;

/// The place of an event in the feed of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPosition {
    /// The number of the commit of the event.
    pub seq: u64,
    /// The number of the event in it.
    pub number: u32,
    /// When it was posted, milliseconds since 1970: commits of a restored unit may have the numbers of others.
    pub at: i64,
}

impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.seq, self.number, self.at)
    }
}

/// A text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsePositionError;

impl FromStr for FeedPosition {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or(ParsePositionError);
        let (seq, number, at) = (next()?, next()?, next()?);
        let position = Self {
            seq: seq.parse().map_err(|_| ParsePositionError)?,
            number: number.parse().map_err(|_| ParsePositionError)?,
            at: at.parse().map_err(|_| ParsePositionError)?,
        };
        Ok(position)
    }
}

/// An event as listeners see it.
#[derive(Debug)]
pub struct FeedEvent {
    /// Its place in the feed.
    pub position: FeedPosition,
    /// Whether a client posted it.
    pub external: bool,
    /// The application of the request that caused it.
    pub schema: Option<String>,
    /// The URL of the user that caused it.
    pub subject: Option<String>,
    /// Its type.
    pub kind: Option<String>,
    /// The `http(s)` URL of the resource that it is about.
    pub object: Option<String>,
    /// Details.
    pub info: Option<String>,
    /// The key of the request.
    pub request_key: Option<String>,
    /// Its text as it is sent, made once for all listeners.
    pub text: OnceLock<Bytes>,
}

/// The end of a feed for a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedEnd {
    /// The listener was too slow.
    TooSlow,
    /// Events are missing.
    Missed,
    /// The cell was removed, or the unit stops.
    Stopped,
}

/// An item of a ring: an event, or the end.
pub(crate) type FeedItem = Result<Arc<FeedEvent>, FeedEnd>;

/// How far the feed of a cell was read.
#[derive(Debug)]
pub(crate) enum FeedCursor {
    /// The process has not begun.
    New,
    /// Up to an event, which is passed on.
    At {
        /// The event.
        position: FeedPosition,
        /// When the process last made sure that events are stored for it.
        confirmed: Instant,
    },
    /// The feed has ended.
    Over,
}

/// The feed of a cell.
#[derive(Debug)]
pub(crate) struct CellFeed {
    pub(crate) cell: CellId,
    pub(crate) ring: broadcast::Sender<FeedItem>,
    /// Notified when there may be something new.
    pub(crate) news: Notify,
    pub(crate) cursor: tokio::sync::Mutex<FeedCursor>,
    /// The number of listeners, and of those who are about to listen.
    interested: AtomicUsize,
    /// Whether nothing is added any more.
    is_complete: AtomicBool,
}

impl CellFeed {
    pub(crate) fn is_wanted(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 0
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }
}

/// The events of a cell that this process has stored since it last removed old ones.
#[derive(Debug)]
struct StoredEvents {
    events: usize,
    bytes: usize,
    since: Instant,
}

/// The feeds of all cells in this process.
#[derive(Debug)]
pub struct EventFeed {
    feeds: RwLock<HashMap<CellId, Arc<CellFeed>>>,
    listeners: AtomicUsize,
    /// Notified when there is a first listener.
    pub(crate) wanted: Notify,
    /// The permits to read.
    pub(crate) reads: Semaphore,
    stored: Mutex<HashMap<CellId, StoredEvents>>,
}

impl Default for EventFeed {
    fn default() -> Self {
        Self {
            feeds: RwLock::default(),
            listeners: AtomicUsize::new(0),
            wanted: Notify::new(),
            reads: Semaphore::new(READS_MAX),
            stored: Mutex::default(),
        }
    }
}

/// The interest in the feed of a cell. It counts as a listener until it is dropped.
#[derive(Debug)]
pub(crate) struct FeedInterest {
    all: Arc<EventFeed>,
    pub(crate) feed: Arc<CellFeed>,
}

impl EventFeed {
    /// The number of listeners.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Acquire)
    }

    /// An interest in the feed of a cell, and whether the feed is new; `None` if there are too many listeners.
    pub(crate) fn add_interest(self: &Arc<Self>, cell: CellId) -> Option<(FeedInterest, bool)> {
        let mut feeds = self.feeds.write();
        if self.listeners() >= LISTENERS_MAX {
            return None;
        }
        self.listeners.fetch_add(1, Ordering::AcqRel);
        let mut is_new = false;
        let feed = feeds.entry(cell).or_insert_with(|| {
            is_new = true;
            Arc::new(CellFeed {
                cell,
                ring: broadcast::channel(RING_EVENTS).0,
                news: Notify::new(),
                cursor: tokio::sync::Mutex::new(FeedCursor::New),
                interested: AtomicUsize::new(0),
                is_complete: AtomicBool::new(false),
            })
        });
        feed.interested.fetch_add(1, Ordering::AcqRel);
        let feed = Arc::clone(feed);
        drop(feeds);
        self.wanted.notify_one();
        let all = Arc::clone(self);
        Some((FeedInterest { all, feed }, is_new))
    }

    /// Ends a feed that nobody is interested in. `false` if somebody is.
    pub(crate) fn end_unwanted(&self, feed: &Arc<CellFeed>) -> bool {
        let mut feeds = self.feeds.write();
        let is_unwanted = !feed.is_wanted();
        if is_unwanted && feeds.get(&feed.cell).is_some_and(|f| Arc::ptr_eq(f, feed)) {
            feeds.remove(&feed.cell);
        }
        is_unwanted
    }

    /// Ends a feed: its listeners are told, later ones get a new one.
    pub(crate) fn end(&self, feed: &Arc<CellFeed>, end: FeedEnd) {
        let mut feeds = self.feeds.write();
        if feeds.get(&feed.cell).is_some_and(|f| Arc::ptr_eq(f, feed)) {
            feeds.remove(&feed.cell);
        }
        drop(feeds);
        // It fails if nobody listens.
        let _ = feed.ring.send(Err(end));
    }

    /// Says that there may be new events in a cell.
    pub(crate) fn wake(&self, cell: &CellId) {
        if self.listeners() > 0
            && let Some(feed) = self.feeds.read().get(cell)
        {
            feed.news.notify_one();
        }
    }

    /// Says that nothing is added to the feed of a cell any more. It ends when the rest was passed on.
    pub(crate) fn end_after_rest(&self, cell: &CellId) {
        if let Some(feed) = self.feeds.read().get(cell) {
            feed.is_complete.store(true, Ordering::Release);
            feed.news.notify_one();
        }
    }

    /// All feeds.
    pub(crate) fn list(&self) -> Vec<Arc<CellFeed>> {
        self.feeds.read().values().cloned().collect()
    }

    /// Counts an event of this size in bytes that is stored at this time. Returns whether old ones should be removed.
    pub(crate) fn count_stored(&self, cell: &CellId, bytes: usize, now: Instant) -> bool {
        let mut stored = self.stored.lock();
        if stored.len() >= COUNTED_CELLS_MAX && !stored.contains_key(cell) {
            stored.clear();
        }
        let count = stored.entry(*cell).or_insert(StoredEvents {
            events: 0,
            bytes: 0,
            since: now,
        });
        count.events += 1;
        count.bytes = count.bytes.saturating_add(bytes);
        let is_due = count.events >= TRIM_AFTER_EVENTS
            || count.bytes >= TRIM_AFTER_BYTES
            || now.saturating_duration_since(count.since) >= TRIM_AFTER;
        if is_due {
            stored.remove(cell);
        }
        is_due
    }
}

impl Drop for FeedInterest {
    fn drop(&mut self) {
        self.feed.interested.fetch_sub(1, Ordering::AcqRel);
        self.all.listeners.fetch_sub(1, Ordering::AcqRel);
        // The reader of the feed may be the last one.
        self.feed.news.notify_one();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use super::*;

    #[test]
    fn feed_stays_until_nobody_is_interested() {
        let all = Arc::new(EventFeed::default());
        let cell = CellId::from_bytes([1; 16]);
        let (one, is_new) = all.add_interest(cell).unwrap();
        assert!(is_new);
        let feed = Arc::clone(&one.feed);
        let (other, is_new) = all.add_interest(cell).unwrap();
        assert!(!is_new && all.listeners() == 2);
        drop(one);
        assert!(!all.end_unwanted(&feed));
        drop(other);
        assert!(all.end_unwanted(&feed) && all.list().is_empty() && all.listeners() == 0);
        let (again, is_new) = all.add_interest(cell).unwrap();
        // The end of the former feed is not that of its successor.
        assert!(is_new && all.end_unwanted(&feed));
        all.end(&feed, FeedEnd::Stopped);
        assert_eq!(all.list().len(), 1);
        all.end(&again.feed, FeedEnd::Stopped);
        assert!(all.list().is_empty());
    }

    #[test]
    fn old_events_are_due_for_removal_by_number_size_and_time() {
        let all = EventFeed::default();
        let cell = CellId::from_bytes([1; 16]);
        let now = Instant::now();
        let due = (1..=2 * TRIM_AFTER_EVENTS).filter(|_| all.count_stored(&cell, 1, now));
        assert_eq!(due.count(), 2);
        assert!(!all.count_stored(&cell, 1, now));
        assert!(all.count_stored(&cell, TRIM_AFTER_BYTES, now));
        assert!(!all.count_stored(&cell, 1, now));
        assert!(all.count_stored(&cell, 1, now + TRIM_AFTER));
    }

    #[test]
    fn position_is_read_as_written_and_nothing_else() {
        let position = FeedPosition {
            seq: u64::MAX,
            number: 7,
            at: -1,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "1", "1-2", "1-2-", "-1-2-3", "1-2-3-4", "1-2-x", "x"] {
            assert_eq!(
                text.parse::<FeedPosition>(),
                Err(ParsePositionError),
                "{text}"
            );
        }
        let long = "9".repeat(100_000);
        assert!(long.parse::<FeedPosition>().is_err());
    }
}
