//! The queue of a file: batches and other work for its writer.

use std::collections::VecDeque;

use personium_store::{Batch, CommitSeq, Op, Result};
use tokio::sync::oneshot::Sender;

/// The maximum number of batches in one commit.
const MAX_GROUP_BATCHES: usize = 256;

/// The maximum size of one commit, unless a single batch is larger, so that no transaction is long.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// The size of an operation without its value.
const OP_OVERHEAD_BYTES: usize = 1 << 10;

/// One piece of work for the writer of a file.
#[derive(Debug)]
pub(crate) enum WriteJob {
    /// Commits a batch.
    Commit(PendingCommit),
    /// Creates the file.
    Create(Sender<Result<()>>),
    /// Removes the file.
    Drop(Sender<Result<()>>),
    /// Removes old entries of the journal.
    Prune(Sender<Result<()>>),
    /// Closes the connections to the file.
    Evict,
}

/// A batch and the channel to its caller.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    pub(crate) batch: Batch,
    pub(crate) reply: Sender<Result<CommitSeq>>,
}

/// The next work of a writer: jobs that are done together.
pub(crate) enum Work {
    /// Commits these batches in one transaction.
    Commit(Vec<PendingCommit>),
    Create(Sender<Result<()>>),
    Drop(Sender<Result<()>>),
    Prune(Sender<Result<()>>),
    Evict,
}

/// The jobs of a file in order.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    jobs: VecDeque<WriteJob>,
    /// Whether a writer thread works on the file or the file waits for one.
    scheduled: bool,
}

impl WriteQueue {
    /// Appends a job. Returns whether the caller must schedule the file.
    #[must_use]
    pub(crate) fn push(&mut self, job: WriteJob) -> bool {
        self.jobs.push_back(job);
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Removes the work to do next: a group of batches or a single other job. Without any, the file is not scheduled any
    /// more.
    pub(crate) fn pop(&mut self) -> Option<Work> {
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(job) = self.jobs.pop_front() {
            match job {
                WriteJob::Commit(commit)
                    if group.is_empty()
                        || bytes + batch_bytes(&commit.batch) <= MAX_GROUP_BYTES =>
                {
                    bytes += batch_bytes(&commit.batch);
                    group.push(commit);
                    if group.len() == MAX_GROUP_BATCHES {
                        break;
                    }
                }
                other if !group.is_empty() => {
                    self.jobs.push_front(other);
                    break;
                }
                WriteJob::Create(reply) => return Some(Work::Create(reply)),
                WriteJob::Drop(reply) => return Some(Work::Drop(reply)),
                WriteJob::Prune(reply) => return Some(Work::Prune(reply)),
                WriteJob::Evict => return Some(Work::Evict),
                WriteJob::Commit(commit) => group.push(commit),
            }
        }
        self.scheduled = !group.is_empty();
        (!group.is_empty()).then_some(Work::Commit(group))
    }

    /// Ends the turn of a writer thread. Returns whether the file still has jobs and must be scheduled again.
    #[must_use]
    pub(crate) fn release(&mut self) -> bool {
        self.scheduled = !self.jobs.is_empty();
        self.scheduled
    }

    /// Discards all jobs. Their callers get an error.
    pub(crate) fn clear(&mut self) {
        self.jobs.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }
}

/// Returns the size of the values of a batch in bytes.
pub(crate) fn value_bytes(batch: &Batch) -> usize {
    let of = |op: &Op| match op {
        Op::Put(_, value) | Op::PutSequenced(_, value) => value.len(),
        _ => 0,
    };
    batch.ops().iter().map(of).sum()
}

/// Returns the size of a batch: its values, and [`OP_OVERHEAD_BYTES`] for each operation.
fn batch_bytes(batch: &Batch) -> usize {
    OP_OVERHEAD_BYTES * batch.ops().len() + value_bytes(batch)
}
