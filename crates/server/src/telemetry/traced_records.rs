//! A record store whose calls are spans.

use std::sync::Arc;

use async_trait::async_trait;
use personium_store::{
    Batch, ChangedSpaces, CommitSeq, Direction, JournalPage, JournalPosition, Key, KeyRange, Limit,
    Record, RecordSnapshot, RecordStore, Result, SmallSpace, Snapshot, Space, StoreError,
    StructureVersion,
};
use personium_trace::{Attribute, Span, child};

/// Makes a span of each call that belongs to a request or to background work that is recorded.
pub(crate) struct TracedRecords(pub Arc<dyn RecordStore>);

/// Runs a call as the work of a span, and marks it if it fails.
pub(super) async fn traced<T>(span: Span, call: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = span.scope(call).await;
    if let Err(error) = &outcome
        && let Some(word) = failure(error)
    {
        span.fail(word);
    }
    outcome
}

/// A failure as a word. A conflict is none: the batch is tried again.
pub(super) const fn failure(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Conflict => None,
        StoreError::Sealed => Some("sealed"),
        StoreError::SpaceDropped => Some("dropped"),
        StoreError::Busy(_) => Some("busy"),
        StoreError::Full(_) => Some("full"),
        StoreError::OverQuota(_) => Some("over_quota"),
        StoreError::ReadOnly(_) => Some("read_only"),
        StoreError::Down(_) => Some("down"),
        StoreError::TooLarge(_) => Some("too_large"),
        StoreError::Corrupt(_) => Some("corrupt"),
        StoreError::Unsupported(_) => Some("unsupported"),
    }
}

/// A span of a call about so many things.
fn counted(name: &'static str, items: usize) -> Span {
    let span = child(name);
    span.set(Attribute::Items(items as u64));
    span
}

#[warn(
    clippy::missing_trait_methods,
    reason = "a default would hide what the wrapped store does"
)]
#[async_trait]
impl RecordStore for TracedRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        let span = counted("store.get", keys.len());
        traced(span, self.0.get(space, keys)).await
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        traced(child("store.scan"), self.0.scan(space, range, order, limit)).await
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        traced(child("store.count"), self.0.count(space, range)).await
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        traced(child("store.structure"), self.0.structure(space)).await
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        let span = child("store.commit");
        traced(span, self.0.commit(space, batch)).await
    }

    async fn prune_journal(&self, space: &Space) -> Result<()> {
        let span = child("store.prune_journal");
        traced(span, self.0.prune_journal(space)).await
    }

    async fn create_space(&self, space: &Space) -> Result<()> {
        traced(child("store.create_space"), self.0.create_space(space)).await
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        let call = self.0.list_spaces(after, limit);
        traced(child("store.list_spaces"), call).await
    }

    async fn journal(
        &self,
        space: &Space,
        after: JournalPosition,
        limit: Limit,
    ) -> Result<Option<JournalPage>> {
        let call = self.0.journal(space, after, limit);
        traced(child("store.journal"), call).await
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    async fn next_sequenced(&self) -> Option<Space> {
        self.0.next_sequenced().await
    }

    fn has_news(&self) -> bool {
        self.0.has_news()
    }

    fn changed_spaces(&self, since: Option<u64>) -> Option<ChangedSpaces> {
        self.0.changed_spaces(since)
    }

    fn is_full(&self) -> bool {
        self.0.is_full()
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        traced(child("store.drop_space"), self.0.drop_space(space)).await
    }

    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        traced(child("store.snapshot"), self.0.snapshot(space)).await
    }

    async fn small_space(&self, space: &Space, limit: Limit) -> Result<Option<SmallSpace>> {
        let call = self.0.small_space(space, limit);
        traced(child("store.small_space"), call).await
    }

    async fn find_damage(&self, space: &Space) -> Result<Option<String>> {
        traced(child("store.find_damage"), self.0.find_damage(space)).await
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
