//! The form of requests and responses.

use bytes::Bytes;
use personium_store::{
    Direction, ErrorDetail, JournalEntry, JournalPage, JournalPosition, Key, KeyRange, Limit,
    Record, Space, StoreError,
};
use personium_types::CellId;
use personium_types::error::chain;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of the form, which each request begins with.
pub(super) const VERSION: u8 = 1;

/// The length of the name of a run.
pub(super) const RUN_BYTES: usize = 16;

/// The largest message.
const MESSAGE_MAX_BYTES: u32 = 256 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RecordRequest {
    Get(Space, Vec<Key>),
    Scan(Space, KeyRange, Direction, Limit),
    Count(Space, KeyRange),
    LastCommit(Space),
    ListSpaces(Option<Space>, u64),
    FindDamage(Space),
    /// Begins a snapshot of a space, in place of one that the connection has.
    Snapshot(Space),
    /// Reads from the snapshot.
    ScanSnapshot(KeyRange, Limit),
    /// The state of a range of the snapshot.
    SnapshotState(KeyRange),
    /// Reads from the journal of a space.
    Journal(Space, JournalPosition, Limit),
    /// Notes in the audit log that a cell was removed from back-ups: by whom, and which where.
    NoteForgotten(String, String),
    /// The spaces that were changed after a time, if it is one of this run of the unit.
    ChangedSpaces(Option<ChangeMark>),
    /// All records of a space, if they do not reach a limit.
    SmallSpace(Space, Limit),
}

/// A time in the changes of the records of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ChangeMark {
    /// The name of the run of the unit whose number it is. Other runs know nothing of it.
    pub(crate) run: [u8; RUN_BYTES],
    pub(crate) number: u64,
}

/// Bytes that do not have the form of a message.
#[derive(Debug, thiserror::Error)]
#[error("a message of the socket of the records cannot be read")]
pub(super) struct MalformedMessage;

type Decoded<T> = Result<T, MalformedMessage>;

/// Writes the parts of a message.
#[derive(Debug, Default)]
pub(super) struct MessageWriter(Vec<u8>);

impl MessageWriter {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn space(&mut self, space: &Space) {
        match space {
            Space::Unit => self.bytes(&[]),
            Space::Cell(id) => self.bytes(id.as_bytes()),
        }
    }

    pub(super) fn change_time(&mut self, time: ChangeMark) {
        self.bytes(&time.run);
        self.number(time.number);
    }

    fn range(&mut self, range: &KeyRange) {
        self.bytes(range.start.as_bytes());
        self.byte(u8::from(range.end.is_some()));
        if let Some(end) = &range.end {
            self.bytes(end.as_bytes());
        }
    }

    fn limit(&mut self, limit: Limit) {
        self.number(limit.records as u64);
        self.number(limit.bytes as u64);
    }

    pub(super) fn record(&mut self, record: &Record) {
        self.number(record.version);
        self.bytes(&record.value);
    }

    pub(super) fn records(&mut self, records: &[(Key, Record)]) {
        self.number(records.len() as u64);
        for (key, record) in records {
            self.bytes(key.as_bytes());
            self.record(record);
        }
    }

