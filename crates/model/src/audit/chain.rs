//! The form of entries and of the head of the chain.
//!
//! An entry is one line of JSON. Its hash is the SHA-256 of that line without its end, in hexadecimal digits; the next entry has it as
//! `previous`. The first entry ever has 64 zeros.

use aws_lc_rs::digest::{SHA256, digest};
use personium_types::time::iso_time;
use personium_types::{Code, Error, Result, hex};
use serde::{Deserialize, Serialize};

use crate::audit_event::AuditEvent;
use crate::records;

/// The `previous` of the first entry, which has none before it.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The state of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AuditHead {
    /// The number of the first entry that is kept.
    #[serde(rename = "f")]
    pub(super) first: u64,
    /// The hash of the entry before that.
    #[serde(rename = "p")]
    pub(super) before_first: String,
    /// The number of the last entry; one less than `first` if there is none.
    #[serde(rename = "l")]
    pub(super) last: u64,
    /// The hash of the last entry.
    #[serde(rename = "h")]
    pub(super) last_hash: String,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self {
            first: 1,
            before_first: START.to_owned(),
            last: 0,
            last_hash: START.to_owned(),
        }
    }
}

/// An entry as it is stored.
#[derive(Serialize)]
struct StoredEntry<'e> {
    sequence: u64,
    previous: &'e str,
    time: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    node: &'e str,
    #[serde(flatten)]
    event: &'e AuditEvent,
}

/// When and where an entry is appended.
#[derive(Debug, Clone)]
pub struct AuditStamp {
    /// The time, in the form of RFC 3339.
    time: String,
    /// The name of the host; empty if it is not known.
    node: String,
}

impl AuditStamp {
    /// Entries of this time, in milliseconds since 1970, and of the host with this name.
    #[must_use]
    pub fn new(now_ms: i64, node: &str) -> Self {
        Self {
            time: iso_time(now_ms),
            node: node.to_owned(),
        }
    }
}

/// The members of an entry by which it is linked.
#[derive(Debug, Deserialize)]
pub(super) struct AuditLink {
    pub(super) sequence: u64,
    pub(super) previous: String,
    pub(super) time: String,
}

impl AuditHead {
    /// Appends an entry. Returns its number and the value of its record.
    ///
    /// # Errors
    /// [`Code::StoreCorrupt`] if the entry cannot be encoded.
    pub(super) fn append(
        &mut self,
        event: &AuditEvent,
        stamp: &AuditStamp,
    ) -> Result<(u64, Vec<u8>)> {
        let sequence = self.last + 1;
        let value = records::encode(&StoredEntry {
            sequence,
            previous: &self.last_hash,
            time: &stamp.time,
            node: &stamp.node,
            event,
        })?;
        self.last_hash = hash(line(&value)?);
        self.last = sequence;
        Ok((sequence, value))
    }
}

/// The line in the value of a record.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value is not an entry.
pub(super) fn line(value: &[u8]) -> Result<&str> {
    let (_, json) = value.split_first().ok_or(Code::StoreCorrupt)?;
    std::str::from_utf8(json).map_err(|error| Error::new(Code::StoreCorrupt).with_source(error))
}

/// The hash of a line.
pub(super) fn hash(line: &str) -> String {
    hex::encode(digest(&SHA256, line.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit_event::AuditEventKind;

    fn stamp() -> AuditStamp {
        AuditStamp::new(1_769_850_930_123, "")
    }

    #[test]
    fn entry_is_a_line_that_has_the_hash_of_the_one_before() {
        let mut head = AuditHead::default();
        let event = AuditEvent::new(AuditEventKind::Note, "test");
        let (first, value) = head.append(&event, &stamp()).unwrap();
        let expected = format!(
            "{{\"sequence\":1,\"previous\":\"{START}\",\"time\":\"2026-01-31T09:15:30.123Z\",\"event\":\"note\",\
             \"operation\":\"test\"}}"
        );
        assert_eq!((first, line(&value).unwrap()), (1, expected.as_str()));
        // printf '%s' "$expected" | sha256sum
        let (second, value) = head.append(&event, &stamp()).unwrap();
        let link: AuditLink = records::decode(&value).unwrap();
        assert_eq!((second, link.sequence), (2, 2));
        assert_eq!(link.previous, hash(&expected));
        assert_eq!(head.last_hash, hash(line(&value).unwrap()));
    }

    #[test]
    fn hash_is_that_of_sha256sum() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc"), expected);
    }

    #[test]
    fn text_of_a_request_is_bounded() {
        let mut head = AuditHead::default();
        let long = "é".repeat(100_000);
        let event = AuditEvent::new(AuditEventKind::Begin, "test")
            .with_target(&long)
            .with_request_key(&long);
        let (_, value) = head.append(&event, &stamp()).unwrap();
        assert!(value.len() < 5_000, "{}", value.len());
    }
}
