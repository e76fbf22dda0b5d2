//! A store of file bodies whose reads and writes are spans.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::{BlobReader, BlobStore, BlobWriter, Result, Space, StorageUsage, StoreError};
use personium_trace::{Span, child};
use personium_types::BlobId;

use super::traced_records::{failure, traced};

/// Makes a span of each body that is read or written, from its begin to its end, and of other calls.
pub(crate) struct TracedBodies(pub Arc<dyn BlobStore>);

/// A body that is being written, and its span.
struct TracedWriter {
    inner: Box<dyn BlobWriter>,
    span: Span,
}

/// A body that is being read, and its span.
struct TracedReader {
    inner: Box<dyn BlobReader>,
    span: Span,
}

/// Marks the span of a call that has failed.
fn noted<T>(span: &Span, outcome: Result<T>) -> Result<T> {
    if let Err(error) = &outcome {
        note_failure(span, error);
    }
    outcome
}

fn note_failure(span: &Span, error: &StoreError) {
    if let Some(word) = failure(error) {
        span.fail(word);
    }
}

fn writer(span: Span, created: Result<Box<dyn BlobWriter>>) -> Result<Box<dyn BlobWriter>> {
    let inner = noted(&span, created)?;
    Ok(match span.is_recorded() {
        true => Box::new(TracedWriter { inner, span }),
        false => inner,
    })
}

#[warn(
    clippy::missing_trait_methods,
    reason = "a default would hide what the wrapped store does"
)]
#[async_trait]
impl BlobStore for TracedBodies {
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>> {
        let span = child("body.write");
        let created = span.scope(self.0.create(space)).await;
        writer(span, created)
    }

    async fn create_with_id(&self, space: &Space, id: &BlobId) -> Result<Box<dyn BlobWriter>> {
        let span = child("body.write");
        let created = span.scope(self.0.create_with_id(space, id)).await;
        writer(span, created)
    }

    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>> {
        let span = child("body.read");
        let opened = span.scope(self.0.open(space, id)).await;
        let Some(inner) = noted(&span, opened)? else {
            return Ok(None);
        };
        Ok(Some(match span.is_recorded() {
            true => Box::new(TracedReader { inner, span }),
            false => inner,
        }))
    }

    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()> {
        traced(child("body.remove"), self.0.remove(space, id)).await
    }

    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        min_age: Duration,
        limit: usize,
    ) -> Result<Vec<BlobId>> {
        let call = self.0.list(space, after, min_age, limit);
        traced(child("body.list"), call).await
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        traced(child("body.drop_space"), self.0.drop_space(space)).await
    }

    async fn kept_bytes(&self, space: &Space) -> Result<u64> {
        self.0.kept_bytes(space).await
    }

    async fn free_kept(&self) -> Result<()> {
        self.0.free_kept().await
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }

    async fn usage(&self) -> Result<Option<StorageUsage>> {
        self.0.usage().await
    }
}

#[async_trait]
impl BlobWriter for TracedWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        noted(&self.span, self.inner.write(chunk).await)
    }

    async fn finish(self: Box<Self>) -> Result<BlobId> {
        let Self { inner, span } = *self;
        noted(&span, inner.finish().await)
    }
}

#[async_trait]
impl BlobReader for TracedReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Bytes> {
        noted(&self.span, self.inner.read_at(offset, max).await)
    }
}
