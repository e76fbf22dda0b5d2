//! Commits of batches: retries after conflicts, and the actions that follow a commit.

mod post_commit;

use std::sync::Arc;

use personium_store::{Batch, CommitSeq, ErrorDetail, StoreError};
use personium_types::Result;

pub use self::post_commit::{Invalidation, PostCommit};
use crate::records::{self, Records};
use crate::{CellContext, Unit};

impl Unit {
    /// Builds a batch for a cell and commits it, then invalidates the caches; see [`Records::transact`].
    ///
    /// # Errors
    /// See [`Records::transact`].
    pub async fn transact<T, F, Fut>(
        &self,
        cell: &CellContext,
        invalidation: Invalidation,
        build: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        let mut build = build;
        let with_invalidation = || {
            let built = Box::pin(build());
            async move {
                let (batch, out) = built.await?;
                let post_commit = PostCommit::invalidating(cell.cell(), invalidation);
                Ok((batch, post_commit, out))
            }
        };
        self.transact_with(cell.records(), with_invalidation).await
    }

    /// Builds a batch with its post-commit actions, commits it and runs them; see [`Records::transact`]. If the caller is
    /// cancelled during the commit, the actions run all the same.
    ///
    /// # Errors
    /// See [`Records::transact`].
    pub(crate) async fn transact_with<T, F, Fut>(&self, records: &Records, build: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        let mut build = build;
        records::retry_on_conflict(records, || {
            let built = Box::pin(build());
            async move {
                let (batch, post_commit, out) = built.await?;
                Ok((self.commit(records, batch, post_commit).await, out))
            }
        })
        .await
    }

    /// Commits a batch and runs its post-commit actions, without retries. If it makes what is cached about the cell stale, it
    /// changes the structure of the space, which other processes notice.
    ///
    /// # Errors
    /// As [`Records::commit`].
    pub(crate) async fn commit(
        &self,
        records: &Records,
        batch: Batch,
        post_commit: PostCommit,
    ) -> personium_store::Result<CommitSeq> {
        if batch.is_empty() || post_commit.is_empty() {
            return records.commit(batch).await;
        }
        let mut batch = batch;
        if post_commit.changes_structure_of(records.space()) {
            batch.change_structure();
        }
        post_commit.mark_changed_cells(&mut batch);
        let (unit, records) = (self.share(), records.clone());
        let in_flight = Arc::clone(self.commits()).read_owned().await;
        let scope = personium_trace::current();
        let committing = tokio::spawn(personium_trace::within(scope, async move {
            let deletion = post_commit.begin_deletion(&unit).await?;
            if let Some(deletion) = &deletion {
                deletion.add_to(&mut batch);
            }
            let committed = records.commit(batch).await;
            if let (Err(_), Some(deletion)) = (&committed, deletion) {
                deletion.give_up(unit.store()).await;
            }
            let announced = match &committed {
                Ok(seq) => post_commit.announce(&unit, *seq).await,
                Err(_) => Ok(()),
            };
            post_commit.run(&unit, committed.is_ok());
            drop(in_flight);
            announced.and(committed)
        }));
        committing.await.unwrap_or_else(|error| {
            let detail = ErrorDetail::new("commit task panicked").with_source(error);
            Err(StoreError::Down(detail))
        })
    }

    /// Waits for the commits in flight and their post-commit actions. To be called before the stores are closed.
    pub async fn finish_commits(&self) {
        drop(self.commits().write().await);
    }
}