    pub(super) fn journal(&mut self, page: &JournalPage) {
        self.number(page.last_commit);
        self.number(page.entries.len() as u64);
        for entry in &page.entries {
            self.number(entry.position.number());
            self.number(entry.time_ms.cast_unsigned());
            self.bytes(&entry.changes);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads the parts of a message.
pub(super) struct MessageReader(Bytes);

impl MessageReader {
    pub(super) const fn new(message: Bytes) -> Self {
        Self(message)
    }

    fn take(&mut self, len: usize) -> Decoded<Bytes> {
        match len <= self.0.len() {
            true => Ok(self.0.split_to(len)),
            false => Err(MalformedMessage),
        }
    }

    pub(super) fn byte(&mut self) -> Decoded<u8> {
        self.take(1)?.first().copied().ok_or(MalformedMessage)
    }

    pub(super) fn number(&mut self) -> Decoded<u64> {
        let bytes = self.take(size_of::<u64>())?;
        let bytes = (*bytes).try_into().map_err(|_| MalformedMessage)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A number of parts that the message has room for.
    pub(super) fn length(&mut self) -> Decoded<usize> {
        let length = usize::try_from(self.number()?).map_err(|_| MalformedMessage)?;
        match length <= self.0.len() {
            true => Ok(length),
            false => Err(MalformedMessage),
        }
    }

    pub(super) fn bytes(&mut self) -> Decoded<Bytes> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Decoded<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| MalformedMessage)
    }

    fn key(&mut self) -> Decoded<Key> {
        Ok(Key::from_bytes(self.bytes()?.to_vec()))
    }

    pub(super) fn space(&mut self) -> Decoded<Space> {
        let bytes = self.bytes()?;
        if bytes.is_empty() {
            return Ok(Space::Unit);
        }
        let id = (*bytes).try_into().map_err(|_| MalformedMessage)?;
        Ok(Space::Cell(CellId::from_bytes(id)))
    }

    pub(super) fn spaces(&mut self) -> Decoded<Vec<Space>> {
        let length = self.length()?;
        (0..length).map(|_| self.space()).collect()
    }

    pub(super) fn change_time(&mut self) -> Decoded<ChangeMark> {
        let run = (*self.bytes()?).try_into().map_err(|_| MalformedMessage)?;
        let number = self.number()?;
        Ok(ChangeMark { run, number })
    }

    fn range(&mut self) -> Decoded<KeyRange> {
        let start = self.key()?;
        let end = match self.byte()? {
            0 => None,
            _ => Some(self.key()?),
        };
        Ok(KeyRange { start, end })
    }

    fn limit(&mut self) -> Decoded<Limit> {
        let mut part = || Ok(usize::try_from(self.number()?).unwrap_or(usize::MAX));
        Ok(Limit {
            records: part()?,
            bytes: part()?,
        })
    }

    pub(super) fn record(&mut self) -> Decoded<Record> {
        let version = self.number()?;
        Ok(Record {
            value: self.bytes()?,
            version,
        })
    }

    pub(super) fn records(&mut self) -> Decoded<Vec<(Key, Record)>> {
        let length = self.length()?;
        (0..length)
            .map(|_| Ok((self.key()?, self.record()?)))
            .collect()
    }

    pub(super) fn journal(&mut self) -> Decoded<JournalPage> {
        let last_commit = self.number()?;
        let length = self.length()?;
        let entry = |_| {
            Ok(JournalEntry {
                position: JournalPosition::from_number(self.number()?),
                time_ms: self.number()?.cast_signed(),
                changes: self.bytes()?,
            })
        };
        Ok(JournalPage {
            last_commit,
            entries: (0..length).map(entry).collect::<Decoded<_>>()?,
        })
    }
}

impl RecordRequest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MessageWriter::default();
        out.byte(VERSION);
        match self {
            Self::Get(space, keys) => {
                out.byte(1);
                out.space(space);
                out.number(keys.len() as u64);
                for key in keys {
                    out.bytes(key.as_bytes());
                }
            }
            Self::Scan(space, range, order, limit) => {
                out.byte(2);
                out.space(space);
                out.range(range);
                out.byte(u8::from(*order == Direction::Down));
                out.limit(*limit);
            }
            Self::Count(space, range) => {
                out.byte(3);
                out.space(space);
                out.range(range);
            }
            Self::LastCommit(space) => {
                out.byte(4);
                out.space(space);
            }
            Self::ListSpaces(after, limit) => {
                out.byte(5);
                out.byte(u8::from(after.is_some()));
                if let Some(after) = after {
                    out.space(after);
                }
                out.number(*limit);
            }
            Self::FindDamage(space) => {
                out.byte(6);
                out.space(space);
            }
            Self::Snapshot(space) => {
                out.byte(7);
                out.space(space);
            }
            Self::ScanSnapshot(range, limit) => {
                out.byte(8);
                out.range(range);
                out.limit(*limit);
            }
            Self::SnapshotState(range) => {
                out.byte(11);
                out.range(range);
            }
            Self::Journal(space, after, limit) => {
                out.byte(9);
                out.space(space);
                out.number(after.number());
                out.limit(*limit);
            }
            Self::NoteForgotten(user, target) => {
                out.byte(10);
                out.bytes(user.as_bytes());
                out.bytes(target.as_bytes());
            }
            Self::ChangedSpaces(since) => {
                out.byte(12);
                out.byte(u8::from(since.is_some()));
                if let Some(since) = since {
                    out.change_time(*since);
                }
            }
            Self::SmallSpace(space, limit) => {
                out.byte(13);
                out.space(space);
                out.limit(*limit);
            }
        }
        out.finish()
    }

