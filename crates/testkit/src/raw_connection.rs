//! One keep-alive connection that speaks just enough HTTP/1.1 to load a server at little cost of its own, and to send bytes that
//! no HTTP library would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The largest head of a response.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The size of the chunks in which bodies are read.
const CHUNK_BYTES: usize = 256 * 1024;

/// The status and the length of a response.
#[derive(Debug, Clone, Copy)]
pub struct RawResponse {
    /// The status.
    pub status: u16,
    /// The size of the body in bytes, without framing.
    pub length: u64,
}

/// The use of the body of a response.
#[derive(Debug)]
pub enum RawBody<'b> {
    /// It is counted only.
    Count,
    /// It is appended here.
    Keep(&'b mut Vec<u8>),
}

impl RawBody<'_> {
    fn append(&mut self, bytes: &[u8]) {
        if let Self::Keep(kept) = self {
            kept.extend_from_slice(bytes);
        }
    }
}

/// A connection to a server on this machine.
pub struct RawConnection {
    port: u16,
    reconnects: bool,
    writer: OwnedWriteHalf,
    reader: RawReader,
}

/// The reading side of a [`RawConnection`].
pub struct RawReader {
    stream: OwnedReadHalf,
    /// Bytes that were read and not yet used; always behind `used`.
    buffer: Vec<u8>,
    used: usize,
    /// The head of the newest response.
    head: Vec<u8>,
    closed: bool,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The status and the framing that a head declares.
struct Head {
    status: u16,
    framing: Framing,
    close: bool,
}

async fn connect(port: u16) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream.into_split())
}

impl RawConnection {
    /// Connects to a port of this machine. The connection is made anew when the server closes it after a response.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(port: u16) -> io::Result<Self> {
        let (stream, writer) = connect(port).await?;
        Ok(Self {
            port,
            reconnects: true,
            writer,
            reader: RawReader {
                stream,
                buffer: Vec::with_capacity(CHUNK_BYTES),
                used: 0,
                head: Vec::new(),
                closed: false,
            },
        })
    }

    /// Connects to a port of this machine. Once the server has closed the connection, it stays closed.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open_once(port: u16) -> io::Result<Self> {
        Ok(Self {
            reconnects: false,
            ..Self::open(port).await?
        })
    }

    /// Sends a whole request and reads the response to its end.
    ///
    /// # Errors
    /// If the connection breaks or the response is not HTTP/1.1.
    pub async fn exchange(&mut self, request: &[u8], body: RawBody<'_>) -> io::Result<RawResponse> {
        self.send(request).await?;
        let without_body = request.starts_with(b"HEAD ");
        self.receive(body, without_body).await
    }

    /// Sends a part of a request.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send(&mut self, part: &[u8]) -> io::Result<()> {
        self.writer.write_all(part).await
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn finish_sending(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }

    /// Reads the response to what [`Self::send`] sent.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub async fn receive(
        &mut self,
        body: RawBody<'_>,
        without_body: bool,
    ) -> io::Result<RawResponse> {
        let response = self.reader.receive(body, without_body).await?;
        if self.reader.closed && self.reconnects {
            (self.reader.stream, self.writer) = connect(self.port).await?;
            self.reader.buffer.clear();
            self.reader.used = 0;
            self.reader.closed = false;
        }
        Ok(response)
    }

    /// The head of the newest response, as it was sent.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.reader.head
    }

    /// The value of a header of the newest response.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.reader.header(name)
    }

    /// Whether the server closes the connection within a time. Drops what it sends until then.
    pub async fn closes_within(&mut self, time: Duration) -> bool {
        self.reader.closes_within(time).await
    }

    /// Separates the sides, so that one can send while the other receives.
    #[must_use]
    pub fn split(self) -> (OwnedWriteHalf, RawReader) {
        (self.writer, self.reader)
    }
}

impl RawReader {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// If the connection breaks or the response is not HTTP/1.1.
    pub async fn receive(
        &mut self,
        mut body: RawBody<'_>,
        without_body: bool,
    ) -> io::Result<RawResponse> {
        let head = loop {
            let head = self.read_head().await?;
            if head.status >= 200 {
                break head;
            }
        };
        let framing = match head.status {
            204 | 304 => Framing::Length(0),
            _ if without_body => Framing::Length(0),
            _ => head.framing,
        };
        let length = match framing {
            Framing::Length(length) => {
                self.read_length(length, &mut body).await?;
                length
            }
            Framing::Chunked => self.read_chunks(&mut body).await?,
            Framing::UntilClose => self.read_until_close(&mut body).await?,
        };
        self.closed = head.close || matches!(framing, Framing::UntilClose);
        Ok(RawResponse {
            status: head.status,
            length,
        })
    }

