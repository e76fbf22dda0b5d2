//! Bodies between the API and scripts.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use personium_script::{ByteStream, HostError, HostErrorKind, ScriptChunks};
use personium_types::error::chain;

use crate::body::{self, Body, BoxError};

/// A body as a script reads it.
pub(super) struct InputStream(
    // A body is not `Sync`. The lock makes it so; it is never contended.
    Mutex<Body>,
);

impl InputStream {
    pub(super) fn new(body: Body) -> Self {
        Self(Mutex::new(body))
    }
}

#[async_trait]
impl ByteStream for InputStream {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        let broken = |error| HostError::new(HostErrorKind::Response, &chain(&error).to_string());
        body::next_chunk(self.0.get_mut()).await.map_err(broken)
    }
}

/// The body of a request that a script sends.
pub(super) fn request_body(stream: Box<dyn ByteStream>) -> Body {
    let chunks = futures_util::stream::try_unfold(stream, |mut stream| async {
        match stream.next().await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, stream))),
            Err(error) => Err(BoxError::from(error)),
        }
    });
    body::of_stream(chunks)
}

/// The body of the response of a script.
pub(super) fn response_body(chunks: ScriptChunks) -> Body {
    let chunks = futures_util::stream::try_unfold(chunks, |mut chunks| async {
        match chunks.next().await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, chunks))),
            Err(error) => Err(BoxError::from(error)),
        }
    });
    body::of_stream(chunks)
}
