//! One connection to a server. It is used by one call at a time.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::{AnswerLine, Command, ProtocolError, invalid};

/// The longest first line of an answer, in bytes.
const MAX_LINE_BYTES: usize = 1_024;
/// The number of bytes that are read at once, at most.
const READ_BYTES: usize = 8 * 1_024;

/// A failed call. The connection must not be used any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The answer cannot be used.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The value.
    Value(Bytes),
    /// The command is executed.
    Done,
    /// There is no value.
    Absent,
    /// The value was not set, because there is one.
    Present,
}

/// A connection on which no answer is outstanding.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
    next_tag: u64,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`io::Error`] if that fails.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: BytesMut::new(),
            next_tag: 1,
        })
    }

    /// Whether the server has neither closed the connection nor sent anything.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0; 1];
        let read = self.stream.try_read(&mut byte);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection must not be used any more then, nor if the call is cancelled.
    pub async fn exchange(
        &mut self,
        name: &str,
        command: &Command<'_>,
    ) -> Result<Answer, ConnectionError> {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        self.stream.write_all(&command.encode(name, tag)).await?;
        let line = self.read_line().await?;
        let answer = match AnswerLine::parse(&line, tag)? {
            AnswerLine::Value(size) => Answer::Value(self.read_value(size).await?),
            AnswerLine::Done => Answer::Done,
            AnswerLine::Absent => Answer::Absent,
            AnswerLine::Present => Answer::Present,
        };
        if self.received.is_empty() {
            Ok(answer)
        } else {
            Err(invalid(&self.received).into())
        }
    }

    /// Reads a line; returns it without its end.
    async fn read_line(&mut self) -> Result<Bytes, ConnectionError> {
        loop {
            let end = self.received.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) if end <= MAX_LINE_BYTES => {
                    let line = self.received.split_to(end + 1).freeze();
                    let text = line.strip_suffix(b"\r\n").ok_or_else(|| invalid(&line))?;
                    return Ok(line.slice_ref(text));
                }
                None if self.received.len() <= MAX_LINE_BYTES => self.read_more().await?,
                _ => return Err(invalid(&self.received).into()),
            }
        }
    }

    /// Reads a value of `size` bytes, and the end of line after it.
    async fn read_value(&mut self, size: usize) -> Result<Bytes, ConnectionError> {
        while self.received.len() < size + 2 {
            self.read_more().await?;
        }
        let value = self.received.split_to(size).freeze();
        let end = self.received.split_to(2);
        if end == b"\r\n"[..] {
            Ok(value)
        } else {
            Err(invalid(&end).into())
        }
    }

    async fn read_more(&mut self) -> Result<(), ConnectionError> {
        self.received.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(ConnectionError::Closed),
            _ => Ok(()),
        }
    }
}
