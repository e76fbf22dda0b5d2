//! One keep-alive connection that speaks just enough HTTP/1.1 to load a server at little cost of its own.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest head of an answer that is read.
const HEAD_LIMIT: usize = 64 * 1024;
/// Piece in which bodies are read.
const PIECE: usize = 256 * 1024;

/// What came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The status number.
    pub(crate) status: u16,
    /// Bytes of the body, without framing.
    pub(crate) length: u64,
}

/// What happens to the body of an answer.
pub(crate) enum Body<'b> {
    /// Counted only.
    Count,
    /// Appended here.
    Keep(&'b mut Vec<u8>),
}

impl Body<'_> {
    fn take(&mut self, bytes: &[u8]) {
        if let Self::Keep(kept) = self {
            kept.extend_from_slice(bytes);
        }
    }
}

/// A connection to a server on this machine.
pub(crate) struct Connection {
    port: u16,
    stream: TcpStream,
    /// Bytes that were read and not yet used; always behind `used`.
    buffer: Vec<u8>,
    used: usize,
    /// The `ETag` of the newest answer, if asked for by [`Connection::exchange_with_tag`].
    tag: Option<String>,
}

struct Head {
    status: u16,
    length: Framing,
    close: bool,
    tag: Option<String>,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Connection {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            port,
            stream,
            buffer: Vec::with_capacity(PIECE),
            used: 0,
            tag: None,
        })
    }

    /// Sends one whole request and reads the answer to its end. Connects anew when the server closed before.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP/1.1.
    pub(crate) async fn exchange(&mut self, request: &[u8], body: Body<'_>) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let without_body = request.starts_with(b"HEAD ");
        self.answer(body, without_body).await
    }

    /// As [`Self::exchange`], and also gives the `ETag` of the answer.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub(crate) async fn exchange_with_tag(
        &mut self,
        request: &[u8],
    ) -> io::Result<(Answer, Option<String>)> {
        let answer = self.exchange(request, Body::Count).await?;
        Ok((answer, self.tag.take()))
    }

    /// Writes a part of a request, for bodies that are too large to be held.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn send(&mut self, part: &[u8]) -> io::Result<()> {
        self.stream.write_all(part).await
    }

    /// Reads the answer to what [`Self::send`] sent.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub(crate) async fn answer(
        &mut self,
        mut body: Body<'_>,
        without_body: bool,
    ) -> io::Result<Answer> {
        let head = loop {
            let head = self.head().await?;
            if head.status >= 200 {
                break head;
            }
        };
        self.tag.clone_from(&head.tag);
        let framing = match head.status {
            204 | 304 => Framing::Length(0),
            _ if without_body => Framing::Length(0),
            _ => head.length,
        };
        let length = match framing {
            Framing::Length(length) => {
                self.pass(length, &mut body).await?;
                length
            }
            Framing::Chunked => self.chunks(&mut body).await?,
            Framing::UntilClose => self.rest(&mut body).await?,
        };
        if head.close || matches!(framing, Framing::UntilClose) {
            self.stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            self.stream.set_nodelay(true)?;
            self.buffer.clear();
            self.used = 0;
        }
        Ok(Answer {
            status: head.status,
            length,
        })
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.used = 0;
        } else if self.used > PIECE {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.reserve(PIECE / 4);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = find(self.unused(), b"\r\n\r\n") {
                let head = parse_head(self.unused().get(..end).unwrap_or_default())?;
                self.used += end + 4;
                return Ok(head);
            }
            if self.unused().len() > HEAD_LIMIT {
                return Err(broken("the head of the answer is too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Hands `length` bytes to the body.
    async fn pass(&mut self, length: u64, body: &mut Body<'_>) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.unused().is_empty() && self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let take = self
                .unused()
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            body.take(self.unused().get(..take).unwrap_or_default());
            self.used += take;
            left -= take as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, body: &mut Body<'_>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(digits, 16).map_err(|_| broken("a chunk has no size"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(total);
            }
            self.pass(size, body).await?;
            self.line().await?;
            total += size;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(self.unused(), b"\r\n") {
                let line = String::from_utf8_lossy(self.unused().get(..end).unwrap_or_default())
                    .into_owned();
                self.used += end + 2;
                return Ok(line);
            }
            if self.unused().len() > HEAD_LIMIT {
                return Err(broken("a line of the answer is too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn rest(&mut self, body: &mut Body<'_>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let there = self.unused().len();
            body.take(self.unused());
            self.used += there;
            total += there as u64;
            if self.fill().await? == 0 {
                return Ok(total);
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn parse_head(head: &[u8]) -> io::Result<Head> {
    let text =
        std::str::from_utf8(head).map_err(|_| broken("the head of the answer is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| broken("the answer is not HTTP/1.1"))?;
    let mut found = Head {
        status,
        length: Framing::UntilClose,
        close: false,
        tag: None,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            found.length = Framing::Length(
                value
                    .parse()
                    .map_err(|_| broken("the length is not a number"))?,
            );
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            found.length = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            found.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("etag") {
            found.tag = Some(value.to_owned());
        }
    }
    Ok(found)
}

/// The bytes of one request. `Content-Length` is added when there is a body or the method usually has one; the host is
/// `localhost` unless a header names another.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "MKCOL" | "ACL") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answered_by(script: &'static [u8]) -> (Answer, Vec<u8>, Option<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = [0; 1024];
            let _ = stream.read(&mut some).await.unwrap();
            stream.write_all(script).await.unwrap();
            // A second one, for answers that end with the connection.
            drop(stream);
            let _ = listener.accept().await;
        });
        let mut connection = Connection::open(port).await.unwrap();
        let mut body = Vec::new();
        let answer = connection
            .exchange(&request("GET", "/", &[], b""), Body::Keep(&mut body))
            .await
            .unwrap();
        (answer, body, connection.tag)
    }

    #[tokio::test]
    async fn every_framing_is_read() {
        let (answer, body, tag) =
            answered_by(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\netag: \"1\"\r\n\r\nabc").await;
        assert_eq!(
            (
                answer.status,
                answer.length,
                body.as_slice(),
                tag.as_deref()
            ),
            (200, 3, &b"abc"[..], Some("\"1\""))
        );
        let (answer, body, _) = answered_by(b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n").await;
        assert_eq!(
            (answer.status, answer.length, body.as_slice()),
            (201, 3, &b"abc"[..])
        );
        let (answer, body, _) = answered_by(b"HTTP/1.1 200 OK\r\n\r\nabc").await;
        assert_eq!(
            (answer.status, answer.length, body.as_slice()),
            (200, 3, &b"abc"[..])
        );
        let (answer, _, _) =
            answered_by(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n").await;
        assert_eq!((answer.status, answer.length), (304, 0));
    }
}
