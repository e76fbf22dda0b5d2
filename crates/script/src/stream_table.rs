//! The streams of a script, by handles: the input of the request, and bodies of responses.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};

use crate::host::{ByteStream, HostError, HostErrorKind};

/// The handle of the input of the request.
pub(crate) const INPUT: u32 = 0;
/// The largest number of streams of one script.
pub(crate) const STREAMS_MAX: usize = 1_000;

/// A stream with the bytes that were received but not read.
pub(crate) struct BufferedStream {
    source: Option<Box<dyn ByteStream>>,
    buffer: BytesMut,
}

/// The streams of a script.
pub(crate) struct StreamTable {
    streams: HashMap<u32, BufferedStream>,
    next: u32,
    /// Those that were sent as a whole.
    sent: HashSet<u32>,
}

impl StreamTable {
    pub(crate) fn new(input: Box<dyn ByteStream>) -> Self {
        Self {
            streams: HashMap::from([(INPUT, BufferedStream::new(input))]),
            next: INPUT + 1,
            sent: HashSet::new(),
        }
    }

    /// Adds a stream of these bytes and returns its handle.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) -> Result<u32, HostError> {
        self.add(BufferedStream {
            source: None,
            buffer: BytesMut::from(bytes),
        })
    }

    /// Adds a stream and returns its handle.
    ///
    /// # Errors
    /// [`HostErrorKind::Limit`] if there are too many.
    pub(crate) fn add(&mut self, stream: BufferedStream) -> Result<u32, HostError> {
        if self.streams.len() >= STREAMS_MAX {
            return Err(HostError::new(
                HostErrorKind::Limit,
                "too many open streams",
            ));
        }
        let handle = self.next;
        self.next += 1;
        self.streams.insert(handle, stream);
        Ok(handle)
    }

    /// Takes a stream out to send all of it.
    ///
    /// # Errors
    /// [`HostErrorKind::Argument`] if it was sent before: then nothing of it is left, and an empty body would be taken for it.
    pub(crate) fn take_to_send(&mut self, handle: u32) -> Result<BufferedStream, HostError> {
        // Handles that were never given do not fill the set.
        if handle < self.next && !self.sent.insert(handle) {
            let text = "the stream was sent before";
            return Err(HostError::new(HostErrorKind::Argument, text));
        }
        Ok(self.take(handle))
    }

    /// Takes a stream out. One that was taken out before, or does not exist, is empty.
    pub(crate) fn take(&mut self, handle: u32) -> BufferedStream {
        self.streams.remove(&handle).unwrap_or(BufferedStream {
            source: None,
            buffer: BytesMut::new(),
        })
    }

    /// Puts a stream back that has not ended.
    pub(crate) fn put_back(&mut self, handle: u32, stream: BufferedStream) {
        if stream.source.is_some() || !stream.buffer.is_empty() {
            self.streams.insert(handle, stream);
        }
    }
}

impl BufferedStream {
    pub(crate) fn new(source: Box<dyn ByteStream>) -> Self {
        Self {
            source: Some(source),
            buffer: BytesMut::new(),
        }
    }

