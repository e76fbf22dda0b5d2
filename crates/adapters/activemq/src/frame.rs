//! Frames of STOMP 1.2 (<https://stomp.github.io/stomp-specification-1.2.html>).

use bytes::{Buf, Bytes, BytesMut};

/// The largest head of a frame in bytes.
pub const HEAD_MAX_BYTES: usize = 64 << 10;
/// The bytes that are read at once.
const READ_BYTES: usize = 8 << 10;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its command.
    pub command: String,
    /// Its headers, not escaped. Of several with one name the first counts.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
    /// Whether its body was too large and is left out.
    pub is_cut: bool,
}

/// The error for received bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedFrame;

impl Frame {
    /// A frame without headers and body.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            is_cut: false,
        }
    }

    /// The frame with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.add(name, value);
        self
    }

    /// The frame with this body.
    #[must_use]
    pub fn body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The size of its headers and its body in memory, about, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        size_of::<Self>() + headers + self.body.len()
    }

    /// The frame as it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let is_escaped = !matches!(self.command.as_str(), "CONNECT" | "CONNECTED");
        let mut out = self.command.clone();
        out.push('\n');
        for (name, value) in &self.headers {
            for (part, end) in [(name, ':'), (value, '\n')] {
                match is_escaped {
                    true => escape(part, &mut out),
                    // Such a value would be read as another header.
                    false => out.extend(part.chars().filter(|it| !it.is_control())),
                }
                out.push(end);
            }
        }
        if !self.body.is_empty() {
            out.push_str(&format!("content-length:{}\n", self.body.len()));
        }
        out.push('\n');
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out.push(0);
        out
    }

    /// Adds a header.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }
}

/// A reader of frames, from bytes in any pieces.
#[derive(Debug)]
pub struct FrameReader {
    received: BytesMut,
    body_max_bytes: usize,
    /// A frame whose body is too large, with the bytes of it that are still to come.
    oversized: Option<(Frame, usize)>,
    /// The bytes of a body without a length in which no end was found.
    searched: usize,
}

impl FrameReader {
    /// A reader that accepts bodies of this size.
    #[must_use]
    pub fn new(body_max_bytes: usize) -> Self {
        Self {
            received: BytesMut::new(),
            body_max_bytes,
            oversized: None,
            searched: 0,
        }
    }

    /// The buffer to which received bytes are to be appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.received.reserve(READ_BYTES);
        &mut self.received
    }

    /// Takes the first frame from received bytes; `None` if it is not complete. A body that is too large is left out.
    ///
    /// # Errors
    /// [`MalformedFrame`], also for a head that is too large, and for a body that is too large and has no length.
    pub fn take(&mut self) -> Result<Option<Frame>, MalformedFrame> {
        if self.oversized.is_some() {
            return self.skip();
        }
        // Line ends between frames are heart-beats.
        while matches!(self.received.first(), Some(b'\n' | b'\r')) {
            self.received.advance(1);
        }
        let Some((head, body_at)) = head_of(&self.received)? else {
            return Ok(None);
        };
        let rest = self.received.get(body_at..).unwrap_or_default();
        let length = match head.header("content-length") {
            Some(text) => text.parse::<usize>().map_err(|_| MalformedFrame)?,
            None => {
                let unsearched = rest.get(self.searched..).unwrap_or_default();
                match unsearched.iter().position(|byte| *byte == 0) {
                    Some(more) => self.searched + more,
                    None if rest.len() > self.body_max_bytes => return Err(MalformedFrame),
                    None => {
                        self.searched = rest.len();
                        return Ok(None);
                    }
                }
            }
        };
        if length > self.body_max_bytes {
            self.received.advance(body_at);
            self.searched = 0;
            let mut head = head;
            head.is_cut = true;
            self.oversized = Some((head, length));
            return self.skip();
        }
        match rest.get(length) {
            None => return Ok(None),
            Some(0) => {}
            Some(_) => return Err(MalformedFrame),
        }
        self.searched = 0;
        self.received.advance(body_at);
        let body = self.received.split_to(length).freeze();
        self.received.advance(1);
        Ok(Some(head.body(body)))
    }

    /// Drops the body of a frame that is too large.
    fn skip(&mut self) -> Result<Option<Frame>, MalformedFrame> {
        let Some((frame, left)) = self.oversized.take() else {
            return Ok(None);
        };
        let now = left.min(self.received.len());
        self.received.advance(now);
        match (left - now, self.received.first()) {
            (0, Some(0)) => {
                self.received.advance(1);
                Ok(Some(frame))
            }
            (0, Some(_)) => Err(MalformedFrame),
            (left, _) => {
                self.oversized = Some((frame, left));
                Ok(None)
            }
        }
    }
}

