//! The response of a script on its way to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::failure::ScriptFailure;
use crate::host::{HostError, HostErrorKind};

/// The bytes that are kept before the head of the response is sent: a failure up to there is still an answer of its own.
const KEPT_BYTES: usize = 64 << 10;
/// The largest chunk of a response, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// The number of chunks that wait for a slow client.
const CHUNKS_WAITING: usize = 4;

/// The response of a script.
#[derive(Debug)]
pub struct ScriptResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: ScriptBody,
}

/// The body of the response of a script.
#[derive(Debug)]
pub enum ScriptBody {
    /// In memory.
    Whole(Bytes),
    /// The chunks as the script makes them.
    Stream(ScriptChunks),
}

/// The chunks of a response as the script makes them.
#[derive(Debug)]
pub struct ScriptChunks {
    chunks: mpsc::Receiver<Bytes>,
    is_complete: Arc<AtomicBool>,
}

impl ScriptChunks {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// [`BrokenOff`] if the script ended before the response was complete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        match self.chunks.recv().await {
            Some(chunk) => Ok(Some(chunk)),
            None if self.is_complete.load(Ordering::Acquire) => Ok(None),
            None => Err(BrokenOff),
        }
    }
}

/// The script ended before its response was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the script ended before its response was complete")]
pub struct BrokenOff;

/// The status and headers of a response.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl ResponseHead {
    /// The head with media types as the original writes them.
    fn with_short_media_type(mut self) -> Self {
        for (name, value) in &mut self.headers {
            if name.eq_ignore_ascii_case("content-type")
                && let Some(short) = short_media_type(value)
            {
                *value = short;
            }
        }
        self
    }
}

/// A media type with a character set: without blanks, the character set last. `None` if it has none, or texts in quotes.
fn short_media_type(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut charset = None;
    for part in text.split(';').map(str::trim) {
        match part.split_once('=') {
            Some((name, value)) if name.trim_end().eq_ignore_ascii_case("charset") => {
                charset = Some(value.trim());
            }
            _ if part.is_empty() => {}
            _ if out.is_empty() => out.push_str(part),
            _ => {
                out.push(';');
                out.push_str(part);
            }
        }
    }
    let charset = charset.filter(|_| !text.contains('"'))?;
    Some(format!("{out};charset={charset}"))
}

/// Where a response goes.
#[async_trait]
pub(crate) trait ResponseSink: Send {
    /// The whole response.
    fn whole(&mut self, head: ResponseHead, body: Bytes);

    /// The response begins; its body follows in chunks.
    ///
    /// # Errors
    /// The client is gone.
    async fn begin(&mut self, head: ResponseHead) -> Result<(), HostError>;

    /// The next chunk of the body.
    ///
    /// # Errors
    /// The client is gone.
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), HostError>;

    /// The response is complete. With a failure it is that, or is broken off if it has begun.
    fn end(&mut self, failure: Option<ScriptFailure>);
}

/// The response of a script that runs.
pub(crate) struct Output {
    head: Option<ResponseHead>,
    kept: Vec<u8>,
    written: u64,
    max_bytes: u64,
    has_begun: bool,
    sink: Box<dyn ResponseSink>,
}

impl Output {
    pub(crate) fn new(sink: Box<dyn ResponseSink>, max_bytes: u64) -> Self {
        Self {
            head: None,
            kept: Vec::new(),
            written: 0,
            max_bytes,
            has_begun: false,
            sink,
        }
    }

    /// Sets status and headers. Later calls change nothing that was sent.
    pub(crate) fn set_head(&mut self, head: ResponseHead) {
        self.head = Some(head.with_short_media_type());
    }