    /// Receives more bytes; `false` at the end.
    async fn fill(&mut self) -> Result<bool, HostError> {
        let Some(source) = &mut self.source else {
            return Ok(false);
        };
        match source.next().await? {
            Some(chunk) => self.buffer.extend_from_slice(&chunk),
            None => {
                self.source = None;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rest of the stream.
    ///
    /// # Errors
    /// [`HostErrorKind::TooLarge`] if that is more than a number of bytes; a failure of the stream.
    pub(crate) async fn read_all(&mut self, max_bytes: usize) -> Result<Bytes, HostError> {
        loop {
            if self.buffer.len() > max_bytes {
                let text = format!("more than {max_bytes} bytes");
                return Err(HostError::new(HostErrorKind::TooLarge, &text));
            }
            if !self.fill().await? {
                return Ok(self.buffer.split().freeze());
            }
        }
    }

    /// Some of the next bytes, at most a number of them; none at the end.
    ///
    /// # Errors
    /// A failure of the stream.
    pub(crate) async fn read(&mut self, max_bytes: usize) -> Result<Bytes, HostError> {
        while self.buffer.is_empty() && self.fill().await? {}
        let length = self.buffer.len().min(max_bytes);
        Ok(self.buffer.split_to(length).freeze())
    }

    /// The next line, without its end (LF, CR or both); `None` at the end.
    ///
    /// # Errors
    /// As [`Self::read_all`].
    pub(crate) async fn read_line(&mut self, max_bytes: usize) -> Result<Option<Bytes>, HostError> {
        let mut searched = 0;
        loop {
            let unsearched = self.buffer.get(searched..).unwrap_or_default();
            let found = unsearched.iter().position(|b| matches!(b, b'\n' | b'\r'));
            if let Some(at) = found.map(|at| at + searched) {
                let is_cr = self.buffer.get(at) == Some(&b'\r');
                if is_cr && self.buffer.len() == at + 1 {
                    // The line feed may be in the next chunk.
                    self.fill().await?;
                }
                let line = self.buffer.split_to(at);
                let is_pair = is_cr && self.buffer.get(1) == Some(&b'\n');
                let end = if is_pair { 2 } else { 1 };
                drop(self.buffer.split_to(end));
                return Ok(Some(line.freeze()));
            }
            searched = self.buffer.len();
            if searched > max_bytes {
                let text = format!("a line has more than {max_bytes} bytes");
                return Err(HostError::new(HostErrorKind::TooLarge, &text));
            }
            if !self.fill().await? {
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }
}

#[async_trait::async_trait]
impl ByteStream for BufferedStream {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        if !self.buffer.is_empty() {
            return Ok(Some(self.buffer.split().freeze()));
        }
        match &mut self.source {
            Some(source) => source.next().await,
            None => Ok(None),
        }
    }

    fn hand_back(&mut self) -> Option<(Bytes, Option<u32>)> {
        let read = self.buffer.split().freeze();
        match &mut self.source {
            Some(source) => Some((read, source.hand_back()?.1)),
            None => Some((read, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Chunks(Vec<&'static [u8]>);

    #[async_trait::async_trait]
    impl ByteStream for Chunks {
        async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
            Ok((!self.0.is_empty()).then(|| Bytes::from_static(self.0.remove(0))))
        }
    }

    #[tokio::test]
    async fn lines_end_with_any_line_end_also_between_chunks() {
        let chunks = Chunks(vec![b"a\r", b"\nb\n", b"\n", b"c\rd", b"e"]);
        let mut table = StreamTable::new(Box::new(chunks));
        let mut stream = table.take(INPUT);
        for expected in [Some("a"), Some("b"), Some(""), Some("c"), Some("de"), None] {
            let line = stream.read_line(10).await.unwrap();
            assert_eq!(line.as_deref(), expected.map(str::as_bytes));
        }
    }

    #[tokio::test]
    async fn bodies_and_lines_have_a_limit() {
        let chunks = || Box::new(Chunks(vec![b"12345", b"67890", b"1"]));
        let mut stream = BufferedStream::new(chunks());
        assert!(stream.read_line(8).await.is_err());
        let mut stream = BufferedStream::new(chunks());
        assert!(stream.read_all(8).await.is_err());
        let mut stream = BufferedStream::new(chunks());
        assert_eq!(stream.read(3).await.unwrap(), "123");
        assert_eq!(stream.read_all(8).await.unwrap(), "45678901");
    }

    #[tokio::test]
    async fn a_stream_is_read_once() {
        let mut table = StreamTable::new(Box::new(Chunks(vec![b"x"])));
        let mut stream = table.take(INPUT);
        assert_eq!(stream.next().await.unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(stream.next().await.unwrap(), None);
        let again = table.take(INPUT).read_all(1).await.unwrap();
        assert!(again.is_empty());
    }
}
