//! The request lines of a connection, as they were sent. A parsed request has no fragment: hyper cuts it off.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::{Method, Uri};
use memchr::memmem;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of request lines that are kept. More are sent by nobody who waits for responses.
const LINES_MAX: usize = 32;
/// The size of the longest method that is looked for.
const METHOD_MAX_BYTES: usize = 32;
/// The part of a request line after its target.
const VERSION: &[u8] = b" HTTP/1.";

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
    /// Whether a body is being received: what is read then is not searched for request lines.
    in_body: AtomicBool,
}

impl RequestLines {
    /// Notes that a request is being answered. Returns whether its target was sent with a fragment. Its line, and all before
    /// it, are forgotten.
    pub(crate) fn begin_request(&self, method: &Method, uri: &Uri, has_body: bool) -> bool {
        self.in_body.store(has_body, Ordering::Release);
        let mut kept = self.kept.lock();
        let found = kept.lines.iter().position(|line| line.is_of(method, uri));
        let Some(index) = found else { return false };
        let Some(line) = kept.lines.drain(..=index).next_back() else {
            return false;
        };
        kept.spare = line.text;
        line.has_fragment
    }

    /// Notes that a request with a body was answered, and forgets all lines: those that are left are of the body.
    pub(crate) fn end_body(&self) {
        self.kept.lock().lines.clear();
        self.in_body.store(false, Ordering::Release);
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
            self.begin.clear();
            self.is_too_long = false;
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The requests on a connection of which these bytes were read in pieces of this size; whether they had fragments.
    fn fragments(bytes: &[u8], piece: usize, requests: &[(&str, &str)]) -> Vec<bool> {
        let lines = Arc::new(RequestLines::default());
        let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
        for piece in bytes.chunks(piece) {
            reader.read(piece);
        }
        let found = requests.iter().map(|(method, target)| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            lines.begin_request(&method, &target.parse().unwrap(), false)
        });
        found.collect()
    }

    #[test]
    fn fragments_of_targets_are_found_however_the_bytes_arrive() {
        let bytes = b"PUT /c/b/a#x HTTP/1.1\r\nHost: h\r\n\r\nGET /c/b/a HTTP/1.1\r\nReferer: http://h/#f\r\n\r\n\
            DELETE /c/b/a?q#x HTTP/1.0\r\n\r\nGET http://h#x HTTP/1.1\r\n\r\n";
        for piece in 1..=bytes.len() {
            assert_eq!(
                fragments(
                    bytes,
                    piece,
                    &[
                        ("PUT", "/c/b/a"),
                        ("GET", "/c/b/a"),
                        ("DELETE", "/c/b/a?q"),
                        ("GET", "http://h/"),
                    ]
                ),
                [true, false, true, true],
                "{piece}"
            );
        }
    }

    #[test]
    fn first_line_with_method_and_target_decides() {
        // The second line is one of the body.
        let bytes = b"PUT /a HTTP/1.1\r\n\r\nPUT /a#x HTTP/1.1\n";
        assert_eq!(fragments(bytes, 1000, &[("PUT", "/a")]), [false]);
        assert_eq!(fragments(bytes, 1000, &[("GET", "/a")]), [false]);
        // The rest of an unread body is before the method.
        let bytes = b"abc\xffdef DELETE /a#x HTTP/1.1\r\n";
        assert_eq!(fragments(bytes, 1000, &[("DELETE", "/a")]), [true]);
    }

    #[test]
    fn long_lines_and_many_lines_are_not_kept() {
        let long = format!("GET /{}#x HTTP/1.1\r\n", "a".repeat(300));
        let lines = Arc::new(RequestLines::default());
        let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
        for byte in long.as_bytes() {
            reader.read(&[*byte]);
            assert!(reader.begin.len() <= 200);
        }
        assert!(lines.kept.lock().lines.is_empty());
        for _ in 0..1000 {
            reader.read(b"GET /a#x HTTP/1.1\r\n");
        }
        assert_eq!(lines.kept.lock().lines.len(), LINES_MAX);
        lines.end_body();
        assert!(!lines.begin_request(&Method::GET, &"/a".parse().unwrap(), false));
    }

    #[test]
    fn bodies_are_not_searched_and_the_request_after_one_is() {
        let lines = Arc::new(RequestLines::default());
        let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
        let uri: Uri = "/a".parse().unwrap();
        reader.read(b"PUT /a HTTP/1.1\r\nContent-Length: 100\r\n\r\nbegin");
        assert!(!lines.begin_request(&Method::PUT, &uri, true));
        reader.read(b"GET /a#x HTTP/1.1\r\nbegin of a line");
        assert!(lines.kept.lock().lines.is_empty());
        assert!(reader.begin.is_empty());
        lines.end_body();
        reader.read(b"GET /a#x HTTP/1.1\r\n\r\n");
        assert!(lines.begin_request(&Method::GET, &uri, false));
    }

    #[test]
    fn targets_of_every_form_are_recognized() {
        for (sent, parsed) in [
            ("/", "/"),
            ("/a?b", "/a?b"),
            ("*", "*"),
            ("http://h", "http://h/"),
            ("http://h/a?b", "http://h/a?b"),
        ] {
            let line = format!("OPTIONS {sent}#x HTTP/1.1\r\n");
            let requests = [("OPTIONS", parsed)];
            assert_eq!(
                fragments(line.as_bytes(), 1000, &requests),
                [true],
                "{sent}"
            );
        }
    }

    proptest! {
        #[test]
        fn other_bytes_are_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
            prop_assert_eq!(fragments(&bytes, piece, &[("GET", "/a")]), [false]);
        }
    }
}
