//! Reading an object from a position on.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};
use personium_store::{ErrorDetail, Result, StoreError};

use crate::failure;

/// The message of errors.
const FAILED: &str = "failed to read a file body";

/// An object that is read.
pub(crate) struct ObjectSource {
    pub(crate) store: Arc<AmazonS3>,
    pub(crate) name: Path,
    response: Option<OpenResponse>,
}

/// A response of which a part was read.
struct OpenResponse {
    /// The position of what follows.
    next: u64,
    /// The bytes that arrived and were not read.
    rest: Bytes,
    pieces: BoxStream<'static, Result<Bytes, Error>>,
}

impl ObjectSource {
    pub(crate) const fn new(store: Arc<AmazonS3>, name: Path) -> Self {
        Self {
            store,
            name,
            response: None,
        }
    }

    /// Reads the last bytes of the object, at most `max`. Returns the position of the first of them; `None` if there is no such
    /// object.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn read_tail(&mut self, max: u64) -> Result<Option<(u64, Bytes)>> {
        let read = async {
            let found = get(&self.store, &self.name, GetRange::Suffix(max)).await?;
            let start = found.range.start;
            Ok((start, found.bytes().await?))
        };
        match failure::run(FAILED, read).await {
            // Some servers refuse a range that is longer than the object: then the whole object is short.
            Err(StoreError::Unsupported(_)) => {}
            other => return other,
        }
        let whole = async { self.store.get(&self.name).await?.bytes().await };
        let whole = failure::run(FAILED, whole).await?;
        Ok(whole.map(|bytes| (0, bytes)))
    }

    /// Reads a range. If a response must be opened for it, that is one to `open_end`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn read(&mut self, range: Range<u64>, open_end: u64) -> Result<Bytes> {
        let opened = self.response.take();
        let response = match opened.filter(|open| open.next == range.start) {
            Some(open) => open,
            None => self.open(range.start..open_end.max(range.end)).await?,
        };
        self.continue_reading(response, range).await
    }

    /// Forgets the response, so that the next read opens a new one.
    pub(crate) fn close(&mut self) {
        self.response = None;
    }

    async fn open(&mut self, range: Range<u64>) -> Result<OpenResponse> {
        let next = range.start;
        let found = get(&self.store, &self.name, GetRange::Bounded(range));
        let found = failure::run_existing(FAILED, found).await?;
        Ok(OpenResponse {
            next,
            rest: Bytes::new(),
            pieces: found.into_stream(),
        })
    }

    async fn continue_reading(
        &mut self,
        mut response: OpenResponse,
        range: Range<u64>,
    ) -> Result<Bytes> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut read = BytesMut::with_capacity(wanted);
        while read.len() < wanted {
            if response.rest.is_empty() {
                let next = async { response.pieces.next().await.transpose() };
                let piece = failure::run_existing(FAILED, next).await?;
                let ended = || StoreError::Down(ErrorDetail::new("the response ended too early"));
                response.rest = piece.ok_or_else(ended)?;
            }
            let missing = (wanted - read.len()).min(response.rest.len());
            read.extend_from_slice(&response.rest.split_to(missing));
        }
        response.next = range.end;
        self.response = Some(response);
        Ok(read.freeze())
    }
}

async fn get(store: &AmazonS3, name: &Path, range: GetRange) -> Result<GetResult, Error> {
    let options = GetOptions {
        range: Some(range),
        ..GetOptions::default()
    };
    store.get_opts(name, options).await
}
