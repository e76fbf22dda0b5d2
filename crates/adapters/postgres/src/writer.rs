//! Commits: one task for each space with waiting batches.

use std::sync::Arc;
use std::time::Duration;

use personium_store::{Batch, CommitSeq, ErrorDetail, Result, Space, StoreError, StoreHealth};
use personium_types::Random;
use tokio::sync::{Semaphore, oneshot};

use crate::connections::Connections;
use crate::error::{Failure, FailureKind};
use crate::news::News;
use crate::space_key;
use crate::statement;
use crate::transaction::{self, Ended, Group, UnknownOutcome, WriterId};
use crate::write_queue::{PendingCommit, WriteQueues};

/// The number of attempts of a transaction that others prevent.
const CONTENTION_ATTEMPTS: u32 = 10;

/// The number of attempts of a transaction on connections that are lost before it is committed.
const LOST_ATTEMPTS: u32 = 3;

/// The number of attempts to find out whether a transaction was committed.
const UNKNOWN_ATTEMPTS: u32 = 12;

/// The pause before the second attempt; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The operation that failed, for messages.
const COMMIT: &str = "failed to commit";

/// Commits batches.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) connections: Arc<Connections>,
    pub(crate) health: Arc<StoreHealth>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) news: Arc<News>,
    pub(crate) queues: WriteQueues,
    /// Keeps some connections for reading.
    pub(crate) transactions: Semaphore,
}

impl Writer {
    /// Queues a batch and waits for its result. It is also committed if the caller stops waiting.
    pub(crate) async fn commit(self: &Arc<Self>, space: &Space, batch: Batch) -> Result<CommitSeq> {
        let (reply, result) = oneshot::channel();
        let space = *space;
        if self.queues.push(space, PendingCommit { batch, reply }) {
            let writer = Arc::clone(self);
            tokio::spawn(async move {
                let guard = DiscardOnDrop(&writer.queues, space);
                writer.run(&space).await;
                std::mem::forget(guard);
            });
        }
        result.await.unwrap_or_else(|_| {
            Err(StoreError::Down(ErrorDetail::new(
                "the task that commits ended early",
            )))
        })
    }