    /// The value of a header of the newest response.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.head).ok()?;
        head.split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Whether the server closes the connection within a time. Drops what it sends until then.
    pub async fn closes_within(&mut self, time: Duration) -> bool {
        let close = async {
            let mut dropped = [0; 1024];
            while !matches!(self.stream.read(&mut dropped).await, Ok(0) | Err(_)) {}
        };
        tokio::time::timeout(time, close).await.is_ok()
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.used = 0;
        } else if self.used > CHUNK_BYTES {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.reserve(CHUNK_BYTES / 4);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = find(self.unused(), b"\r\n\r\n") {
                self.head.clear();
                self.head
                    .extend_from_slice(&self.buffer[self.used..self.used + end]);
                self.used += end + 4;
                return parse_head(&self.head);
            }
            if self.unused().len() > MAX_HEAD_BYTES {
                return Err(invalid("the head of the response is too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_length(&mut self, length: u64, body: &mut RawBody<'_>) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.unused().is_empty() && self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = self
                .unused()
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            body.append(&self.unused()[..count]);
            self.used += count;
            left -= count as u64;
        }
        Ok(())
    }

    async fn read_chunks(&mut self, body: &mut RawBody<'_>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let line = self.read_line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk has no size"))?;
            if size == 0 {
                while !self.read_line().await?.is_empty() {}
                return Ok(total);
            }
            self.read_length(size, body).await?;
            self.read_line().await?;
            total += size;
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(self.unused(), b"\r\n") {
                let line = String::from_utf8_lossy(&self.unused()[..end]).into_owned();
                self.used += end + 2;
                return Ok(line);
            }
            if self.unused().len() > MAX_HEAD_BYTES {
                return Err(invalid("a line of the response is too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_until_close(&mut self, body: &mut RawBody<'_>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let count = self.unused().len();
            body.append(self.unused());
            self.used += count;
            total += count as u64;
            if self.fill().await? == 0 {
                return Ok(total);
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

fn parse_head(head: &[u8]) -> io::Result<Head> {
    let text =
        std::str::from_utf8(head).map_err(|_| invalid("the head of the response is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| invalid("the response is not HTTP/1.1"))?;
    let mut found = Head {
        status,
        framing: Framing::UntilClose,
        close: false,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            found.framing = Framing::Length(
                value
                    .parse()
                    .map_err(|_| invalid("the length is not a number"))?,
            );
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            found.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            found.close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(found)
}

/// The bytes of one request. `Content-Length` is added if there is a body or the method usually has one; the host is
/// `localhost` unless a header names another.
#[must_use]
pub fn request_bytes(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
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

    /// The response to one request, its body and its entity tag, from a server that sends these bytes and closes.
    async fn response_to(script: &'static [u8]) -> (u16, u64, Vec<u8>, Option<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(script).await.unwrap();
            // A second connection, for responses that end with the connection.
            drop(stream);
            let _ = listener.accept().await;
        });
        let mut connection = RawConnection::open(port).await.unwrap();
        let mut body = Vec::new();
        let request = request_bytes("GET", "/", &[], b"");
        let response = connection
            .exchange(&request, RawBody::Keep(&mut body))
            .await
            .unwrap();
        let tag = connection.header("ETag").map(str::to_owned);
        (response.status, response.length, body, tag)
    }

    #[tokio::test]
    async fn responses_of_every_framing_are_read() {
        let whole = |status, body: &[u8], tag: Option<&str>| {
            let length = body.len() as u64;
            (status, length, body.to_vec(), tag.map(str::to_owned))
        };
        assert_eq!(
            response_to(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\netag: \"1\"\r\n\r\nabc").await,
            whole(200, b"abc", Some("\"1\""))
        );
        let chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(response_to(chunked).await, whole(201, b"abc", None));
        assert_eq!(
            response_to(b"HTTP/1.1 200 OK\r\n\r\nabc").await,
            whole(200, b"abc", None)
        );
        assert_eq!(
            response_to(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n").await,
            whole(304, b"", None)
        );
    }
}
