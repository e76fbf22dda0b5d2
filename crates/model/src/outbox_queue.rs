//! The queue in memory of the rules that have requests to send, and of the cells that have messages to deliver.
//!
//! The requests and messages themselves are records. After a start the queue is filled from them; see [`crate::event::pending`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use parking_lot::Mutex;
use personium_types::{CellId, ServerNodeId};
use tokio::sync::Notify;

use crate::keys::{MESSAGES, PUBLISHED};
use crate::outbox_totals::OutboxTotals;

/// The requests of one rule, which are sent one after the other, or the messages of one cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutboxPartition {
    /// The cell.
    pub cell: CellId,
    /// The entity id of the rule; [`MESSAGES`] for the messages, [`PUBLISHED`] for the events that are to be published.
    pub rule: String,
}

/// The kind of a partition. Neither waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKind {
    /// Requests of a rule.
    Rule,
    /// Messages to be delivered.
    Messages,
    /// Events to be published to other systems.
    Published,
}

impl OutboxPartition {
    /// The messages of a cell.
    #[must_use]
    pub fn of_messages(cell: CellId) -> Self {
        let rule = MESSAGES.to_owned();
        Self { cell, rule }
    }

    /// The events of a cell that are to be published.
    #[must_use]
    pub fn of_published(cell: CellId) -> Self {
        let rule = PUBLISHED.to_owned();
        Self { cell, rule }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PartitionKind {
        match self.rule.as_str() {
            MESSAGES => PartitionKind::Messages,
            PUBLISHED => PartitionKind::Published,
            _ => PartitionKind::Rule,
        }
    }
}

/// The partitions with requests to send. A partition is processed by one worker at a time.
#[derive(Debug, Default)]
pub struct OutboxQueue {
    rules: KindQueue,
    messages: KindQueue,
    published: KindQueue,
    /// The partitions whose next attempt is due later, with its time.
    deferred: Mutex<HashMap<OutboxPartition, Instant>>,
    /// The cells whose requests this process sends.
    owned: Mutex<HashMap<CellId, OwnedOutbox>>,
    totals: OutboxTotals,
}

/// The partitions of one kind.
#[derive(Debug, Default)]
struct KindQueue {
    partitions: Mutex<Partitions>,
    enqueued: Notify,
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
    /// The cells with partitions that wait, each once: the first one has the next turn.
    cells: VecDeque<CellId>,
    /// The partitions of the cells that have some.
    lines: HashMap<CellId, CellLine>,
    /// Every partition that waits or is being processed; `true` if it was enqueued again meanwhile.
    known: HashMap<OutboxPartition, bool>,
}

/// The partitions of one cell.
#[derive(Debug, Default)]
struct CellLine {
    waiting: VecDeque<OutboxPartition>,
    /// The number of those that are being processed.
    processed: usize,
}

impl Partitions {
    /// Adds a partition after those of its cell that wait.
    fn push(&mut self, partition: OutboxPartition) {
        let line = self.lines.entry(partition.cell).or_default();
        if line.waiting.is_empty() {
            self.cells.push_back(partition.cell);
        }
        line.waiting.push_back(partition);
    }

    /// Takes the next partition of the first cell of which fewer than `cell_max` are being processed. The cell goes to the end.
    fn take(&mut self, cell_max: usize) -> Option<OutboxPartition> {
        let lines = &self.lines;
        let may_take = |cell: &CellId| {
            lines
                .get(cell)
                .is_some_and(|line| line.processed < cell_max)
        };
        let position = self.cells.iter().position(may_take)?;
        let cell = self.cells.remove(position)?;
        let line = self.lines.get_mut(&cell)?;
        let partition = line.waiting.pop_front()?;
        line.processed += 1;
        if !line.waiting.is_empty() {
            self.cells.push_back(cell);
        }
        Some(partition)
    }

    /// Notes that a partition of a cell is not being processed any more.
    fn release(&mut self, cell: &CellId) {
        if let Some(line) = self.lines.get_mut(cell) {
            line.processed = line.processed.saturating_sub(1);
            if line.processed == 0 && line.waiting.is_empty() {
                self.lines.remove(cell);
            }
        }
    }
}

impl OutboxQueue {
    fn of(&self, kind: PartitionKind) -> &KindQueue {
        match kind {
            PartitionKind::Rule => &self.rules,
            PartitionKind::Messages => &self.messages,
            PartitionKind::Published => &self.published,
        }
    }

