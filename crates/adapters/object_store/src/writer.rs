//! Writing of bodies.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt, PutPayload};
use personium_store::checksums::Checksums;
use personium_store::{BlobWriter, ErrorDetail, Result, StoreError};
use personium_types::BlobId;
use personium_types::error::chain;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::failure;
use crate::live_writers::LiveWriter;

/// The number of parts of a body that are sent at the same time. One more is being filled.
const MAX_PARTS_IN_FLIGHT: usize = 2;

/// The number of parts after which the size of further parts is doubled, so that 10,000 parts are enough for a large body.
const PARTS_OF_ONE_SIZE: usize = 2_000;

/// The largest number of parts that servers accept.
const MAX_PARTS: usize = 10_000;

/// The message of errors.
const FAILED: &str = "failed to write a file body";

/// A body that is being written.
pub(crate) struct ObjectWriter {
    pub(crate) store: Arc<AmazonS3>,
    pub(crate) name: Path,
    pub(crate) id: BlobId,
    pub(crate) part_bytes: usize,
    pub(crate) live: LiveWriter,
    pub(crate) progress: WriteProgress,
}

/// The state of a body that is being written.
#[derive(Default)]
pub(crate) struct WriteProgress {
    /// The bytes of the part that is being filled.
    buffer: BytesMut,
    checksums: Checksums,
    /// The number of bytes of the parts before.
    sent_bytes: u64,
    upload: Option<MultipartWrite>,
    failed: bool,
}

/// A multipart upload, which is aborted on drop unless it was completed.
struct MultipartWrite {
    store: Arc<AmazonS3>,
    name: Path,
    id: MultipartId,
    parts: Vec<PartId>,
    in_flight: VecDeque<JoinHandle<Result<PartId>>>,
    completed: bool,
}

impl Drop for MultipartWrite {
    fn drop(&mut self) {
        for part in &self.in_flight {
            part.abort();
        }
        if self.completed {
            return;
        }
        let (store, name, id) = (Arc::clone(&self.store), self.name.clone(), self.id.clone());
        let abort = async move {
            let aborted = store.abort_multipart(&name, &id);
            if let Err(error) = failure::run("failed to abort an upload", aborted).await {
                tracing::warn!(object = %name, error = %chain(&error), "an unfinished upload stays until it is old");
            }
        };
        // Without a runtime the process is about to end; the upload is removed when it is old.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(abort);
        }
    }
}

impl MultipartWrite {
    async fn begin(store: &Arc<AmazonS3>, name: &Path) -> Result<Self> {
        let id = failure::run_existing(FAILED, store.create_multipart(name)).await?;
        Ok(Self {
            store: Arc::clone(store),
            name: name.clone(),
            id,
            parts: Vec::new(),
            in_flight: VecDeque::new(),
            completed: false,
        })
    }

    fn part_count(&self) -> usize {
        self.parts.len() + self.in_flight.len()
    }

    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        if self.part_count() >= MAX_PARTS {
            let text = "the file body has too many parts";
            return Err(StoreError::Full(ErrorDetail::new(text)));
        }
        if self.in_flight.len() >= MAX_PARTS_IN_FLIGHT {
            self.await_oldest().await?;
        }
        let (store, name, id) = (Arc::clone(&self.store), self.name.clone(), self.id.clone());
        let number = self.part_count();
        self.in_flight.push_back(tokio::spawn(async move {
            let sent = store.put_part(&name, &id, number, PutPayload::from(bytes));
            failure::run_existing(FAILED, sent).await
        }));
        Ok(())
    }

    async fn await_oldest(&mut self) -> Result<()> {
        if let Some(oldest) = self.in_flight.front_mut() {
            let part = oldest
                .await
                .map_err(|error| StoreError::Down(ErrorDetail::new(FAILED).with_source(error)));
            self.in_flight.pop_front();
            self.parts.push(part??);
        }
        Ok(())
    }

    /// Completes the upload: the object exists afterwards, with `len` bytes.
    async fn complete(&mut self, len: u64) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.await_oldest().await?;
        }
        let parts = std::mem::take(&mut self.parts);
        let completed = self.store.complete_multipart(&self.name, &self.id, parts);
        match failure::run_existing(FAILED, completed).await {
            Ok(_) => {}
            // The response can have been lost. Nobody else writes this name, so what is there is this upload.
            Err(error) => match failure::run(FAILED, self.store.head(&self.name)).await {
                Ok(Some(found)) if found.size == len => {}
                _ => return Err(error),
            },
        }
        self.completed = true;
        Ok(())
    }
}

impl ObjectWriter {
    /// The size of the part that is being filled.
    fn part_bytes(&self) -> usize {
        let upload = self.progress.upload.as_ref();
        let count = upload.map_or(0, MultipartWrite::part_count);
        self.part_bytes << (count / PARTS_OF_ONE_SIZE)
    }

    async fn send_full_parts(&mut self) -> Result<()> {
        while self.progress.buffer.len() >= self.part_bytes() {
            let part = self.part_bytes();
            let bytes = self.progress.buffer.split_to(part).freeze();
            self.send(bytes).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        let len = bytes.len() as u64;
        let mut upload = match self.progress.upload.take() {
            Some(upload) => upload,
            None => MultipartWrite::begin(&self.store, &self.name).await?,
        };
        upload.send(bytes).await?;
        self.progress.sent_bytes += len;
        self.progress.upload = Some(upload);
        Ok(())
    }

    async fn publish(&mut self) -> Result<()> {
        let tail = std::mem::take(&mut self.progress.checksums).finish();
        self.progress.buffer.extend_from_slice(&tail);
        let last = self.progress.buffer.split().freeze();
        if self.progress.upload.is_none() {
            let put = self.store.put(&self.name, PutPayload::from(last));
            return failure::run_existing(FAILED, put).await.map(drop);
        }
        self.send(last).await?;
        let len = self.progress.sent_bytes;
        match &mut self.progress.upload {
            Some(upload) => upload.complete(len).await,
            None => Err(already_failed()),
        }
    }
}

fn already_failed() -> StoreError {
    StoreError::Down(ErrorDetail::new("an earlier write to the file body failed"))
}

#[async_trait]
impl BlobWriter for ObjectWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.progress.failed {
            return Err(already_failed());
        }
        self.progress.checksums.update(&chunk);
        self.progress.buffer.extend_from_slice(&chunk);
        self.progress.failed = true;
        self.send_full_parts().await?;
        self.progress.failed = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobId> {
        if self.progress.failed {
            return Err(already_failed());
        }
        self.publish().await?;
        if self.live.is_dropped() {
            failure::run(
                "failed to remove a file body",
                self.store.delete(&self.name),
            )
            .await?;
            return Err(StoreError::SpaceDropped);
        }
        Ok(self.id)
    }
}
