//! The journal of a space: what each of its commits has changed, and when.
//!
//! The form of the changes of an entry is a byte, 1 if they are the last ones of their commit, then for each change the length of the key and
//! that of the value plus one (0: the record was removed), in four bytes each, little-endian, and their bytes.

use bytes::{Buf, Bytes};

use crate::{ErrorDetail, Key, Result, StoreError};

/// The number of bits of a position that are the number of a part.
const PART_BITS: u32 = 16;

/// The length of the lengths of a change.
const HEAD_BYTES: usize = 8;

/// The place of an entry in its journal, ascending: the number of the commit, and that of the part of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPosition(u64);

impl JournalPosition {
    /// The place of a part of a commit. Numbers of parts end at 65,535.
    #[must_use]
    pub const fn new(commit: u64, part: u16) -> Self {
        Self(commit << PART_BITS | part as u64)
    }

    /// The place after all parts of a commit.
    #[must_use]
    pub const fn end_of(commit: u64) -> Self {
        Self::new(commit, u16::MAX)
    }

    /// The place with this number, as [`number`](Self::number) returns it.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number of the place.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The number of the commit.
    #[must_use]
    pub const fn commit(self) -> u64 {
        self.0 >> PART_BITS
    }

    /// The number of the part of the commit.
    #[must_use]
    pub const fn part(self) -> u64 {
        self.0 & u16::MAX as u64
    }
}

/// A part of what a commit has changed. A large commit has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its place.
    pub position: JournalPosition,
    /// The time of the commit in milliseconds since 1970-01-01 UTC, by the wall clock: it may go back.
    pub time_ms: i64,
    /// The encoded changes.
    pub changes: Bytes,
}

impl JournalEntry {
    /// Returns the changes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they do not have the form.
    pub fn decode(&self) -> Result<JournalChanges> {
        JournalChanges::decode(self.changes.clone()).ok_or_else(|| {
            StoreError::Corrupt(ErrorDetail::new("an entry of a journal is damaged"))
        })
    }
}

/// The changes of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalChanges {
    /// Whether the commit has no further parts.
    pub is_last: bool,
    /// The keys with their new values; without one, the record was removed.
    pub changes: Vec<(Key, Option<Bytes>)>,
}

impl JournalChanges {
    /// Encodes the changes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![u8::from(self.is_last)];
        for (key, value) in &self.changes {
            encode_change(&mut out, key, value.as_deref());
        }
        out.into()
    }

    fn decode(mut rest: Bytes) -> Option<Self> {
        let is_last = match rest.try_get_u8().ok()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut changes = Vec::new();
        while !rest.is_empty() {
            let key = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
            let value = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
            if key > rest.len() {
                return None;
            }
            let key = Key::from_bytes(rest.split_to(key).to_vec());
            let value = match value.checked_sub(1) {
                None => None,
                Some(len) if len > rest.len() => return None,
                Some(len) => Some(rest.split_to(len)),
            };
            changes.push((key, value));
        }
        Some(Self { is_last, changes })
    }
}

/// Appends a change to the encoded changes of an entry, which begin with the byte of their end.
pub fn encode_change(out: &mut Vec<u8>, key: &Key, value: Option<&[u8]>) {
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    out.reserve(HEAD_BYTES + key.len() + value.map_or(0, <[u8]>::len));
    out.extend_from_slice(&len(key.len()));
    out.extend_from_slice(&len(value.map_or(0, |value| value.len() + 1)));
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value.unwrap_or_default());
}

/// A part of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalPage {
    /// The last commit of the space at that time, whether or not the journal has it.
    pub last_commit: u64,
    /// The entries in the order of their places. Without any, the journal has nothing more.
    pub entries: Vec<JournalEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_encoded_and_cut_ones_are_refused() {
        let key = |text: &str| Key::table(b'k').text(text).build();
        let changes = JournalChanges {
            is_last: true,
            changes: vec![
                (key("put"), Some(Bytes::from_static(b"value"))),
                (key("removed"), None),
                (key("empty"), Some(Bytes::new())),
            ],
        };
        let entry = |changes| JournalEntry {
            position: JournalPosition::new(7, 2),
            time_ms: 9,
            changes,
        };
        let encoded = changes.encode();
        assert_eq!(entry(encoded.clone()).decode().unwrap(), changes);
        let ends = [1, 1 + 8 + 5 + 3 + 5, encoded.len() - 8 - 8];
        for len in (0..encoded.len()).filter(|len| !ends.contains(len)) {
            let cut = entry(encoded.slice(..len)).decode();
            let known = cut.as_ref().is_ok_and(|cut| {
                changes.changes.starts_with(&cut.changes) && cut.changes.len() < 3
            });
            assert!(cut.is_err() || known, "{len}");
        }
        let position = JournalPosition::new(7, 2);
        assert_eq!((position.commit(), position.part()), (7, 2));
        assert!(position < JournalPosition::end_of(7));
        assert!(JournalPosition::end_of(7) < JournalPosition::new(8, 0));
    }
}
