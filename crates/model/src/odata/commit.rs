//! Commits of changes below a service root.

use std::future::Future;
use std::pin::Pin;

use parking_lot::Mutex;
use personium_store::{Batch, Expect};
use personium_types::{Code, Result};

use super::root::{RootScope, ServiceRoot};
use crate::PostCommit;
use crate::commit::Invalidation;
use crate::keys;

/// The future of the consequences of events.
type ConsequencesFuture<'a> = Pin<Box<dyn Future<Output = Result<PostCommit>> + Send + 'a>>;

impl ServiceRoot {
    /// Builds a batch and commits it; see [`Records::transact`](crate::records::Records::transact).
    ///
    /// # Errors
    /// [`Code::Conflict`] if this root is stale; failures of the store.
    pub(super) async fn transact<T, F, Fut>(
        &self,
        invalidation: Invalidation,
        mut build: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        let without_post_commit = || {
            let built = Box::pin(build());
            async move {
                let (batch, out) = built.await?;
                Ok((batch, PostCommit::none(), out))
            }
        };
        self.transact_with(invalidation, without_post_commit).await
    }

    /// As [`Self::transact`], with post-commit actions; see [`Unit::transact_with`](crate::Unit::transact_with).
    pub(super) async fn transact_with<T, F, Fut>(
        &self,
        invalidation: Invalidation,
        mut build: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        let cell = self.context.as_ref().map(|context| context.cell());
        // The events of a change set are posted when it is committed.
        let staged_events = Mutex::new(Vec::new());
        let mut attempts = 0;
        let attempt = || {
            attempts += 1;
            let (is_retry, built) = (attempts > 1, Box::pin(build()));
            let staged_events = &staged_events;
            async move {
                if is_retry && self.is_stale().await? {
                    return Err(Code::Conflict.into());
                }
                let (mut batch, mut more, out) = built.await?;
                let events = more.take_events();
                if self.is_staged() {
                    *staged_events.lock() = events;
                } else if !events.is_empty() {
                    // The type of the future is part of those of most requests, whose depth the compiler limits.
                    let consequences: ConsequencesFuture<'_> =
                        Box::pin(self.add_events(&mut batch, events));
                    more = more.and(consequences.await?);
                }
                self.assert_unchanged(&mut batch);
                // A change set invalidates when it is committed.
                let cell = cell.filter(|_| !self.is_staged());
                let first = cell.map(|cell| PostCommit::invalidating(cell, invalidation));
                Ok((batch, first.unwrap_or_default().and(more), out))
            }
        };
        let out = self.unit.transact_with(&self.records, attempt).await?;
        if let Some(reporter) = &self.reporter {
            reporter.keep(staged_events.into_inner());
        }
        Ok(out)
    }

    /// Adds to a batch that the pinned record is unchanged. A batch that writes data also asserts the version of the
    /// schema; one that writes the schema changes that version.
    fn assert_unchanged(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if let Some((key, version)) = &self.pinned {
            batch.assert(key.clone(), Expect::Version(*version));
        }
        match self.scope {
            RootScope::Data(collection) => {
                let version = self.user_schema().and_then(|schema| schema.version);
                let expect = version.map_or(Expect::Absent, Expect::Version);
                batch.assert(keys::schema_version(&collection), expect);
            }
            RootScope::Schema(collection) => {
                batch.replace(keys::schema_version(&collection), Vec::new());
            }
            RootScope::Unit | RootScope::Cell => {}
        }
    }
}
