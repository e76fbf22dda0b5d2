//! The queue of spans that wait to be sent, and what became of them.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use personium_trace::{FinishedSpan, SpanSink};
use tokio::sync::Notify;

/// The number of spans that can wait: about 4 MB.
const QUEUE_SPANS: usize = 8192;

/// The number of spans of one message.
pub(super) const BATCH_SPANS: usize = 512;

/// The reason why spans are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanLoss {
    /// The queue was full.
    QueueFull,
    /// The collector did not answer, or could not take them.
    Unreachable,
    /// The collector has refused them.
    Refused,
}

/// Spans that wait.
#[derive(Debug, Default)]
pub(super) struct SpanQueue {
    waiting: Mutex<Vec<FinishedSpan>>,
    enough: Notify,
    exported: AtomicU64,
    queue_full: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
}

impl SpanSink for SpanQueue {
    fn accept(&self, span: FinishedSpan) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= QUEUE_SPANS {
            drop(waiting);
            self.lose(1, SpanLoss::QueueFull);
            return;
        }
        waiting.push(span);
        let is_enough = waiting.len() == BATCH_SPANS;
        drop(waiting);
        if is_enough {
            self.enough.notify_one();
        }
    }
}

impl SpanQueue {
    /// Waits until there are enough spans for a message.
    pub(super) async fn enough(&self) {
        self.enough.notified().await;
    }

    /// Takes the spans of the next message; none if none wait.
    pub(super) fn take(&self) -> Vec<FinishedSpan> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(BATCH_SPANS);
        waiting.drain(..count).collect()
    }

    /// Counts spans that are lost.
    pub(super) fn lose(&self, count: usize, loss: SpanLoss) {
        self.of(loss).fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts the spans of a message that the collector has accepted, but for those that it has refused.
    pub(super) fn export(&self, count: usize, refused: u64) {
        let refused = refused.min(count as u64);
        let exported = (count as u64).saturating_sub(refused);
        self.exported.fetch_add(exported, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// The number of spans that the collector has accepted.
    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// The number of spans that are lost for a reason.
    pub(super) fn lost(&self, loss: SpanLoss) -> u64 {
        self.of(loss).load(Ordering::Relaxed)
    }

    const fn of(&self, loss: SpanLoss) -> &AtomicU64 {
        match loss {
            SpanLoss::QueueFull => &self.queue_full,
            SpanLoss::Unreachable => &self.unreachable,
            SpanLoss::Refused => &self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use personium_trace::{SpanId, SpanKind, SpanName, TraceId};

    use super::*;

    fn span() -> FinishedSpan {
        FinishedSpan {
            trace: TraceId::new([1; 16]).unwrap(),
            id: SpanId::new([1; 8]).unwrap(),
            parent: None,
            parent_is_remote: false,
            state: None,
            name: SpanName::Fixed("GET"),
            kind: SpanKind::Server,
            start_ns: 0,
            end_ns: 0,
            attributes: Vec::new(),
            has_failed: false,
        }
    }

    #[tokio::test]
    async fn full_queue_loses_spans_and_counts_them() {
        let queue = SpanQueue::default();
        for _ in 0..QUEUE_SPANS + 3 {
            queue.accept(span());
        }
        queue.enough().await;
        assert_eq!(queue.lost(SpanLoss::QueueFull), 3);
        for _ in 0..QUEUE_SPANS / BATCH_SPANS {
            assert_eq!(queue.take().len(), BATCH_SPANS);
        }
        assert!(queue.take().is_empty());
        queue.export(10, 99);
        assert_eq!((queue.exported(), queue.lost(SpanLoss::Refused)), (0, 10));
    }
}
