//! The stored form of values, and the errors of a store.

use personium_store::{Batch, CommitSeq, Expect, Key, Record, StoreError};
use personium_types::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::usage;

/// The format of the stored values that this build writes. Older formats are upgraded when read.
const FORMAT: u8 = 1;

/// The value of a counter by its record, and the state of the record.
pub(crate) fn counter_of(record: Option<&Record>) -> (i64, Expect) {
    match record {
        None => (0, Expect::Absent),
        Some(record) => (count_of(&record.value), Expect::Version(record.version)),
    }
}

/// The value of a counter, from its record.
#[must_use]
pub fn count_of(value: &[u8]) -> i64 {
    <[u8; 8]>::try_from(value).map_or(0, i64::from_le_bytes)
}

/// Adds an entity to a batch, with the assertion that its record is in the state that was read, and the bytes that it takes.
/// `read` is the version and the length of the record.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub(crate) fn put_entity_checked<T: Serialize>(
    batch: &mut Batch,
    key: Key,
    read: Option<(CommitSeq, usize)>,
    value: &T,
) -> Result<()> {
    let (version, before) = read.unzip();
    batch.assert(key.clone(), version.map_or(Expect::Absent, Expect::Version));
    let encoded = encode(value)?;
    usage::add_entity(batch, before.unwrap_or(0), encoded.len());
    batch.put(key, encoded);
    Ok(())
}

/// Adds a value to a batch, with the assertion that the record is in the state that was read.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub fn put_checked<T: Serialize>(
    batch: &mut Batch,
    key: Key,
    read: Option<CommitSeq>,
    value: &T,
) -> Result<()> {
    batch.assert(key.clone(), read.map_or(Expect::Absent, Expect::Version));
    put(batch, key, value)
}

/// Adds a value to a batch.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub fn put<T: Serialize>(batch: &mut Batch, key: Key, value: &T) -> Result<()> {
    batch.put(key, encode(value)?);
    Ok(())
}

/// Encodes a value as it is stored: one byte for the format, then JSON.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = vec![FORMAT];
    serde_json::to_writer(&mut out, value)
        .map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))?;
    Ok(out)
}

/// Decodes a stored value.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the format is unknown or the value cannot be decoded.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&FORMAT, json)) => {
            // Checked once as a whole: otherwise each string of it would be.
            let text = simdutf8::basic::from_utf8(json)
                .map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))?;
            serde_json::from_str(text).map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))
        }
        _ => Err(Error::new(Code::StoreCorrupt).with_source("unknown format of a record")),
    }
}

/// Converts an error of the engine, which becomes the source.
#[must_use]
pub fn store_error(error: StoreError) -> Error {
    let code = match &error {
        StoreError::Conflict | StoreError::Sealed => Code::Conflict,
        StoreError::SpaceDropped => Code::NoSuchCell,
        StoreError::Busy(_) => Code::ServerBusy,
        StoreError::Full(_) => Code::StorageFull,
        StoreError::OverQuota(detail) => {
            return Error::new(Code::OverQuota)
                .with(detail.to_string())
                .with_source(error);
        }
        StoreError::ReadOnly(_) => Code::StorageReadOnly,
        StoreError::Corrupt(_) => Code::StoreCorrupt,
        StoreError::TooLarge(detail) => {
            return Error::new(Code::RecordTooLarge)
                .with(detail.to_string())
                .with_source(error);
        }
        StoreError::Down(_) | StoreError::Unsupported(_) => Code::StoreDown,
    };
    Error::new(code).with_source(error)
}
