//! Answers that are rendered into memory, within the memory budget.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use http::{Extensions, Method, StatusCode};
use personium_model::{AnswerReservation, AnswerShare};
use personium_types::{Code, Result};

use crate::body::{self, Body, CHUNK_BYTES};
use crate::response::{self, Response};

/// The capacity that a text may have beyond its length when it is sent.
const SPARE_BYTES: usize = 64 << 10;

/// A text that becomes the body of a response. It is kept in parts, whose memory is released as they are sent.
pub(crate) struct AnswerText {
    /// The part that is being written.
    pub(crate) out: String,
    /// The memory of the text, and of what it is rendered from.
    pub(crate) memory: AnswerReservation,
    finished: VecDeque<Bytes>,
    finished_bytes: usize,
    /// The bytes that `memory` holds for the text.
    counted: usize,
}

impl AnswerText {
    /// An empty text of which about `expected_bytes` will be written. `memory` holds what it is rendered from.
    pub(crate) fn new(memory: AnswerReservation, expected_bytes: usize) -> Self {
        Self {
            out: String::with_capacity(expected_bytes.min(CHUNK_BYTES)),
            memory,
            finished: VecDeque::new(),
            finished_bytes: 0,
            counted: 0,
        }
    }

    /// Counts what was written. To be called from time to time.
    ///
    /// # Errors
    /// As [`AnswerReservation::hold`].
    pub(crate) fn count(&mut self) -> Result<()> {
        if self.out.len() >= CHUNK_BYTES {
            self.finish_part();
        }
        let bytes = self.finished_bytes + self.out.capacity();
        match bytes.checked_sub(self.counted) {
            Some(more) => self.memory.hold(more)?,
            None => self.memory.free(self.counted - bytes),
        }
        self.counted = bytes;
        Ok(())
    }

    fn finish_part(&mut self) {
        let mut part = mem::take(&mut self.out);
        if part.is_empty() {
            return;
        }
        if part.capacity() - part.len() > SPARE_BYTES {
            part.shrink_to_fit();
        }
        self.finished_bytes += part.len();
        self.finished.push_back(part.into());
    }

    /// The body. From now on `memory` holds nothing else.
    pub(crate) fn into_body(mut self) -> Body {
        self.finish_part();
        self.memory.keep(self.finished_bytes);
        if self.finished.len() <= 1 {
            let whole = self.finished.pop_front().unwrap_or_default();
            return body::full(body::held(whole, self.memory));
        }
        let mut memory = self.memory;
        let parts = self.finished.into_iter();
        let parts = parts.map(|part| {
            let own = memory.split(part.len());
            body::held(part, own)
        });
        body::of_parts(parts.collect())
    }

    /// The response with this text.
    pub(crate) fn into_response(self, media_type: &'static str) -> Response {
        let mut response = response::with_media_type(StatusCode::OK, media_type, self.into_body());
        mark_counted(&mut response);
        response
    }
}

/// The response with a text that was rendered at once. It is dropped if there is no memory for it.
///
/// # Errors
/// As [`AnswerReservation::hold`].
pub(crate) fn text(
    mut memory: AnswerReservation,
    media_type: &'static str,
    text: String,
) -> Result<Response> {
    memory.hold(text.len())?;
    let mut answer = AnswerText::new(memory, 0);
    answer.out = text;
    Ok(answer.into_response(media_type))
}

/// The response with bytes for which memory was reserved.
pub(crate) fn bytes(
    status: StatusCode,
    media_type: &'static str,
    bytes: impl Into<Bytes>,
    mut memory: AnswerReservation,
) -> Response {
    let bytes = bytes.into();
    memory.keep(bytes.len());
    let body = body::full(body::held(bytes, memory));
    let mut response = response::with_media_type(status, media_type, body);
    mark_counted(&mut response);
    response
}

/// The mark of a response whose memory is counted.
#[derive(Debug, Clone, Copy)]
struct Counted;

/// Marks a response whose body has its own reservations of memory.
pub(crate) fn mark_counted(response: &mut Response) {
    response.extensions_mut().insert(Counted);
}

/// The largest response to a change that is sent although there is no memory for it. Handlers of larger ones reserve it before.
const FORCED_MAX_BYTES: usize = 64 << 10;

/// Counts the memory of a response that is not marked. It is refused if there is no memory for it, unless it is the response to
/// a change and of at most [`FORCED_MAX_BYTES`].
///
/// # Errors
/// [`Code::ServerBusy`]
pub(crate) fn counted(
    response: Response,
    method: &Method,
    share: &AnswerShare,
) -> Result<Response> {
    let is_marked = |extensions: &Extensions| extensions.get::<Counted>().is_some();
    let bytes = http_body::Body::size_hint(response.body()).exact();
    let Some(bytes) = bytes.filter(|_| !is_marked(response.extensions())) else {
        return Ok(response);
    };
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut memory = share.reservation();
    let is_read = matches!(method.as_str(), "GET" | "PROPFIND");
    match is_read || bytes > FORCED_MAX_BYTES {
        true => memory.hold(bytes).map_err(|_| Code::ServerBusy)?,
        false => memory.hold_anyway(bytes),
    }
    Ok(match memory.is_counted() {
        true => response.map(|body| body::holding(body, memory)),
        false => response,
    })
}

#[cfg(test)]
mod tests;
