//! A keep-alive connection with the minimum of HTTP/1.1 that a load generator needs, at a low cost of its own.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest head of a response.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The size of the read buffer.
const BUFFER_BYTES: usize = 256 * 1024;

/// The result of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseSummary {
    /// The status.
    pub(crate) status: u16,
    /// The size of the body, without framing.
    pub(crate) body_bytes: u64,
}

/// The destination of a response body.
pub(crate) enum BodySink<'b> {
    /// It is discarded and counted.
    Discard,
    /// It is appended to a buffer.
    Append(&'b mut Vec<u8>),
}

impl BodySink<'_> {
    fn write(&mut self, bytes: &[u8]) {
        if let Self::Append(buffer) = self {
            buffer.extend_from_slice(bytes);
        }
    }
}

/// A connection to a server on this machine.
pub(crate) struct HttpConnection {
    port: u16,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The number of bytes of the buffer that are consumed.
    consumed: usize,
    /// The `ETag` of the last response.
    etag: Option<String>,
}

struct Head {
    status: u16,
    framing: Framing,
    close: bool,
    etag: Option<String>,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl HttpConnection {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// [`io::Error`] if nothing listens there.
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            port,
            stream,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            consumed: 0,
            etag: None,
        })
    }

    /// Sends a request and reads the response to its end. Reconnects after a response that closes the connection.
    ///
    /// # Errors
    /// [`io::Error`] if the connection fails or the response is not HTTP/1.1.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        body: BodySink<'_>,
    ) -> io::Result<ResponseSummary> {
        self.stream.write_all(request).await?;
        let without_body = request.starts_with(b"HEAD ");
        self.read_response(body, without_body).await
    }

    /// As [`Self::exchange`]; also returns the `ETag` of the response.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub(crate) async fn exchange_with_etag(
        &mut self,
        request: &[u8],
    ) -> io::Result<(ResponseSummary, Option<String>)> {
        let summary = self.exchange(request, BodySink::Discard).await?;
        Ok((summary, self.etag.take()))
    }

    /// Sends a part of a request whose body is too large for the memory.
    ///
    /// # Errors
    /// [`io::Error`] if the connection fails.
    pub(crate) async fn send(&mut self, part: &[u8]) -> io::Result<()> {
        self.stream.write_all(part).await
    }

    /// Reads the response to a request that was sent by [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub(crate) async fn read_response(
        &mut self,
        mut body: BodySink<'_>,
        without_body: bool,
    ) -> io::Result<ResponseSummary> {
        let head = loop {
            let head = self.read_head().await?;
            if head.status >= 200 {
                break head;
            }
        };
        self.etag.clone_from(&head.etag);
        let framing = match head.status {
            204 | 304 => Framing::Length(0),
            _ if without_body => Framing::Length(0),
            _ => head.framing,
        };
        let body_bytes = match framing {
            Framing::Length(length) => {
                self.read_exactly(length, &mut body).await?;
                length
            }
            Framing::Chunked => self.read_chunks(&mut body).await?,
            Framing::UntilClose => self.read_to_end(&mut body).await?,
        };
        if head.close || matches!(framing, Framing::UntilClose) {
            self.stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            self.stream.set_nodelay(true)?;
            self.buffer.clear();
            self.consumed = 0;
        }
        Ok(ResponseSummary {
            status: head.status,
            body_bytes,
        })
    }

    fn unconsumed(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.consumed == self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        } else if self.consumed > BUFFER_BYTES {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.reserve(BUFFER_BYTES / 4);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = find(self.unconsumed(), b"\r\n\r\n") {
                let head = parse_head(self.unconsumed().get(..end).unwrap_or_default())?;
                self.consumed += end + 4;
                return Ok(head);
            }
            if self.unconsumed().len() > MAX_HEAD_BYTES {
                return Err(invalid("the head of the response is too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads a body of known length.
    async fn read_exactly(&mut self, length: u64, body: &mut BodySink<'_>) -> io::Result<()> {
        let mut remaining = length;
        while remaining > 0 {
            if self.unconsumed().is_empty() && self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = self
                .unconsumed()
                .len()
                .min(usize::try_from(remaining).unwrap_or(usize::MAX));
            body.write(self.unconsumed().get(..count).unwrap_or_default());
            self.consumed += count;
            remaining -= count as u64;
        }
        Ok(())
    }

    async fn read_chunks(&mut self, body: &mut BodySink<'_>) -> io::Result<u64> {
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
            self.read_exactly(size, body).await?;
            self.read_line().await?;
            total += size;
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(self.unconsumed(), b"\r\n") {
                let line =
                    String::from_utf8_lossy(self.unconsumed().get(..end).unwrap_or_default())
                        .into_owned();
                self.consumed += end + 2;
                return Ok(line);
            }
            if self.unconsumed().len() > MAX_HEAD_BYTES {
                return Err(invalid("a line of the response is too long"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_to_end(&mut self, body: &mut BodySink<'_>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let count = self.unconsumed().len();
            body.write(self.unconsumed());
            self.consumed += count;
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

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| invalid("the head of the response is not UTF-8"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| invalid("the response is not HTTP/1.1"))?;
    let mut head = Head {
        status,
        framing: Framing::UntilClose,
        close: false,
        etag: None,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.framing = Framing::Length(
                value
                    .parse()
                    .map_err(|_| invalid("Content-Length is not a number"))?,
            );
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("etag") {
            head.etag = Some(value.to_owned());
        }
    }
    Ok(head)
}

/// Returns the bytes of a request. `Content-Length` is added if there is a body or the method usually has one; the host
/// is `localhost` unless a header names another.
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

    async fn exchange_with(script: &'static [u8]) -> (ResponseSummary, Vec<u8>, Option<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(script).await.unwrap();
            // Accepts the reconnection after a response that ends with the connection.
            drop(stream);
            let _ = listener.accept().await;
        });
        let mut connection = HttpConnection::open(port).await.unwrap();
        let mut body = Vec::new();
        let summary = connection
            .exchange(&request("GET", "/", &[], b""), BodySink::Append(&mut body))
            .await
            .unwrap();
        (summary, body, connection.etag)
    }

    #[tokio::test]
    async fn responses_with_every_framing_are_read() {
        let (summary, body, etag) =
            exchange_with(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\netag: \"1\"\r\n\r\nabc").await;
        assert_eq!(
            (
                summary.status,
                summary.body_bytes,
                body.as_slice(),
                etag.as_deref()
            ),
            (200, 3, &b"abc"[..], Some("\"1\""))
        );
        let (summary, body, _) = exchange_with(b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n").await;
        assert_eq!(
            (summary.status, summary.body_bytes, body.as_slice()),
            (201, 3, &b"abc"[..])
        );
        let (summary, body, _) = exchange_with(b"HTTP/1.1 200 OK\r\n\r\nabc").await;
        assert_eq!(
            (summary.status, summary.body_bytes, body.as_slice()),
            (200, 3, &b"abc"[..])
        );
        let (summary, _, _) =
            exchange_with(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n").await;
        assert_eq!((summary.status, summary.body_bytes), (304, 0));
    }
}
