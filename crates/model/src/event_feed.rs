//! The feed of the events of a cell: those who listen in this process.
//!
//! Events are passed on after the commit of their batch. Each cell with listeners has one ring of events, which all of them read;
//! who falls behind by more than the ring is told so and loses the feed. Nothing is kept for who is not there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::RwLock;
use personium_types::CellId;
use tokio::sync::broadcast::{self, error::RecvError};

/// The number of events that a listener may fall behind.
const RING_EVENTS: usize = 128;
/// The largest number of listeners of a process.
const LISTENERS_MAX: usize = 20_000;

/// An event as listeners see it.
#[derive(Debug)]
pub struct FeedEvent {
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
    /// When it was posted, milliseconds since 1970.
    pub at: i64,
    /// Its text as it is sent, made once for all listeners.
    pub text: OnceLock<Bytes>,
}

/// The listeners of all cells in this process.
#[derive(Debug, Default)]
pub struct EventFeed {
    rings: RwLock<HashMap<CellId, broadcast::Sender<Arc<FeedEvent>>>>,
    listeners: AtomicUsize,
}

/// The end of a feed for a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedEnd {
    /// The listener was too slow.
    TooSlow,
    /// The unit stops.
    Stopped,
}

/// A listener to the events of a cell. It is one until it is dropped.
#[derive(Debug)]
pub struct FeedListener {
    feed: Arc<EventFeed>,
    cell: CellId,
    receiver: broadcast::Receiver<Arc<FeedEvent>>,
}

impl EventFeed {
    /// Whether somebody listens to the events of a cell.
    #[must_use]
    pub fn has_listener(&self, cell: &CellId) -> bool {
        self.listeners.load(Ordering::Acquire) > 0 && self.rings.read().contains_key(cell)
    }

    /// Listens to the events of a cell from now on; `None` if there are too many listeners.
    #[must_use]
    pub fn listen(self: &Arc<Self>, cell: CellId) -> Option<FeedListener> {
        let mut rings = self.rings.write();
        if self.listeners.load(Ordering::Acquire) >= LISTENERS_MAX {
            return None;
        }
        self.listeners.fetch_add(1, Ordering::AcqRel);
        let ring = rings
            .entry(cell)
            .or_insert_with(|| broadcast::channel(RING_EVENTS).0);
        Some(FeedListener {
            receiver: ring.subscribe(),
            feed: Arc::clone(self),
            cell,
        })
    }

    /// Passes an event on.
    pub fn publish(&self, cell: &CellId, event: Arc<FeedEvent>) {
        if let Some(ring) = self.rings.read().get(cell) {
            // It fails if the last listener is just going.
            let _ = ring.send(event);
        }
    }

    /// The number of listeners.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Acquire)
    }
}

impl FeedListener {
    /// The next event.
    ///
    /// # Errors
    /// The end of the feed.
    pub async fn next(&mut self) -> Result<Arc<FeedEvent>, FeedEnd> {
        self.receiver.recv().await.map_err(|error| match error {
            RecvError::Lagged(_) => FeedEnd::TooSlow,
            RecvError::Closed => FeedEnd::Stopped,
        })
    }
}

impl Drop for FeedListener {
    fn drop(&mut self) {
        let mut rings = self.feed.rings.write();
        // This one is still counted.
        if rings
            .get(&self.cell)
            .is_some_and(|ring| ring.receiver_count() <= 1)
        {
            rings.remove(&self.cell);
        }
        self.feed.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(info: usize) -> Arc<FeedEvent> {
        Arc::new(FeedEvent {
            external: false,
            schema: None,
            subject: None,
            kind: None,
            object: None,
            info: Some(info.to_string()),
            request_key: None,
            at: 0,
            text: OnceLock::new(),
        })
    }

    #[tokio::test]
    async fn slow_listener_loses_the_feed_and_others_get_every_event() {
        let feed = Arc::new(EventFeed::default());
        let cell = CellId::from_bytes([1; 16]);
        let mut slow = feed.listen(cell).unwrap();
        let mut fast = feed.listen(cell).unwrap();
        for number in 0..=RING_EVENTS {
            feed.publish(&cell, event(number));
            let found = fast.next().await.unwrap();
            assert_eq!(found.info, Some(number.to_string()));
        }
        assert_eq!(slow.next().await.unwrap_err(), FeedEnd::TooSlow);
    }

    #[test]
    fn feed_ends_with_its_last_listener() {
        let feed = Arc::new(EventFeed::default());
        let (cell, other) = (CellId::from_bytes([1; 16]), CellId::from_bytes([2; 16]));
        assert!(!feed.has_listener(&cell));
        let (a, b) = (feed.listen(cell).unwrap(), feed.listen(cell).unwrap());
        assert!(feed.has_listener(&cell) && !feed.has_listener(&other));
        drop(a);
        assert!(feed.has_listener(&cell));
        drop(b);
        assert!(!feed.has_listener(&cell) && feed.listeners() == 0);
    }
}
