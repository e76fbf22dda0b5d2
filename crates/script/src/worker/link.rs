//! The end of the socket in a worker.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use parking_lot::Mutex;

use super::frame::{self, HEAD_BYTES};
use super::message::{Answer, UnitMessage, WorkerMessage};
use crate::host::{HostError, HostErrorKind};

/// The connection of a worker to its unit. Only the thread of the script uses it.
pub(super) struct Link(Mutex<UnixStream>);

impl Link {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Mutex::new(stream))
    }

    /// Says something that has no answer.
    ///
    /// # Errors
    /// The unit is gone.
    pub(super) fn tell(&self, message: &WorkerMessage, bytes: &[u8]) -> io::Result<()> {
        let head = frame::encode(message, bytes.len())?;
        let mut stream = self.0.lock();
        stream.write_all(&head)?;
        stream.write_all(bytes)
    }

    /// The next message of the unit, with its bytes.
    ///
    /// # Errors
    /// The unit is gone.
    pub(super) fn receive(&self) -> io::Result<(UnitMessage, Bytes)> {
        let mut stream = self.0.lock();
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head)?;
        let (message, bytes) = frame::lengths(head, usize::MAX)?;
        let mut body = vec![0; message + bytes];
        stream.read_exact(&mut body)?;
        frame::decode(body, message)
    }

    /// Asks the unit something.
    ///
    /// # Errors
    /// What the unit says that failed; the unit is gone.
    pub(super) fn ask(
        &self,
        message: &WorkerMessage,
        bytes: &[u8],
    ) -> Result<(Answer, Bytes), HostError> {
        let gone = |_| HostError::new(HostErrorKind::Internal, "the unit is gone");
        self.tell(message, bytes).map_err(gone)?;
        match self.receive().map_err(gone)? {
            (UnitMessage::Answer(Answer::Failed(error)), _) => Err(error),
            (UnitMessage::Answer(answer), bytes) => Ok((answer, bytes)),
            _ => Err(unexpected()),
        }
    }
}

/// The unit has given an answer to something else.
pub(super) fn unexpected() -> HostError {
    HostError::new(HostErrorKind::Internal, "unexpected answer")
}
