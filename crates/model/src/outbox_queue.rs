//! The queue in memory of the rules that have requests to send.
//!
//! The requests themselves are records. After a start the queue is filled from them; see [`crate::event::pending`].

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use parking_lot::Mutex;
use personium_types::{CellId, ServerNodeId};
use tokio::sync::Notify;

/// The requests of one rule, which are sent one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutboxPartition {
    /// The cell.
    pub cell: CellId,
    /// The entity id of the rule.
    pub rule: String,
}

/// The partitions with requests to send. A partition is processed by one worker at a time.
#[derive(Debug, Default)]
pub struct OutboxQueue {
    partitions: Mutex<Partitions>,
    enqueued: Notify,
    /// The cells whose requests this process sends.
    owned: Mutex<HashMap<CellId, OwnedOutbox>>,
}

/// The ownership of the outbox of a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedOutbox {
    /// The server node that the cell names as the owner.
    pub(crate) node: ServerNodeId,
    /// Since when it was found empty.
    pub(crate) empty_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Partitions {
    waiting: VecDeque<OutboxPartition>,
    /// Every partition that waits or is being processed; `true` if it was enqueued again meanwhile.
    known: HashMap<OutboxPartition, bool>,
}

impl OutboxQueue {
    /// Enqueues a partition that has requests to send.
    pub fn enqueue(&self, partition: OutboxPartition) {
        let mut partitions = self.partitions.lock();
        if let Some(enqueued_again) = partitions.known.get_mut(&partition) {
            *enqueued_again = true;
            return;
        }
        partitions.known.insert(partition.clone(), false);
        partitions.waiting.push_back(partition);
        drop(partitions);
        self.enqueued.notify_one();
    }

    /// Waits for the next partition to process. The caller gives it back with [`Self::complete`] or [`Self::requeue`].
    pub async fn next(&self) -> OutboxPartition {
        loop {
            let enqueued = self.enqueued.notified();
            if let Some(partition) = self.partitions.lock().waiting.pop_front() {
                return partition;
            }
            enqueued.await;
        }
    }

    /// Gives back a partition whose processing failed, to be processed again.
    pub fn requeue(&self, partition: OutboxPartition) {
        self.partitions.lock().waiting.push_back(partition);
        self.enqueued.notify_one();
    }

    /// Gives back a partition without requests to send. Returns `false` if it was enqueued again meanwhile: then the caller
    /// keeps it.
    #[must_use]
    pub fn complete(&self, partition: &OutboxPartition) -> bool {
        let mut partitions = self.partitions.lock();
        match partitions.known.get_mut(partition) {
            Some(enqueued_again) if *enqueued_again => {
                *enqueued_again = false;
                false
            }
            _ => {
                partitions.known.remove(partition);
                true
            }
        }
    }
}

/// The cells whose requests this process sends.
impl OutboxQueue {
    /// Notes that the cell names this process, under this id, as the owner of its outbox.
    pub(crate) fn own(&self, cell: CellId, node: ServerNodeId) {
        let owned = OwnedOutbox {
            node,
            empty_since: None,
        };
        self.owned.lock().insert(cell, owned);
    }

    /// Notes that this process does not send the requests of a cell any more.
    pub fn disown(&self, cell: &CellId) {
        self.owned.lock().remove(cell);
    }

    /// The id under which this process owns the outbox of a cell; `None` if it does not.
    #[must_use]
    pub fn owner(&self, cell: &CellId) -> Option<ServerNodeId> {
        self.owned.lock().get(cell).map(|owned| owned.node)
    }

    /// The cells whose outboxes this process owns.
    pub(crate) fn list_owned(&self) -> Vec<(CellId, OwnedOutbox)> {
        let owned = self.owned.lock();
        owned.iter().map(|(cell, owned)| (*cell, *owned)).collect()
    }

    /// Notes whether the outbox of a cell was found empty, and since when.
    pub(crate) fn set_empty_since(&self, cell: &CellId, since: Option<Instant>) {
        if let Some(owned) = self.owned.lock().get_mut(cell) {
            owned.empty_since = since;
        }
    }

    /// Whether rules of a cell wait or are being processed.
    pub(crate) fn is_processing(&self, cell: &CellId) -> bool {
        let partitions = self.partitions.lock();
        partitions.known.keys().any(|known| known.cell == *cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(rule: &str) -> OutboxPartition {
        OutboxPartition {
            cell: CellId::from_bytes([1; 16]),
            rule: rule.to_owned(),
        }
    }

    #[tokio::test]
    async fn partition_in_processing_is_not_given_out_again() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        assert_eq!(queue.next().await, partition("a"));
        queue.enqueue(partition("a"));
        assert!(queue.partitions.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn partition_enqueued_during_processing_is_not_completed() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        assert_eq!(queue.next().await, partition("a"));
        queue.enqueue(partition("a"));
        assert!(!queue.complete(&partition("a")));
        assert!(queue.complete(&partition("a")));
    }

    #[tokio::test]
    async fn partition_enqueued_twice_before_processing_is_given_out_once() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        queue.enqueue(partition("b"));
        queue.enqueue(partition("b"));
        assert_eq!(queue.next().await, partition("a"));
        assert_eq!(queue.next().await, partition("b"));
        assert!(queue.partitions.lock().waiting.is_empty());
        assert!(!queue.complete(&partition("b")));
        assert!(queue.complete(&partition("b")));
    }

    #[tokio::test]
    async fn completed_partition_can_be_enqueued_again() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        assert_eq!(queue.next().await, partition("a"));
        assert!(queue.complete(&partition("a")));
        queue.enqueue(partition("a"));
        assert_eq!(queue.next().await, partition("a"));
    }

    #[tokio::test]
    async fn requeued_partition_is_given_out_again() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        let given = queue.next().await;
        queue.requeue(given);
        assert_eq!(queue.next().await, partition("a"));
    }
}
