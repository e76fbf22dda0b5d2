//! The request lines of a connection, as they were sent. A parsed request has no fragment: hyper cuts it off.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
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
    /// The end of what is before the target: the method, and before it what may be left of an unread body.
    before: Vec<u8>,
    /// The target up to a fragment.
    target: String,
    has_fragment: bool,
}

/// The request lines that were received and not yet answered. Lines of bodies that look like them may be among them.
#[derive(Default)]
pub(crate) struct RequestLines(Mutex<VecDeque<RequestLine>>);

impl RequestLines {
    /// Whether the target of a request was sent with a fragment. Its line, and all before it, are forgotten.
    pub(crate) fn had_fragment(&self, method: &Method, uri: &Uri) -> bool {
        let target = uri.to_string();
        let is_target = |sent: &str| sent == target || format!("{sent}/") == target;
        let mut lines = self.0.lock();
        let found = lines.iter().position(|line| {
            line.before.ends_with(method.as_str().as_bytes()) && is_target(&line.target)
        });
        let Some(index) = found else { return false };
        lines
            .drain(..=index)
            .next_back()
            .is_some_and(|l| l.has_fragment)
    }

    /// Forgets all lines: those that are left after a request with a body are of the body.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    fn add(&self, line: &[u8]) {
        let Some(line) = parse(line) else { return };
        let mut lines = self.0.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Reads a line, up to its version; `None` if it is no request line.
fn parse(line: &[u8]) -> Option<RequestLine> {
    let line = line.get(..memmem::rfind(line, VERSION)?)?;
    let space = memchr::memrchr(b' ', line)?;
    let (before, target) = line.split_at(space);
    let target = std::str::from_utf8(target.get(1..)?).ok()?;
    let (target, has_fragment) = match target.split_once('#') {
        Some((target, _)) => (target, true),
        None => (target, false),
    };
    let method_start = before.len().saturating_sub(METHOD_MAX_BYTES);
    Some(RequestLine {
        before: before.get(method_start..)?.to_vec(),
        target: target.to_owned(),
        has_fragment,
    })
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
            lines.had_fragment(&method, &target.parse().unwrap())
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
        assert!(lines.0.lock().is_empty());
        for _ in 0..1000 {
            reader.read(b"GET /a#x HTTP/1.1\r\n");
        }
        assert_eq!(lines.0.lock().len(), LINES_MAX);
        lines.clear();
        assert!(!lines.had_fragment(&Method::GET, &"/a".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn other_bytes_are_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
            prop_assert_eq!(fragments(&bytes, piece, &[("GET", "/a")]), [false]);
        }
    }
}
