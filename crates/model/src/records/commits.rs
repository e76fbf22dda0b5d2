//! Commits to the records of a space, and their retries after conflicts.

use std::future::Future;
use std::time::Duration;

use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Expect, KeyRange, Space, StoreError,
};
use personium_types::{Code, Result};

use super::{Records, STALE, store_error};
use crate::cell_deletion::{self, Undone};
use crate::usage::{self, CountedKey};

/// The number of times that a batch is built and committed before conflicts become an error.
const MAX_ATTEMPTS: usize = 50;
/// The attempts that are made without a pause.
const IMMEDIATE_ATTEMPTS: usize = 3;
/// The attempt after which a seal has stayed for long: about a quarter of a second, a deletion takes milliseconds.
const UNDO_ATTEMPT: usize = 22;
/// The longest pause before an attempt, in milliseconds.
const MAX_BACKOFF_MS: usize = 20;
/// The number of records that [`Records::remove_range`] removes in one batch.
const REMOVAL_BATCH: usize = 200;

impl Records {
    /// Commits one batch without retries. What was decided from a cached structure is committed only if the structure was current
    /// after the request began: unless a read has shown that, the batch asserts the version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if an assertion of the batch does not hold, [`StoreError::Busy`] if the cached structure is stale,
    /// [`StoreError::OverQuota`] if a quota does not permit it, or another failure of the store.
    pub async fn commit(&self, mut batch: Batch) -> std::result::Result<CommitSeq, StoreError> {
        if batch.is_empty() {
            return Ok(0);
        }
        if !self.is_counted && matches!(self.space, Space::Cell(_)) {
            usage::count_keys(&mut batch);
        }
        let Some(limit) = &self.limit else {
            return self.commit_unlimited(batch).await;
        };
        let growth = usage::growth(&batch);
        if growth > 0 {
            limit.admit(growth).await?;
        }
        let committed = self.commit_unlimited(batch).await;
        if committed.is_ok() && growth != 0 {
            limit.note(growth);
        }
        committed
    }

    async fn commit_unlimited(
        &self,
        mut batch: Batch,
    ) -> std::result::Result<CommitSeq, StoreError> {
        let Some(view) = &self.view else {
            return self.store.commit(&self.space, batch).await;
        };
        if view.is_stale() {
            return Err(StoreError::Busy(ErrorDetail::new(STALE)));
        }
        let asserted = view.to_check();
        if let Some(version) = asserted {
            batch.assert_structure(version);
        }
        let committed = self.store.commit(&self.space, batch).await;
        match (&committed, asserted) {
            (Ok(_), Some(version)) => drop(view.observe(version)),
            // The structure may be what has changed.
            (Err(StoreError::Conflict), Some(_)) => self.check_view().await?,
            (Err(StoreError::SpaceDropped), Some(_)) => view.observe_dropped(),
            _ => {}
        }
        committed
    }

    async fn check_view(&self) -> std::result::Result<(), StoreError> {
        let Some(view) = &self.view else {
            return Ok(());
        };
        if view.to_check().is_some() {
            match self.store.structure(&self.space).await {
                Ok(version) => drop(view.observe(version)),
                Err(error) => {
                    if let StoreError::SpaceDropped = error {
                        view.observe_dropped();
                    }
                    return Err(error);
                }
            }
        }
        match view.is_stale() {
            true => Err(StoreError::Busy(ErrorDetail::new(STALE))),
            false => Ok(()),
        }
    }

    /// Undoes the deletion of the cell, unless it was done.
    async fn undo_deletion(&self) -> Result<()> {
        let Space::Cell(cell) = &self.space else {
            return Ok(());
        };
        let undone = cell_deletion::undo(&self.store, cell).await;
        match undone.map_err(store_error)? {
            Undone::CellIsWritable => Ok(()),
            Undone::CellIsGone => Err(Code::NoSuchCell.into()),
        }
    }

    /// Removes all records of a range, in several small batches.
    ///
    /// # Errors
    /// A failure of the store; then some of the records may be left.
    pub async fn remove_range(&self, range: &KeyRange) -> Result<()> {
        loop {
            let found = self.list_keys(range, Direction::Up, REMOVAL_BATCH).await?;
            if found.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            for key in found {
                if CountedKey::of(&key).is_some() {
                    // Another server node may remove it too. It is counted once.
                    batch.assert(key.clone(), Expect::Present);
                }
                batch.delete(key);
            }
            match self.commit(batch).await {
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
    }

    /// Builds a batch and commits it; after a conflict builds it again from the records of then.
    ///
    /// `build` reads, decides and adds to the batch; it must have no other effect. Its result is returned after the
    /// commit.
    ///
    /// # Errors
    /// The error of `build`, [`Code::Conflict`] after 50 attempts, or a failure of the store.
    pub async fn transact<T, F, Fut>(&self, mut build: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        retry_on_conflict(self, || {
            let built = Box::pin(build());
            async move {
                let (batch, out) = built.await?;
                Ok((self.commit(batch).await, out))
            }
        })
        .await
    }
}

/// Repeats an attempt to build and commit a batch as long as the commit meets a conflict, or a sealed cell. A seal that stays
/// is one of a deletion that was given up, and is undone.
///
/// # Errors
/// The error of building, [`Code::Conflict`] after 50 attempts, or a failure of the store.
pub(crate) async fn retry_on_conflict<C, T, F, Fut>(records: &Records, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(std::result::Result<C, StoreError>, T)>>,
{
    for number in 0..MAX_ATTEMPTS {
        match attempt().await? {
            (Ok(_), out) => return Ok(out),
            (Err(StoreError::Sealed), _) if number == UNDO_ATTEMPT => {
                records.undo_deletion().await?;
            }
            (Err(StoreError::Conflict | StoreError::Sealed), _) => {}
            (Err(other), _) => return Err(store_error(other)),
        }
        if number >= IMMEDIATE_ATTEMPTS {
            let backoff = Duration::from_millis(number.min(MAX_BACKOFF_MS) as u64);
            tokio::time::sleep(backoff).await;
        }
    }
    Err(Code::Conflict.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use personium_store::Key;
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn key_that_no_engine_takes_is_refused_with_a_code_of_its_own() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let mut batch = Batch::new();
        batch.put(Key::table(b'k').text(&"x".repeat(2_700)).build(), "");
        let error = records.commit(batch).await.map_err(store_error);
        assert_eq!(error.unwrap_err().code(), Code::RecordTooLarge);
    }

    #[tokio::test]
    async fn only_conflicts_of_the_commit_are_retried() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let key = Key::table(b'k').u64(1).build();
        let mut builds = 0;
        let failed_build = records.transact(|| {
            builds += 1;
            std::future::ready(Result::<(Batch, ())>::Err(Code::Conflict.into()))
        });
        assert!(failed_build.await.is_err());
        assert_eq!(builds, 1);
        let failed_commits = records.transact(|| {
            builds += 1;
            let mut batch = Batch::new();
            if builds < 4 {
                batch.assert(key.clone(), Expect::Present);
            }
            std::future::ready(Ok((batch, ())))
        });
        failed_commits.await.unwrap();
        assert_eq!(builds, 4);
    }
}
