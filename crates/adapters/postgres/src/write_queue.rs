//! The queues of the spaces: batches that wait for the transaction before them.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use personium_store::{Batch, CommitSeq, Op, Result, Space};
use tokio::sync::Notify;
use tokio::sync::oneshot::Sender;

/// The maximum number of batches in one transaction.
const MAX_GROUP_BATCHES: usize = 256;

/// The maximum size of one transaction, unless a single batch is larger.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// The size of an operation without its value.
const OP_OVERHEAD_BYTES: usize = 1 << 10;

/// A batch and the channel to its caller.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    pub(crate) batch: Batch,
    pub(crate) reply: Sender<Result<CommitSeq>>,
}

/// The waiting batches of all spaces. A space has a queue as long as a task works on it.
#[derive(Debug, Default)]
pub(crate) struct WriteQueues {
    queues: Mutex<HashMap<Space, VecDeque<PendingCommit>>>,
    removed: Notify,
}

impl WriteQueues {
    /// Appends a batch. Returns whether the caller must start a task for the space.
    #[must_use]
    pub(crate) fn push(&self, space: Space, commit: PendingCommit) -> bool {
        let mut queues = self.queues.lock();
        let is_new = !queues.contains_key(&space);
        queues.entry(space).or_default().push_back(commit);
        is_new
    }

    /// Removes the batches of the next transaction. Without any, the queue is removed.
    pub(crate) fn pop_group(&self, space: &Space) -> Vec<PendingCommit> {
        let mut queues = self.queues.lock();
        let mut group = Vec::new();
        if let Some(queue) = queues.get_mut(space) {
            let mut bytes = 0;
            while let Some(next) = queue.front() {
                bytes += batch_bytes(&next.batch);
                if group.len() == MAX_GROUP_BATCHES
                    || (!group.is_empty() && bytes > MAX_GROUP_BYTES)
                {
                    break;
                }
                group.extend(queue.pop_front());
            }
        }
        if group.is_empty() {
            queues.remove(space);
            self.removed.notify_waiters();
        }
        group
    }

    /// Discards the batches of a space. Their callers get an error.
    pub(crate) fn discard(&self, space: &Space) {
        self.queues.lock().remove(space);
        self.removed.notify_waiters();
    }

    /// Waits until no space has a queue.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let removed = self.removed.notified();
            let mut removed = std::pin::pin!(removed);
            removed.as_mut().enable();
            if self.queues.lock().is_empty() {
                return;
            }
            removed.await;
        }
    }
}

/// Returns the size of a batch: its values, and [`OP_OVERHEAD_BYTES`] for each operation.
fn batch_bytes(batch: &Batch) -> usize {
    let of = |op: &Op| match op {
        Op::Put(_, value) | Op::PutSequenced(_, value) => value.len(),
        _ => 0,
    };
    let values: usize = batch.ops().iter().map(of).sum();
    OP_OVERHEAD_BYTES * batch.ops().len() + values
}

#[cfg(test)]
mod tests {
    use personium_store::Key;

    use super::*;

    fn commit(bytes: usize) -> PendingCommit {
        let mut batch = Batch::new();
        batch.put(Key::table(b'k').build(), vec![0; bytes]);
        let (reply, _) = tokio::sync::oneshot::channel();
        PendingCommit { batch, reply }
    }

    #[test]
    fn groups_are_bounded_in_number_and_bytes_but_take_a_large_batch_alone() {
        let queues = WriteQueues::default();
        let large = MAX_GROUP_BYTES * 2;
        let sizes = std::iter::repeat_n(1, MAX_GROUP_BATCHES + 1).chain([large, 1]);
        let started = sizes.map(|bytes| queues.push(Space::Unit, commit(bytes)));
        assert_eq!(started.filter(|started| *started).count(), 1);
        let groups = [MAX_GROUP_BATCHES, 1, 1, 1, 0];
        for expected in groups {
            assert_eq!(queues.pop_group(&Space::Unit).len(), expected);
        }
        assert!(
            queues.push(Space::Unit, commit(1)),
            "a task must be started again"
        );
    }
}
