//! The receivers and subscribers that wait in this process, and what wakes them.
//!
//! Messages are records ([`crate::message_queue`]). Whoever waits for one looks for it when something was committed in the cell, by
//! this process or, as the news of the store say, by another one; and from time to time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use personium_store::Message;
use personium_types::{CellId, NodeId};
use tokio::sync::{Notify, watch};

use crate::event_feed::FeedPosition;

/// The largest number of those who wait for messages in a process, with those who are subscribed to topics.
const WAITING_MAX: usize = 20_000;
/// The largest number of entries of the index by time that a process remembers to have written.
const ANNOUNCED_MAX: usize = 10_000;

/// A page of a topic.
#[derive(Debug)]
pub(crate) struct TopicPage {
    /// The position that it follows.
    pub(crate) after: FeedPosition,
    /// The news that it was read after.
    pub(crate) news: u64,
    /// The messages with their positions.
    pub(crate) messages: Vec<(FeedPosition, Message)>,
}

/// The page of a topic that was read last, for all who are subscribed to it.
pub(crate) type SharedPage = tokio::sync::Mutex<Option<Arc<TopicPage>>>;

/// Those who wait for messages of a cell.
#[derive(Debug)]
pub(crate) struct CellMessages {
    news: watch::Sender<u64>,
    waiting: usize,
    topics: HashMap<(NodeId, String), Weak<SharedPage>>,
}

/// Those who wait, and their number.
#[derive(Debug, Default)]
struct Waiting {
    cells: HashMap<CellId, CellMessages>,
    number: usize,
}

/// Those who wait for messages in this process.
#[derive(Debug, Default)]
pub struct MessageNews {
    waiting: Mutex<Waiting>,
    /// Notified when there is somebody who waits.
    pub(crate) wanted: Notify,
    /// The entries of the index of the unit that this process has written: times and cells.
    announced: Mutex<HashSet<(i64, CellId)>>,
}

/// One who waits for messages of a cell, until it is dropped.
#[derive(Debug)]
pub(crate) struct MessageInterest {
    all: Arc<MessageNews>,
    cell: CellId,
    /// Changes when there may be something new.
    pub(crate) news: watch::Receiver<u64>,
}

impl MessageNews {
    /// The number of those who wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.lock().number
    }

    /// Whether somebody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting() > 0
    }

    /// One more who waits for messages of a cell; `None` if there are too many.
    pub(crate) fn wait_in(self: &Arc<Self>, cell: CellId) -> Option<MessageInterest> {
        let mut waiting = self.waiting.lock();
        if waiting.number >= WAITING_MAX {
            return None;
        }
        waiting.number += 1;
        let messages = waiting.cells.entry(cell).or_insert_with(|| CellMessages {
            news: watch::Sender::new(0),
            waiting: 0,
            topics: HashMap::new(),
        });
        messages.waiting += 1;
        let news = messages.news.subscribe();
        drop(waiting);
        self.wanted.notify_one();
        Some(MessageInterest {
            all: Arc::clone(self),
            cell,
            news,
        })
    }

    /// Says that there may be something new in a cell.
    pub(crate) fn wake(&self, cell: &CellId) {
        if let Some(messages) = self.waiting.lock().cells.get(cell) {
            messages.news.send_modify(|number| *number += 1);
        }
    }

    /// Says that there may be something new in any cell.
    pub(crate) fn wake_all(&self) {
        for messages in self.waiting.lock().cells.values() {
            messages.news.send_modify(|number| *number += 1);
        }
    }

    /// Whether this process remembers to have written this entry of the index of the unit.
    pub(crate) fn is_announced(&self, at: i64, cell: CellId) -> bool {
        self.announced.lock().contains(&(at, cell))
    }

    /// Remembers that this process has written an entry of the index of the unit.
    pub(crate) fn remember_announced(&self, at: i64, cell: CellId) {
        let mut announced = self.announced.lock();
        if announced.len() >= ANNOUNCED_MAX {
            announced.clear();
        }
        announced.insert((at, cell));
    }

    /// Forgets entries of the index of the unit up to this time.
    pub(crate) fn forget_announced(&self, until: i64) {
        self.announced.lock().retain(|(at, _)| *at > until);
    }
}

impl MessageInterest {
    /// The page of a topic of the cell that was read last.
    pub(crate) fn shared_page(&self, collection: NodeId, topic: &str) -> Arc<SharedPage> {
        let mut waiting = self.all.waiting.lock();
        let Some(messages) = waiting.cells.get_mut(&self.cell) else {
            return Arc::default();
        };
        let key = (collection, topic.to_owned());
        if let Some(known) = messages.topics.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        messages.topics.retain(|_, page| page.strong_count() > 0);
        let page = Arc::default();
        messages.topics.insert(key, Arc::downgrade(&page));
        page
    }
}

impl Drop for MessageInterest {
    fn drop(&mut self) {
        let mut waiting = self.all.waiting.lock();
        waiting.number = waiting.number.saturating_sub(1);
        if let Some(messages) = waiting.cells.get_mut(&self.cell) {
            messages.waiting = messages.waiting.saturating_sub(1);
            if messages.waiting == 0 {
                waiting.cells.remove(&self.cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_and_forgotten_when_it_goes() {
        let all = Arc::new(MessageNews::default());
        let cell = CellId::from_bytes([1; 16]);
        let mut one = all.wait_in(cell).unwrap();
        let other = all.wait_in(CellId::from_bytes([2; 16])).unwrap();
        assert_eq!(all.waiting(), 2);
        all.wake(&cell);
        one.news.changed().await.unwrap();
        assert!(!other.news.has_changed().unwrap());
        all.wake_all();
        assert!(one.news.has_changed().unwrap() && other.news.has_changed().unwrap());
        let page = one.shared_page(NodeId::from_bytes([1; 16]), "t");
        let same = one.shared_page(NodeId::from_bytes([1; 16]), "t");
        assert!(Arc::ptr_eq(&page, &same));
        drop((one, other));
        assert!(!all.is_wanted() && all.waiting() == 0);
    }
}