    /// Enqueues a partition that has requests to send.
    pub fn enqueue(&self, partition: OutboxPartition) {
        let queue = self.of(partition.kind());
        let mut partitions = queue.partitions.lock();
        if let Some(enqueued_again) = partitions.known.get_mut(&partition) {
            *enqueued_again = true;
            return;
        }
        partitions.known.insert(partition.clone(), false);
        partitions.push(partition);
        drop(partitions);
        queue.enqueued.notify_one();
    }

    /// Waits for the next partition of a kind to process. The caller gives it back with [`Self::complete`] or [`Self::requeue`]. Cells
    /// take turns, and at most `cell_max` partitions of one cell are given out at the same time.
    pub async fn next(&self, kind: PartitionKind, cell_max: usize) -> OutboxPartition {
        let queue = self.of(kind);
        loop {
            let enqueued = queue.enqueued.notified();
            if let Some(partition) = queue.partitions.lock().take(cell_max) {
                return partition;
            }
            enqueued.await;
        }
    }

    /// Gives back a partition that has more requests to send, or whose processing failed, to be processed again after those that
    /// wait.
    pub fn requeue(&self, partition: OutboxPartition) {
        let queue = self.of(partition.kind());
        let mut partitions = queue.partitions.lock();
        partitions.release(&partition.cell);
        partitions.push(partition);
        drop(partitions);
        queue.enqueued.notify_one();
    }

    /// Gives back a partition without requests to send. Returns `false` if it was enqueued again meanwhile: then the caller
    /// keeps it.
    #[must_use]
    pub fn complete(&self, partition: &OutboxPartition) -> bool {
        let queue = self.of(partition.kind());
        let mut partitions = queue.partitions.lock();
        match partitions.known.get_mut(partition) {
            Some(enqueued_again) if *enqueued_again => {
                *enqueued_again = false;
                false
            }
            _ => {
                partitions.known.remove(partition);
                partitions.release(&partition.cell);
                drop(partitions);
                // Another one of the cell may wait for it.
                queue.enqueued.notify_one();
                true
            }
        }
    }

    /// Notes when the next attempt of a partition is due; `None` if there is none.
    pub fn defer(&self, partition: &OutboxPartition, due: Option<Instant>) {
        let mut deferred = self.deferred.lock();
        match due {
            Some(due) => deferred.insert(partition.clone(), due),
            None => deferred.remove(partition),
        };
    }

    /// The cells with requests or messages that are sent now or at their next attempt.
    pub(crate) fn list_busy(&self) -> BTreeSet<CellId> {
        let mut cells = BTreeSet::new();
        for queue in [&self.rules, &self.messages] {
            cells.extend(queue.partitions.lock().known.keys().map(|known| known.cell));
        }
        cells.extend(self.deferred.lock().keys().map(|deferred| deferred.cell));
        cells
    }

    /// The numbers of what waits and of what was given up.
    #[must_use]
    pub fn totals(&self) -> &OutboxTotals {
        &self.totals
    }

