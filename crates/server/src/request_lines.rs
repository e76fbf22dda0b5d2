//! The request lines of a connection, as they were sent. A parsed request has no fragment: hyper cuts it off.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use http::{Method, Uri};
use memchr::memmem::{self, Finder};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of request lines that are kept. More are sent by nobody who waits for responses.
const LINES_MAX: usize = 32;
/// The size of the longest method that is looked for.
const METHOD_MAX_BYTES: usize = 32;
/// The part of a request line after its target.
const VERSION: &[u8] = b" HTTP/1.";
/// The end of the head of a request.
const HEAD_END: &[u8] = b"\r\n\r\n";

static HEAD_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(HEAD_END));

/// A request line.
struct RequestLine {
    /// The end of what is before the target: the method, and before it what may be left of an unread body. Then the target up
    /// to a fragment.
    text: Vec<u8>,
    /// The place in `text` where the target begins.
    target_start: usize,
    has_fragment: bool,
}

impl RequestLine {
    /// Whether it is that of a request with this method and URI.
    fn is_of(&self, method: &Method, uri: &Uri) -> bool {
        let Some((before, target)) = self.text.split_at_checked(self.target_start) else {
            return false;
        };
        if !before.ends_with(method.as_str().as_bytes()) {
            return false;
        }
        // The usual form of a target is a path. A URI of that form has no other parts.
        if let (None, Some(path)) = (uri.scheme(), uri.path_and_query())
            && path.as_str().as_bytes() == target
        {
            return true;
        }
        let uri = uri.to_string();
        let uri = uri.as_bytes();
        uri == target || uri.strip_suffix(b"/") == Some(target)
    }
}

/// The request lines that were received and not yet answered. Lines of bodies that look like them may be among them.
#[derive(Default)]
struct KeptLines {
    lines: VecDeque<RequestLine>,
    /// The memory of a line that was forgotten, for the next one.
    spare: Vec<u8>,
}

/// The request lines of a connection, shared by the one who reads it and the one who answers.
#[derive(Default)]
pub(crate) struct RequestLines {
    kept: Mutex<KeptLines>,
    /// Whether there may be lines among them.
    has_lines: AtomicBool,
    /// Whether a body is being received: what is read then is not searched for request lines.
    in_body: AtomicBool,
}

impl RequestLines {
    /// Notes that a request is being answered. Returns whether its target was sent with a fragment. Its line, and all before
    /// it, are forgotten.
    pub(crate) fn begin_request(&self, method: &Method, uri: &Uri, has_body: bool) -> bool {
        self.in_body.store(has_body, Ordering::Release);
        if !self.has_lines() {
            return false;
        }
        let mut kept = self.kept.lock();
        let found = kept.lines.iter().position(|line| line.is_of(method, uri));
        let Some(index) = found else { return false };
        let Some(line) = kept.lines.drain(..=index).next_back() else {
            return false;
        };
        self.has_lines
            .store(!kept.lines.is_empty(), Ordering::Release);
        kept.spare = line.text;
        line.has_fragment
    }

    /// Notes that a request with a body was answered, and forgets all lines: those that are left are of the body.
    pub(crate) fn end_body(&self) {
        self.kept.lock().lines.clear();
        self.has_lines.store(false, Ordering::Release);
        self.in_body.store(false, Ordering::Release);
    }

    /// Notes that no more requests follow, because the connection has changed to another protocol. Nothing is kept from now on.
    pub(crate) fn end_requests(&self) {
        *self.kept.lock() = KeptLines::default();
        self.has_lines.store(false, Ordering::Release);
        self.in_body.store(true, Ordering::Release);
    }

    fn has_lines(&self) -> bool {
        self.has_lines.load(Ordering::Acquire)
    }

    fn is_in_body(&self) -> bool {
        self.in_body.load(Ordering::Acquire)
    }

