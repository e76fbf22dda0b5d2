//! The response of a script on its way to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::failure::ScriptFailure;
use crate::host::{HostError, HostErrorKind};

/// The bytes that are kept before the head of the response is sent: a failure up to there is still an answer of its own.
const KEPT_BYTES: usize = 64 << 10;
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
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

/// Where the response of a script goes.
pub(crate) struct Output {
    head: Option<ResponseHead>,
    kept: Vec<u8>,
    written: u64,
    max_bytes: u64,
    response: Option<oneshot::Sender<Result<ScriptResponse, ScriptFailure>>>,
    chunks: Option<mpsc::Sender<Bytes>>,
    is_complete: Arc<AtomicBool>,
}

impl Output {
    pub(crate) fn new(
        response: oneshot::Sender<Result<ScriptResponse, ScriptFailure>>,
        max_bytes: u64,
    ) -> Self {
        Self {
            head: None,
            kept: Vec::new(),
            written: 0,
            max_bytes,
            response: Some(response),
            chunks: None,
            is_complete: Arc::default(),
        }
    }

    /// Sets status and headers. Later calls change nothing that was sent.
    pub(crate) fn set_head(&mut self, head: ResponseHead) {
        self.head = Some(head);
    }

    /// Adds to the body. Returns the channel and the chunk that is to be sent through it, if any.
    ///
    /// # Errors
    /// [`HostErrorKind::TooLarge`] if the body is larger than the limit; [`HostErrorKind::Argument`] if there is no head.
    pub(crate) fn write(
        &mut self,
        bytes: Vec<u8>,
    ) -> Result<Option<(mpsc::Sender<Bytes>, Bytes)>, HostError> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.max_bytes {
            let text = format!("the response has more than {} bytes", self.max_bytes);
            return Err(HostError::new(HostErrorKind::TooLarge, &text));
        }
        if let Some(chunks) = &self.chunks {
            return Ok(Some((chunks.clone(), bytes.into())));
        }
        self.kept.extend_from_slice(&bytes);
        if self.kept.len() < KEPT_BYTES {
            return Ok(None);
        }
        let Some(head) = self.head.take() else {
            return Err(HostError::new(HostErrorKind::Argument, "no status"));
        };
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        let chunks = ScriptChunks {
            chunks: receiver,
            is_complete: Arc::clone(&self.is_complete),
        };
        self.answer(head, ScriptBody::Stream(chunks));
        self.chunks = Some(sender.clone());
        Ok(Some((sender, std::mem::take(&mut self.kept).into())))
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

    /// Ends the response.
    pub(crate) fn finish(mut self) {
        // Before the channel is closed.
        self.is_complete.store(true, Ordering::Release);
        if self.chunks.is_some() {
            return;
        }
        match self.head.take() {
            Some(head) => {
                let body = ScriptBody::Whole(std::mem::take(&mut self.kept).into());
                self.answer(head, body);
            }
            None => self.fail(ScriptFailure::Engine("no response".to_owned())),
        }
    }

    /// Ends the response with a failure. If it had already begun, it is broken off.
    pub(crate) fn fail(mut self, failure: ScriptFailure) {
        if let Some(sender) = self.response.take() {
            // The caller may be gone.
            let _ = sender.send(Err(failure));
        }
    }
}
