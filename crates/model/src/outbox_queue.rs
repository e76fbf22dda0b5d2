//! The queue in memory of the rules that have requests to send.
//!
//! The requests themselves are records. After a start the queue is filled from them; see [`crate::event::pending`].

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;
use personium_types::CellId;
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
    /// The cells that this process has marked as pending. Locked while a marker is written or removed.
    pub(crate) marked_cells: tokio::sync::Mutex<HashSet<CellId>>,
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