    /// Commits the waiting batches of a space until there are none.
    async fn run(&self, space: &Space) {
        loop {
            let group = self.queues.pop_group(space);
            if group.is_empty() {
                return;
            }
            let batches: Vec<&Batch> = group.iter().map(|commit| &commit.batch).collect();
            let committed = self.commit_group(space, &batches).await;
            match committed {
                Ok(results) => {
                    for (commit, result) in group.into_iter().zip(results) {
                        let _ = commit.reply.send(result);
                    }
                }
                Err(error) => {
                    for commit in group {
                        let _ = commit.reply.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    async fn commit_group(
        &self,
        space: &Space,
        batches: &[&Batch],
    ) -> Result<Vec<Result<CommitSeq>>> {
        let mut unknown: Option<UnknownOutcome> = None;
        let mut failed: u32 = 0;
        let mut may_create = true;
        loop {
            let id = self.writer_id();
            let group = Group {
                space,
                batches,
                id,
                may_create,
                health: &self.health,
            };
            let ended = self.attempt(group, &mut unknown).await;
            let failure = match ended {
                Ok(Ended::Judged(results)) => {
                    self.health.set_full(false);
                    self.health.set_read_only(false);
                    if batches.iter().any(|batch| batch.is_news()) {
                        self.news.tell(space);
                    }
                    return Ok(results);
                }
                Ok(Ended::Refused(error)) => return Err(error),
                Ok(Ended::NoSpace) => {
                    self.create_space(space).await?;
                    continue;
                }
                Err(failure) => failure,
            };
            let kind = failure.kind();
            if kind == FailureKind::RecordExists && may_create {
                may_create = false;
                continue;
            }
            failed += 1;
            if failed >= attempts(kind, unknown.is_some()) {
                return Err(self.give_up(failure, unknown.is_some()));
            }
            tracing::debug!(?space, ?failure, failed, "a transaction is tried again");
            self.after_failure(kind);
            tokio::time::sleep(pause(failed)).await;
        }
    }

    async fn attempt(
        &self,
        group: Group<'_>,
        unknown: &mut Option<UnknownOutcome>,
    ) -> std::result::Result<Ended, Failure> {
        let Ok(_permit) = self.transactions.acquire().await else {
            return Err(Failure::Closed);
        };
        let connection = self.connections.get().await?;
        transaction::attempt(&connection, group, unknown).await
    }

    fn writer_id(&self) -> WriterId {
        let mut id = WriterId::default();
        for (to, from) in id.iter_mut().zip(self.random.uuid().into_bytes()) {
            *to = from;
        }
        id
    }

    fn after_failure(&self, kind: FailureKind) {
        match kind {
            FailureKind::ConnectionLost => self.connections.forget_lost(),
            FailureKind::ReadOnly => self.connections.forget_all(),
            _ => {}
        }
    }

    /// Reports the failure, and returns the error of all batches of the group.
    fn give_up(&self, failure: Failure, is_unknown: bool) -> StoreError {
        let kind = failure.kind();
        self.after_failure(kind);
        match kind {
            FailureKind::Full => drop(self.health.set_full(true)),
            FailureKind::ReadOnly => drop(self.health.set_read_only(true)),
            _ => {}
        }
        let error = match is_unknown {
            true => {
                let text = failure.into_store_error(COMMIT);
                tracing::warn!(
                    error = crate::error::text(&text),
                    "the outcome of a commit is unknown"
                );
                return transaction::outcome_unknown();
            }
            false => failure.into_store_error(COMMIT),
        };
        tracing::warn!(error = crate::error::text(&error), "failed to commit");
        error
    }

    /// Creates a space unless it exists.
    ///
    /// # Errors
    /// [`StoreError::SpaceDropped`] if it was dropped, and those of the database.
    pub(crate) async fn create_space(&self, space: &Space) -> Result<()> {
        let name = space_key::of(space);
        let rows = self.repeat(&statement::CREATE, &name).await?;
        match rows.first().map(|row| crate::read::column::<bool>(row, 0)) {
            Some(Ok(true)) => Err(StoreError::SpaceDropped),
            Some(Err(error)) => Err(error),
            Some(Ok(false)) | None => Ok(()),
        }
    }

    /// Marks a space as dropped.
    pub(crate) async fn mark_dropped(&self, space: &Space) -> Result<()> {
        let name = space_key::of(space);
        self.repeat(&statement::DROP, &name).await.map(drop)
    }

    /// Runs a statement that changes a space and can be repeated, until it succeeds or several attempts failed.
    async fn repeat(
        &self,
        statement: &'static statement::Statement,
        name: &Vec<u8>,
    ) -> Result<Vec<tokio_postgres::Row>> {
        let mut failed: u32 = 0;
        loop {
            let connection = self.connections.get().await;
            let ended = match connection {
                Ok(connection) => connection.run(statement, &[name]).await,
                Err(failure) => Err(failure),
            };
            let failure = match ended {
                Ok(rows) => return Ok(rows),
                Err(failure) => failure,
            };
            failed += 1;
            let kind = failure.kind();
            if failed >= attempts(kind, false) {
                return Err(self.give_up(failure, false));
            }
            self.after_failure(kind);
            tokio::time::sleep(pause(failed)).await;
        }
    }
}

/// Discards the queue of a space if its task ends early.
struct DiscardOnDrop<'q>(&'q WriteQueues, Space);

impl Drop for DiscardOnDrop<'_> {
    fn drop(&mut self) {
        self.0.discard(&self.1);
    }
}

/// The number of attempts after which a failure is returned.
const fn attempts(kind: FailureKind, is_unknown: bool) -> u32 {
    match kind {
        FailureKind::Contention => CONTENTION_ATTEMPTS,
        _ if is_unknown => UNKNOWN_ATTEMPTS,
        FailureKind::ConnectionLost | FailureKind::ReadOnly => LOST_ATTEMPTS,
        FailureKind::Unreachable
        | FailureKind::Busy
        | FailureKind::Full
        | FailureKind::Corrupt
        | FailureKind::RecordExists
        | FailureKind::Other => 1,
    }
}

/// The pause after this number of failed attempts.
fn pause(failed: u32) -> Duration {
    let factor = 1_u32 << failed.saturating_sub(1).min(16);
    (FIRST_PAUSE * factor).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_an_unknown_outcome_is_looked_for_longest() {
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(3), FIRST_PAUSE * 4);
        assert_eq!(pause(u32::MAX), MAX_PAUSE);
        assert_eq!(attempts(FailureKind::Unreachable, false), 1);
        assert_eq!(attempts(FailureKind::Unreachable, true), UNKNOWN_ATTEMPTS);
        assert!(attempts(FailureKind::Other, true) > 1);
    }
}