    pub(super) fn decode(message: Bytes) -> Decoded<Self> {
        let mut parts = MessageReader::new(message);
        if parts.byte()? != VERSION {
            return Err(MalformedMessage);
        }
        Ok(match parts.byte()? {
            1 => {
                let space = parts.space()?;
                let length = parts.length()?;
                let keys = (0..length).map(|_| parts.key());
                Self::Get(space, keys.collect::<Decoded<_>>()?)
            }
            2 => {
                let (space, range) = (parts.space()?, parts.range()?);
                let order = match parts.byte()? {
                    0 => Direction::Up,
                    _ => Direction::Down,
                };
                Self::Scan(space, range, order, parts.limit()?)
            }
            3 => Self::Count(parts.space()?, parts.range()?),
            4 => Self::LastCommit(parts.space()?),
            5 => {
                let after = match parts.byte()? {
                    0 => None,
                    _ => Some(parts.space()?),
                };
                Self::ListSpaces(after, parts.number()?)
            }
            6 => Self::FindDamage(parts.space()?),
            7 => Self::Snapshot(parts.space()?),
            8 => Self::ScanSnapshot(parts.range()?, parts.limit()?),
            9 => {
                let (space, after) = (parts.space()?, parts.number()?);
                Self::Journal(space, JournalPosition::from_number(after), parts.limit()?)
            }
            10 => Self::NoteForgotten(parts.text()?, parts.text()?),
            11 => Self::SnapshotState(parts.range()?),
            12 => Self::ChangedSpaces(match parts.byte()? {
                0 => None,
                _ => Some(parts.change_time()?),
            }),
            13 => Self::SmallSpace(parts.space()?, parts.limit()?),
            _ => return Err(MalformedMessage),
        })
    }
}

/// The kinds of errors that a response can have, by their numbers.
const ERRORS: [fn(ErrorDetail) -> StoreError; 7] = [
    StoreError::Busy,
    StoreError::Full,
    StoreError::ReadOnly,
    StoreError::Down,
    StoreError::TooLarge,
    StoreError::Corrupt,
    StoreError::Unsupported,
];

/// Returns the response of a request that succeeded, or that of its error.
pub(super) fn encode_response(result: Result<MessageWriter, StoreError>) -> Vec<u8> {
    let error = match result {
        Ok(out) => return [&[0][..], &out.finish()].concat(),
        Err(error) => error,
    };
    let code = match &error {
        StoreError::SpaceDropped => 1,
        StoreError::Busy(_) => 2,
        StoreError::Full(_) | StoreError::OverQuota(_) => 3,
        StoreError::ReadOnly(_) => 4,
        StoreError::Down(_) | StoreError::Conflict | StoreError::Sealed => 5,
        StoreError::TooLarge(_) => 6,
        StoreError::Corrupt(_) => 7,
        StoreError::Unsupported(_) => 8,
    };
    let mut out = MessageWriter::default();
    out.byte(code);
    out.bytes(chain(&error).as_bytes());
    out.finish()
}

/// Returns the parts of a response.
///
/// # Errors
/// The error in it.
pub(super) fn decode_response(message: Bytes) -> Result<MessageReader, StoreError> {
    let mut parts = MessageReader::new(message);
    let code = parts.byte().map_err(malformed)?;
    if code == 0 {
        return Ok(parts);
    }
    let detail = ErrorDetail::new(parts.text().map_err(malformed)?);
    match code.checked_sub(2).and_then(|n| ERRORS.get(usize::from(n))) {
        Some(kind) => Err(kind(detail)),
        None => Err(StoreError::SpaceDropped),
    }
}