    fn add(&self, line: &[u8]) {
        let Some((before, target)) = split(line) else {
            return;
        };
        let target_end = memchr::memchr(b'#', target);
        let mut kept = self.kept.lock();
        if kept.lines.len() == LINES_MAX {
            kept.lines.pop_front();
        }
        let mut text = std::mem::take(&mut kept.spare);
        text.clear();
        text.extend_from_slice(before);
        text.extend_from_slice(
            target
                .get(..target_end.unwrap_or(target.len()))
                .unwrap_or(target),
        );
        self.has_lines.store(true, Ordering::Release);
        kept.lines.push_back(RequestLine {
            text,
            target_start: before.len(),
            has_fragment: target_end.is_some(),
        });
    }
}

/// Splits a line, up to its version, into the end of what is before the target, and the target; `None` if it is no request
/// line.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.get(..memmem::rfind(line, VERSION)?)?;
    let space = memchr::memrchr(b' ', line)?;
    let (before, target) = line.split_at(space);
    let method_start = before.len().saturating_sub(METHOD_MAX_BYTES);
    Some((before.get(method_start..)?, target.get(1..)?))
}

/// Whether these bytes are the whole head of one request, with nothing before or after it, and without a fragment. Most reads
/// are that, and nothing of it needs to be kept: its request begins before more is read, so no later line is taken for its own.
fn is_one_head(bytes: &[u8]) -> bool {
    memchr::memchr(b'#', bytes).is_none()
        && bytes.ends_with(HEAD_END)
        && HEAD_FINDER.find(bytes) == Some(bytes.len() - HEAD_END.len())
}

/// A connection whose request lines are kept as they are read.
pub(crate) struct RequestLineReader<S> {
    inner: S,
    lines: Arc<RequestLines>,
    /// The begin of a line whose end was not read yet.
    begin: Vec<u8>,
    /// Whether that line is longer than a request line can be.
    is_too_long: bool,
    /// The size from which on a line is no request line.
    line_max_bytes: usize,
}

impl<S> RequestLineReader<S> {
    /// Wraps a connection.
    pub(crate) fn new(inner: S, lines: Arc<RequestLines>, line_max_bytes: usize) -> Self {
        Self {
            inner,
            lines,
            begin: Vec::new(),
            is_too_long: false,
            line_max_bytes,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        if self.lines.is_in_body() {
            // What follows the body is not sent before its response, except by clients that send several requests at once.
            self.begin = Vec::new();
            self.is_too_long = false;
            return;
        }
        if self.begin.is_empty()
            && !self.is_too_long
            && !self.lines.has_lines()
            && is_one_head(bytes)
        {
            return;
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return self.keep(bytes);
        };
        let (first, rest) = bytes.split_at(end + 1);
        self.keep(first);
        if memmem::find(&self.begin, VERSION).is_some() {
            self.lines.add(&self.begin);
        }
        self.begin.clear();
        self.is_too_long = false;
        let complete = memchr::memrchr(b'\n', rest).map_or(0, |end| end + 1);
        let (lines, begin) = rest.split_at(complete);
        self.read_lines(lines);
        self.keep(begin);
    }

    /// Reads whole lines.
    fn read_lines(&mut self, mut lines: &[u8]) {
        while let Some(found) = memmem::find(lines, VERSION) {
            let (before, from_version) = lines.split_at(found);
            let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
            let length = memchr::memchr(b'\n', from_version).unwrap_or(from_version.len());
            if let Some(line) = lines.get(start..found + length) {
                self.lines.add(line);
            }
            lines = from_version.get(length..).unwrap_or_default();
        }
    }

    /// Keeps the begin of a line; nothing of one that is too long.
    fn keep(&mut self, bytes: &[u8]) {
        self.is_too_long |= self.begin.len() + bytes.len() > self.line_max_bytes;
        if self.is_too_long {
            self.begin = Vec::new();
        } else {
            self.begin.extend_from_slice(bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestLineReader<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if let Some(bytes) = buffer.filled().get(before..).filter(|b| !b.is_empty()) {
            self.read(bytes);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestLineReader<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