    /// Adds to the body. Returns what is to be sent by [`Self::send`], if any.
    ///
    /// # Errors
    /// [`HostErrorKind::TooLarge`] if the body is larger than the limit.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) -> Result<Option<Bytes>, HostError> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.max_bytes {
            let text = format!("the response has more than {} bytes", self.max_bytes);
            return Err(HostError::new(HostErrorKind::TooLarge, &text));
        }
        if self.has_begun {
            return Ok(Some(bytes.into()));
        }
        self.kept.extend_from_slice(&bytes);
        let is_due = self.kept.len() >= KEPT_BYTES;
        Ok(is_due.then(|| std::mem::take(&mut self.kept).into()))
    }

    /// Sends a part of the body, before the first one the head.
    ///
    /// # Errors
    /// [`HostErrorKind::Argument`] if there is no head; the client is gone.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> Result<(), HostError> {
        if !self.has_begun {
            let missing = || HostError::new(HostErrorKind::Argument, "no status");
            let head = self.head.take().ok_or_else(missing)?;
            self.has_begun = true;
            self.sink.begin(head).await?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            self.sink.chunk(chunk).await?;
        }
        Ok(())
    }

    /// Ends the response.
    pub(crate) fn finish(mut self) {
        if !self.has_begun {
            let Some(head) = self.head.take() else {
                return self.fail(ScriptFailure::Engine("no response".to_owned()));
            };
            self.sink.whole(head, std::mem::take(&mut self.kept).into());
        }
        self.sink.end(None);
    }

    /// Ends the response with a failure. If it had already begun, it is broken off.
    pub(crate) fn fail(mut self, failure: ScriptFailure) {
        self.sink.end(Some(failure));
    }
}

/// The way of a response to the request in this process.
pub(crate) struct LocalSink {
    response: Option<oneshot::Sender<Result<ScriptResponse, ScriptFailure>>>,
    chunks: Option<mpsc::Sender<Bytes>>,
    is_complete: Arc<AtomicBool>,
}

impl LocalSink {
    pub(crate) fn new(response: oneshot::Sender<Result<ScriptResponse, ScriptFailure>>) -> Self {
        Self {
            response: Some(response),
            chunks: None,
            is_complete: Arc::default(),
        }
    }

    fn answer(&mut self, head: ResponseHead, body: ScriptBody) {
        let response = ScriptResponse {
            status: head.status,
            headers: head.headers,
            body,
        };
        if let Some(sender) = self.response.take() {
            // The caller may be gone.
            let _ = sender.send(Ok(response));
        }
    }
}

#[async_trait]
impl ResponseSink for LocalSink {
    fn whole(&mut self, head: ResponseHead, body: Bytes) {
        self.answer(head, ScriptBody::Whole(body));
    }

    async fn begin(&mut self, head: ResponseHead) -> Result<(), HostError> {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        let chunks = ScriptChunks {
            chunks: receiver,
            is_complete: Arc::clone(&self.is_complete),
        };
        self.answer(head, ScriptBody::Stream(chunks));
        self.chunks = Some(sender);
        Ok(())
    }

    async fn chunk(&mut self, bytes: Bytes) -> Result<(), HostError> {
        let gone = || HostError::new(HostErrorKind::Response, "the client is gone");
        let chunks = self.chunks.as_ref().ok_or_else(gone)?;
        chunks.send(bytes).await.map_err(|_| gone())
    }

    fn end(&mut self, failure: Option<ScriptFailure>) {
        match failure {
            // Before the channel is closed.
            None => self.is_complete.store(true, Ordering::Release),
            Some(failure) => {
                if let Some(sender) = self.response.take() {
                    // The caller may be gone.
                    let _ = sender.send(Err(failure));
                }
            }
        }
        self.chunks = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_have_their_character_set_last() {
        for (given, short) in [
            (
                "text/html; charset=Shift_JIS",
                Some("text/html;charset=Shift_JIS"),
            ),
            (
                "text/plain; CHARSET = utf-8 ; a=b;",
                Some("text/plain;a=b;charset=utf-8"),
            ),
            ("text/plain;charset=utf-8", Some("text/plain;charset=utf-8")),
            ("text/plain; a=b", None),
            ("text/plain", None),
            ("text/plain; a=\"x;y\"; charset=utf-8", None),
        ] {
            assert_eq!(short_media_type(given).as_deref(), short, "{given}");
        }
    }
}