/// The error of a message that cannot be read.
pub(super) fn malformed(error: MalformedMessage) -> StoreError {
    StoreError::Down(ErrorDetail::new("the running unit gave an unknown answer").with_source(error))
}

/// Writes a message.
///
/// # Errors
/// If the connection fails.
pub(super) async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
) -> std::io::Result<()> {
    let too_long = || std::io::Error::other("a message is too long");
    let length = u32::try_from(message.len()).map_err(|_| too_long())?;
    if length > MESSAGE_MAX_BYTES {
        return Err(too_long());
    }
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(message).await?;
    stream.flush().await
}

/// Reads a message of at most `max` bytes. `None` if the other side has closed the connection.
///
/// # Errors
/// If the connection fails, or the message is longer.
pub(super) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    max: u32,
) -> std::io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = u32::from_le_bytes(length);
    if length > max.min(MESSAGE_MAX_BYTES) {
        return Err(std::io::Error::other("a message is too long"));
    }
    // Memory is taken as the bytes arrive.
    let mut message = Vec::new();
    stream
        .take(u64::from(length))
        .read_to_end(&mut message)
        .await?;
    match message.len() as u64 == u64::from(length) {
        true => Ok(Some(message.into())),
        false => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The largest response that is read.
pub(super) const RESPONSE_MAX_BYTES: u32 = MESSAGE_MAX_BYTES;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range() -> KeyRange {
        KeyRange {
            start: Key::from_bytes(vec![1, 2]),
            end: Some(Key::from_bytes(vec![3])),
        }
    }

    #[test]
    fn requests_are_read_as_they_were_written_and_cut_ones_are_refused() {
        let cell = Space::Cell(CellId::from_bytes([7; 16]));
        let limit = Limit {
            records: 5,
            bytes: usize::MAX,
        };
        for request in [
            RecordRequest::Get(
                cell,
                vec![Key::from_bytes(vec![1]), Key::from_bytes(vec![])],
            ),
            RecordRequest::Scan(Space::Unit, range(), Direction::Down, limit),
            RecordRequest::Count(cell, KeyRange::all()),
            RecordRequest::LastCommit(cell),
            RecordRequest::ListSpaces(Some(Space::Unit), 9),
            RecordRequest::ListSpaces(None, 9),
            RecordRequest::FindDamage(cell),
            RecordRequest::Snapshot(cell),
            RecordRequest::ScanSnapshot(range(), limit),
            RecordRequest::SnapshotState(range()),
            RecordRequest::Journal(cell, JournalPosition::new(3, 1), limit),
            RecordRequest::NoteForgotten("root (0)".to_owned(), "a cell".to_owned()),
            RecordRequest::ChangedSpaces(None),
            RecordRequest::SmallSpace(cell, limit),
            RecordRequest::ChangedSpaces(Some(ChangeMark {
                run: [7; RUN_BYTES],
                number: 9,
            })),
        ] {
            let message = Bytes::from(request.encode());
            let decoded = RecordRequest::decode(message.clone()).unwrap();
            assert_eq!(decoded, request);
            for len in 0..message.len() {
                assert!(
                    RecordRequest::decode(message.slice(..len)).is_err(),
                    "{request:?} {len}"
                );
            }
        }
    }

    #[test]
    fn errors_keep_their_kind_and_their_text() {
        for kind in ERRORS {
            let error = kind(ErrorDetail::new("what failed"));
            let message = encode_response(Err(error.clone())).into();
            let found = decode_response(message).map(|_| ()).unwrap_err();
            assert_eq!(format!("{found:?}"), format!("{error:?}"));
        }
        let message = encode_response(Err(StoreError::SpaceDropped)).into();
        let found = decode_response(message).map(|_| ()).unwrap_err();
        assert!(matches!(found, StoreError::SpaceDropped));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_without_a_panic(message: Vec<u8>) {
            let _ = RecordRequest::decode(message.clone().into());
            let records = decode_response(message.into());
            let _ = records.map(|mut parts| parts.records().is_ok());
        }
    }
}