    /// Enqueues the partitions whose next attempt is due.
    pub fn enqueue_due(&self, now: Instant) {
        let mut deferred = self.deferred.lock();
        let due: Vec<_> = deferred.extract_if(|_, due| *due <= now).collect();
        drop(deferred);
        for (partition, _) in due {
            self.enqueue(partition);
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
        let mut queues = [&self.rules, &self.messages, &self.published].into_iter();
        queues.any(|queue| {
            let partitions = queue.partitions.lock();
            partitions.known.keys().any(|known| known.cell == *cell)
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use personium_types::{Clock, SystemClock};

    use super::*;

    fn partition(rule: &str) -> OutboxPartition {
        OutboxPartition {
            cell: CellId::from_bytes([1; 16]),
            rule: rule.to_owned(),
        }
    }

    fn of_cell(cell: u8, rule: &str) -> OutboxPartition {
        OutboxPartition {
            cell: CellId::from_bytes([cell; 16]),
            rule: rule.to_owned(),
        }
    }

    #[tokio::test]
    async fn cells_take_turns_and_have_a_limit() {
        let queue = OutboxQueue::default();
        let next = || queue.next(PartitionKind::Rule, 2).now_or_never();
        for rule in ["a", "b", "c", "d"] {
            queue.enqueue(of_cell(1, rule));
        }
        assert_eq!(next(), Some(of_cell(1, "a")));
        assert_eq!(next(), Some(of_cell(1, "b")));
        assert_eq!(next(), None, "two of the cell are being processed");
        queue.enqueue(of_cell(2, "a"));
        queue.enqueue(of_cell(2, "b"));
        assert_eq!(next(), Some(of_cell(2, "a")));
        queue.requeue(of_cell(1, "a"));
        assert_eq!(next(), Some(of_cell(1, "c")));
        assert_eq!(next(), Some(of_cell(2, "b")));
        assert_eq!(next(), None);
        assert!(queue.complete(&of_cell(1, "b")));
        assert_eq!(next(), Some(of_cell(1, "d")));
        assert!(queue.complete(&of_cell(1, "c")));
        assert_eq!(next(), Some(of_cell(1, "a")), "after those that wait");
        for rule in ["a", "d"] {
            assert!(queue.complete(&of_cell(1, rule)));
            assert!(queue.complete(&of_cell(2, if rule == "a" { "a" } else { "b" })));
        }
        assert!(queue.rules.partitions.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn partition_that_waits_for_the_limit_is_given_out_when_another_one_is_completed() {
        let queue = OutboxQueue::default();
        queue.enqueue(of_cell(1, "a"));
        queue.enqueue(of_cell(1, "b"));
        assert_eq!(queue.next(PartitionKind::Rule, 1).await, of_cell(1, "a"));
        let waiting = queue.next(PartitionKind::Rule, 1);
        let completing = async { assert!(queue.complete(&of_cell(1, "a"))) };
        let (given, ()) = tokio::join!(waiting, completing);
        assert_eq!(given, of_cell(1, "b"));
    }

    #[tokio::test]
    async fn partition_in_processing_is_not_given_out_again() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        assert_eq!(queue.next(PartitionKind::Rule, 1).await, partition("a"));
        queue.enqueue(partition("a"));
        assert!(queue.rules.partitions.lock().cells.is_empty());
    }

    #[tokio::test]
    async fn partition_enqueued_during_processing_is_not_completed() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        assert_eq!(queue.next(PartitionKind::Rule, 1).await, partition("a"));
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
        assert_eq!(queue.next(PartitionKind::Rule, 2).await, partition("a"));
        assert_eq!(queue.next(PartitionKind::Rule, 2).await, partition("b"));
        assert!(queue.rules.partitions.lock().cells.is_empty());
        assert!(!queue.complete(&partition("b")));
        assert!(queue.complete(&partition("b")));
    }

    #[tokio::test]
    async fn completed_partition_can_be_enqueued_again() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        assert_eq!(queue.next(PartitionKind::Rule, 1).await, partition("a"));
        assert!(queue.complete(&partition("a")));
        queue.enqueue(partition("a"));
        assert_eq!(queue.next(PartitionKind::Rule, 1).await, partition("a"));
    }

    #[tokio::test]
    async fn requeued_partition_is_given_out_again() {
        let queue = OutboxQueue::default();
        queue.enqueue(partition("a"));
        let given = queue.next(PartitionKind::Rule, 1).await;
        queue.requeue(given);
        assert_eq!(queue.next(PartitionKind::Rule, 1).await, partition("a"));
    }

    #[tokio::test]
    async fn deferred_partition_is_given_out_when_it_is_due() {
        let queue = OutboxQueue::default();
        let messages = OutboxPartition::of_messages(CellId::from_bytes([1; 16]));
        let waits = || queue.messages.partitions.lock().cells.len();
        let due = SystemClock::new().monotonic() + Duration::from_secs(9);
        queue.defer(&messages, Some(due));
        queue.enqueue_due(due - Duration::from_millis(1));
        assert_eq!(waits(), 0);
        queue.enqueue_due(due);
        assert_eq!(queue.next(PartitionKind::Messages, 1).await, messages);
        assert!(queue.complete(&messages));
        queue.enqueue_due(due);
        assert_eq!(waits(), 0, "it is deferred no more");
        queue.defer(&messages, Some(due));
        queue.defer(&messages, None);
        queue.enqueue_due(due);
        assert_eq!(waits(), 0);
    }
}