/// The head of the first frame, and where its body begins.
fn head_of(received: &[u8]) -> Result<Option<(Frame, usize)>, MalformedFrame> {
    let mut frame: Option<Frame> = None;
    let mut at = 0;
    loop {
        let rest = received.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0));
        let Some(length) = end else {
            return match received.len() > HEAD_MAX_BYTES {
                true => Err(MalformedFrame),
                false => Ok(None),
            };
        };
        at += length + 1;
        // A head has no byte 0, which ends a frame.
        if at > HEAD_MAX_BYTES || rest.get(length) == Some(&0) {
            return Err(MalformedFrame);
        }
        let line = rest.get(..length).unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| MalformedFrame)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let Some(begun) = &mut frame else {
            frame = Some(Frame::new(line));
            continue;
        };
        if line.is_empty() {
            return Ok(frame.map(|frame| (frame, at)));
        }
        let (name, value) = line.split_once(':').ok_or(MalformedFrame)?;
        let is_escaped = begun.command != "CONNECTED";
        let unescaped = |text: &str| match is_escaped {
            true => unescape(text),
            false => Ok(text.to_owned()),
        };
        begun.headers.push((unescaped(name)?, unescaped(value)?));
    }
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            ':' => out.push_str("\\c"),
            // It would end the frame.
            '\0' => {}
            other => out.push(other),
        }
    }
}

fn unescape(text: &str) -> Result<String, MalformedFrame> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('c') => ':',
                _ => return Err(MalformedFrame),
            },
            other => other,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_MAX_BYTES: usize = 64;

    fn frame(body: &'static str) -> Frame {
        let frame = Frame::new("MESSAGE").with("a:b", "c\\d\ne\r");
        frame.body(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn frame_is_read_as_written_in_any_pieces() {
        let sent = [frame("x\0y"), frame(""), Frame::new("RECEIPT")];
        let bytes: Vec<u8> = sent
            .iter()
            .flat_map(|it| [it.encode(), b"\n".to_vec()].concat())
            .collect();
        let mut reader = FrameReader::new(BODY_MAX_BYTES);
        let mut found = Vec::new();
        for byte in bytes {
            reader.buffer().extend_from_slice(&[byte]);
            found.extend(reader.take().unwrap());
        }
        for frame in &mut found {
            frame.headers.retain(|(name, _)| name != "content-length");
        }
        assert_eq!(found, sent);
    }

    #[test]
    fn malformed_and_too_large_frames_are_refused() {
        let take = |text: &[u8]| {
            let mut reader = FrameReader::new(BODY_MAX_BYTES);
            reader.buffer().extend_from_slice(text);
            reader.take()
        };
        for text in [
            &b"MESSAGE\nno colon\n\n\0"[..],
            b"MESSAGE\na:b\\x\n\n\0",
            b"MESSAGE\n\xff:b\n\n\0",
            b"MESSAGE\ncontent-length:x\n\n\0",
            b"MESSAGE\ncontent-length:-1\n\n\0",
            b"MESSAGE\ncontent-length:99999999999999999999999\n\n\0",
            b"MESSAGE\ncontent-length:1\n\nab\0",
            b"MESSAGE\na:b\0\n\n\0",
            b"\0\0\0\xf0\x01ActiveMQ",
            &[b'x'; HEAD_MAX_BYTES + 1],
        ] {
            assert_eq!(take(text), Err(MalformedFrame));
        }
        let many = format!("MESSAGE\n{}", "a:b\n".repeat(HEAD_MAX_BYTES / 4));
        assert_eq!(take(many.as_bytes()), Err(MalformedFrame));
        let plain = take(b"\r\n\nMESSAGE\r\na:b\r\n\r\nbody\0")
            .unwrap()
            .unwrap();
        assert_eq!(
            (plain.header("a"), &plain.body[..]),
            (Some("b"), &b"body"[..])
        );
    }

    #[test]
    fn body_that_is_too_large_is_left_out_and_what_follows_is_read() {
        let large = vec![b'x'; BODY_MAX_BYTES + 1];
        let frames = [frame("a"), frame("").body(large.into()), frame("b")];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for piece in [1, 7, bytes.len()] {
            let mut reader = FrameReader::new(BODY_MAX_BYTES);
            let mut found = Vec::new();
            for bytes in bytes.chunks(piece) {
                reader.buffer().extend_from_slice(bytes);
                while let Some(frame) = reader.take().unwrap() {
                    found.push((frame.body, frame.is_cut));
                }
                assert!(reader.received.len() <= 2 * BODY_MAX_BYTES + piece);
            }
            let expected = [("a", false), ("", true), ("b", false)];
            let expected = expected.map(|(body, is_cut)| (Bytes::from(body), is_cut));
            assert_eq!(found, expected);
        }
        // Without a length, its end would have to be searched for.
        let mut reader = FrameReader::new(BODY_MAX_BYTES);
        reader.buffer().extend_from_slice(b"MESSAGE\n\n");
        for _ in 0..BODY_MAX_BYTES {
            reader.buffer().extend_from_slice(b"x");
            assert_eq!(reader.take(), Ok(None));
        }
        reader.buffer().extend_from_slice(b"x");
        assert_eq!(reader.take(), Err(MalformedFrame));
    }

    #[test]
    fn header_of_a_log_in_adds_no_other_header() {
        let connect = Frame::new("CONNECT").with("passcode", "a\nadmin:yes\\c");
        assert_eq!(connect.encode(), b"CONNECT\npasscode:aadmin:yes\\c\n\n\0");
    }
}
