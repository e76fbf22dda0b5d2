//! Clients that listen to events, at little cost of their own: they count messages and read nothing of them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::BenchResult;

/// The size of the pieces in which a connection is read.
const PIECE_BYTES: usize = 4 * 1024;
/// The largest head of a response.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Bits of the first bytes of a frame (RFC 6455, section 5.2).
const FINAL_TEXT: u8 = 0x81;
const FINAL_PONG: u8 = 0x8a;
const MASKED: u8 = 0x80;

/// A connection that was begun by a request.
struct BegunConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl BegunConnection {
    /// Sends a request and reads the head of the response, whose status must be `status`.
    async fn begin(port: u16, request: &str, status: &str) -> BenchResult<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = stream.map_err(|error| format!("cannot connect to port {port}: {error}"))?;
        stream.set_nodelay(true).map_err(broken)?;
        let mut connection = Self {
            stream,
            buffer: Vec::new(),
        };
        connection.write(request.as_bytes()).await?;
        let end = loop {
            let ended = connection
                .buffer
                .windows(4)
                .position(|it| it == b"\r\n\r\n");
            if let Some(end) = ended {
                break end;
            }
            if connection.buffer.len() > HEAD_MAX_BYTES {
                return Err("the head of a response is too long".to_owned());
            }
            connection.fill().await?;
        };
        let head: Vec<u8> = connection.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        match head.starts_with(&format!("HTTP/1.1 {status} ")) {
            true => Ok(connection),
            false => Err(format!("a listener was refused: {head}")),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> BenchResult {
        self.stream.write_all(bytes).await.map_err(broken)
    }

    /// Reads more.
    async fn fill(&mut self) -> BenchResult {
        self.buffer.reserve(PIECE_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection of a listener was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(error)),
        }
    }
}

fn broken(error: std::io::Error) -> String {
    format!("the connection of a listener broke: {error}")
}

/// A WebSocket.
pub(crate) struct WebSocketListener(BegunConnection);

impl WebSocketListener {
    /// Opens a WebSocket at a path of `localhost`.
    ///
    /// # Errors
    /// A message if it is refused.
    pub(crate) async fn open(port: u16, path: &str) -> BenchResult<Self> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        let connection = BegunConnection::begin(port, &request, "101").await?;
        Ok(Self(connection))
    }

    /// Subscribes to the events of a cell whose types begin with `kind`.
    ///
    /// # Errors
    /// A message if it is refused.
    pub(crate) async fn subscribe(&mut self, token: &str, kind: &str) -> BenchResult {
        let token = token.trim_start_matches("Bearer ");
        for request in [
            format!(r#"{{"AccessToken":"{token}"}}"#),
            format!(r#"{{"Subscribe":{{"Type":"{kind}","Object":"*"}}}}"#),
        ] {
            self.send(FINAL_TEXT, request.as_bytes()).await?;
            let answer = String::from_utf8_lossy(&self.next().await?).into_owned();
            if !answer.contains("\"Success\"") {
                return Err(format!("a subscription was refused: {answer}"));
            }
        }
        Ok(())
    }

    /// Waits for the next text.
    ///
    /// # Errors
    /// A message if the connection ends.
    pub(crate) async fn next(&mut self) -> BenchResult<Vec<u8>> {
        loop {
            if let Some((first, payload)) = take_frame(&mut self.0.buffer)? {
                match first & 0x0f {
                    1 => return Ok(payload),
                    9 => self.send(FINAL_PONG, &payload).await?,
                    8 => {
                        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                        return Err(format!("the server ended the connection: {reason}"));
                    }
                    _ => {}
                }
                continue;
            }
            self.0.fill().await?;
        }
    }

    async fn send(&mut self, first: u8, payload: &[u8]) -> BenchResult {
        let length = u16::try_from(payload.len()).map_err(|_| "a message is too long")?;
        let mut frame = vec![first];
        match u8::try_from(length) {
            Ok(short) if short < 126 => frame.push(MASKED | short),
            _ => {
                frame.push(MASKED | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write(&frame).await
    }
}

/// Takes a frame without mask from the beginning of a buffer: its first byte and its payload. `None` if it has not arrived.
fn take_frame(buffer: &mut Vec<u8>) -> BenchResult<Option<(u8, Vec<u8>)>> {
    let (Some(first), Some(second)) = (buffer.first().copied(), buffer.get(1).copied()) else {
        return Ok(None);
    };
    let (head, length) = match second {
        126 => match buffer.get(2..4).and_then(|it| it.try_into().ok()) {
            Some(length) => (4, usize::from(u16::from_be_bytes(length))),
            None => return Ok(None),
        },
        0..126 => (2, usize::from(second)),
        _ => return Err("a message is too long".to_owned()),
    };
    if buffer.len() < head + length {
        return Ok(None);
    }
    let payload = buffer.drain(..head + length).skip(head).collect();
    Ok(Some((first, payload)))
}

/// A response of Server-Sent Events.
pub(crate) struct EventStreamListener(BegunConnection);

impl EventStreamListener {
    /// Listens to the events of a cell whose types begin with `kind`. `bearer` is the value of an `Authorization` header.
    ///
    /// # Errors
    /// A message if it is refused.
    pub(crate) async fn open(port: u16, cell: &str, bearer: &str, kind: &str) -> BenchResult<Self> {
        let request = format!(
            "GET /{cell}/__event?type={kind}&object=* HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
             Authorization: {bearer}\r\n\r\n"
        );
        let connection = BegunConnection::begin(port, &request, "200").await?;
        Ok(Self(connection))
    }

    /// Waits for the next event with data.
    ///
    /// # Errors
    /// A message if the response ends.
    pub(crate) async fn next(&mut self) -> BenchResult {
        loop {
            let end = self.0.buffer.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    let line: Vec<u8> = self.0.buffer.drain(..=end).collect();
                    if line.starts_with(b"data:") {
                        return Ok(());
                    }
                }
                None => self.0.fill().await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_when_they_have_arrived() {
        let mut long = vec![FINAL_TEXT, 126, 0, 200];
        long.extend([b'x'; 200]);
        for (frame, payload) in [
            (vec![FINAL_TEXT, 2, b'h', b'i'], b"hi".to_vec()),
            (long, vec![b'x'; 200]),
        ] {
            let mut whole = frame.clone();
            whole.push(FINAL_PONG);
            assert_eq!(take_frame(&mut whole), Ok(Some((FINAL_TEXT, payload))));
            assert_eq!(whole, [FINAL_PONG]);
            let mut cut = frame.get(..frame.len() - 1).unwrap_or_default().to_vec();
            assert_eq!(take_frame(&mut cut), Ok(None));
        }
        let mut too_long = vec![FINAL_TEXT, 127];
        assert!(take_frame(&mut too_long).is_err());
    }
}
