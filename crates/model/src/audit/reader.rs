//! Reading the chain: export, and the verification that nothing in it was changed.

use std::fmt;
use std::io;

use bytes::Bytes;
use personium_store::{Direction, Key, KeyRange};
use personium_types::{Code, Result};

use super::chain::{AuditHead, AuditLink, hash, line};
use crate::keys;
use crate::records::{self, Records};

/// The number of entries that are read at once.
const PAGE: usize = 500;

/// The largest number of findings that are reported one by one.
const MAX_FINDINGS: usize = 1_000;

/// The number of times that the chain is read if old entries are removed meanwhile.
const MAX_READS: usize = 5;

/// A key, and the value if it can be read.
type ReadEntry = (Key, Option<Bytes>);

/// The entries that an export contains, by their times in the form of RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The first time.
    pub from: Option<String>,
    /// The time before which they are.
    pub until: Option<String>,
}

/// The number and the hash of an entry that somebody has noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedEntry {
    /// Its number.
    pub sequence: u64,
    /// Its hash in hexadecimal digits.
    pub hash: String,
}

/// Something that is wrong with the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditFinding {
    /// An entry cannot be read.
    Damaged(u64),
    /// The entries from one number to another are missing.
    Missing(u64, u64),
    /// In the place of an entry is the one with another number.
    Misplaced(u64, u64),
    /// An entry is not the one that was appended.
    Changed(u64),
    /// The entries after the head.
    Unknown(u64),
    /// The head is missing or cannot be read, although there are entries.
    NoHead,
    /// A noted entry is another one.
    OtherThanNoted(u64),
    /// A noted entry was not appended.
    LaterThanHead(u64),
    /// There are more findings.
    More,
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(sequence) => write!(f, "entry {sequence} cannot be read"),
            Self::Missing(from, to) if from == to => write!(f, "entry {from} is missing"),
            Self::Missing(from, to) => write!(f, "entries {from} to {to} are missing"),
            Self::Misplaced(at, found) => write!(f, "in the place of entry {at} is entry {found}"),
            Self::Changed(sequence) => write!(f, "entry {sequence} was changed"),
            Self::Unknown(sequence) => {
                write!(f, "entry {sequence} was not appended by a unit")
            }
            Self::NoHead => f.write_str("the head is missing, although there are entries"),
            Self::OtherThanNoted(sequence) => {
                write!(f, "entry {sequence} is another one than was noted")
            }
            Self::LaterThanHead(sequence) => {
                write!(f, "entry {sequence} was noted and is missing")
            }
            Self::More => f.write_str("there is more"),
        }
    }
}

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditVerification {
    /// The number of the first entry.
    pub first: u64,
    /// The number of the last entry; one less than `first` if there is none.
    pub last: u64,
    /// The hash of the last entry.
    pub last_hash: String,
    /// The findings; empty if nothing is wrong.
    pub findings: Vec<AuditFinding>,
    /// The noted entry was removed because it was old.
    pub is_noted_entry_removed: bool,
}

/// Passes the lines of the entries to `write`, in their order.
///
/// # Errors
/// A failure of the store; [`Code::StoreCorrupt`] if an entry cannot be read; the error of `write` as that of the other result.
pub async fn export(
    records: &Records,
    filter: &AuditFilter,
    mut write: impl FnMut(&str) -> io::Result<()>,
) -> Result<io::Result<()>> {
    let mut range = keys::audit_entries();
    loop {
        let page = records.list_bytes(&range, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(Ok(()));
        };
        range = range.after(last);
        for (_, value) in &page {
            let link: AuditLink = records::decode(value)?;
            let is_early = filter.from.as_ref().is_some_and(|from| link.time < *from);
            let is_late = filter.until.as_ref().is_some_and(|end| link.time >= *end);
            if is_early || is_late {
                continue;
            }
            if let Err(error) = write(line(value)?) {
                return Ok(Err(error));
            }
        }
    }
}

/// The number and the hash of the last entry; `None` if there is none.
///
/// # Errors
/// A failure of the store.
pub async fn last_entry(records: &Records) -> Result<Option<NotedEntry>> {
    let head = find_head(records).await?;
    Ok(head.map(|head| NotedEntry {
        sequence: head.last,
        hash: head.last_hash,
    }))
}

/// Verifies the chain, and that it contains a noted entry. The unit may run meanwhile.
///
/// # Errors
/// A failure of the store.
pub async fn verify(records: &Records, noted: Option<&NotedEntry>) -> Result<AuditVerification> {
    let mut reads = 1;
    loop {
        let head = match find_head(records).await {
            Ok(head) => head,
            Err(error) if error.code() == Code::StoreCorrupt => None,
            Err(error) => return Err(error),
        };
        let mut walk = Walk::new(head.clone().unwrap_or_default(), noted);
        if head.is_none() && !records.is_empty(&keys::audit_entries()).await? {
            walk.find(AuditFinding::NoHead);
            return Ok(walk.finish(noted));
        }
        walk.all(records).await?;
        let later = find_head(records).await?.unwrap_or_default();
        // Old entries may have been removed before they were read.
        if later.first == walk.head.first || reads == MAX_READS {
            walk.find_unknown(records).await?;
            return Ok(walk.finish(noted));
        }
        reads += 1;
    }
}

async fn find_head(records: &Records) -> Result<Option<AuditHead>> {
    let found = records.find(&keys::audit_head()).await?;
    Ok(found.map(|found| found.value))
}

/// The state of a verification.
struct Walk<'n> {
    head: AuditHead,
    noted: Option<&'n NotedEntry>,
    /// The number of the next entry.
    expected: u64,
    /// The hash of the entry before; `None` if that was missing or cannot be read.
    hash: Option<String>,
    findings: Vec<AuditFinding>,
}

impl<'n> Walk<'n> {
    fn new(head: AuditHead, noted: Option<&'n NotedEntry>) -> Self {
        Self {
            expected: head.first,
            hash: Some(head.before_first.clone()),
            head,
            noted,
            findings: Vec::new(),
        }
    }

    async fn all(&mut self, records: &Records) -> Result<()> {
        let mut next = Some(KeyRange {
            end: Some(keys::audit_entry(self.head.last.saturating_add(1))),
            ..keys::audit_entries()
        });
        while let Some(range) = next {
            let (page, rest) = read_page(records, &range).await?;
            next = rest;
            for (key, value) in &page {
                if let Some(sequence) = keys::number_of_audit_entry(key) {
                    self.look_at(sequence, value.as_deref());
                }
            }
        }
        if self.expected <= self.head.last {
            self.find(AuditFinding::Missing(self.expected, self.head.last));
        } else if self
            .hash
            .as_ref()
            .is_some_and(|hash| *hash != self.head.last_hash)
        {
            self.find(AuditFinding::Changed(self.head.last));
        }
        Ok(())
    }

    fn look_at(&mut self, sequence: u64, value: Option<&[u8]>) {
        if sequence < self.expected {
            // Before the first: an entry that was removed and put back.
            self.find(AuditFinding::Unknown(sequence));
            return;
        }
        if sequence > self.expected {
            self.find(AuditFinding::Missing(self.expected, sequence - 1));
            self.hash = None;
        }
        let before = self.hash.take();
        self.expected = sequence.saturating_add(1);
        let entry = value.and_then(|value| {
            let link: AuditLink = records::decode(value).ok()?;
            Some((link, hash(line(value).ok()?)))
        });
        let Some((link, hash)) = entry else {
            self.find(AuditFinding::Damaged(sequence));
            return;
        };
        if link.sequence != sequence {
            self.find(AuditFinding::Misplaced(sequence, link.sequence));
        } else if before.is_some_and(|before| before != link.previous) {
            self.find(AuditFinding::Changed(sequence.saturating_sub(1)));
        }
        if self
            .noted
            .is_some_and(|noted| noted.sequence == sequence && noted.hash != hash)
        {
            self.find(AuditFinding::OtherThanNoted(sequence));
        }
        self.hash = Some(hash);
    }

    /// Looks for entries that no head counts.
    async fn find_unknown(&mut self, records: &Records) -> Result<()> {
        let range = KeyRange {
            start: keys::audit_entry(self.head.last.saturating_add(1)),
            ..keys::audit_entries()
        };
        let found = records.list_keys(&range, Direction::Up, PAGE).await?;
        // Entry and head are stored together, so what is read first is counted by what is read afterwards.
        let head = find_head(records).await?.unwrap_or_default();
        let numbers = found.iter().filter_map(keys::number_of_audit_entry);
        for sequence in numbers.filter(|sequence| *sequence > head.last) {
            self.find(AuditFinding::Unknown(sequence));
        }
        Ok(())
    }

    fn find(&mut self, finding: AuditFinding) {
        match self.findings.len() {
            count if count < MAX_FINDINGS => self.findings.push(finding),
            MAX_FINDINGS => self.findings.push(AuditFinding::More),
            _ => {}
        }
    }

    fn finish(mut self, noted: Option<&NotedEntry>) -> AuditVerification {
        let mut is_noted_entry_removed = false;
        if let Some(noted) = noted {
            if noted.sequence > self.head.last {
                self.find(AuditFinding::LaterThanHead(noted.sequence));
            } else if noted.sequence + 1 == self.head.first {
                if noted.hash != self.head.before_first {
                    self.find(AuditFinding::OtherThanNoted(noted.sequence));
                }
            } else {
                is_noted_entry_removed = noted.sequence < self.head.first;
            }
        }
        AuditVerification {
            first: self.head.first,
            last: self.head.last,
            last_hash: self.head.last_hash,
            findings: self.findings,
            is_noted_entry_removed,
        }
    }
}

/// A page of entries, and the range of those that follow. An entry that cannot be read has no value.
async fn read_page(
    records: &Records,
    range: &KeyRange,
) -> Result<(Vec<ReadEntry>, Option<KeyRange>)> {
    match records.list_bytes(range, PAGE).await {
        Ok(page) => {
            let rest = page.last().map(|(last, _)| range.after(last));
            let page = page.into_iter().map(|(key, value)| (key, Some(value)));
            Ok((page.collect(), rest))
        }
        Err(error) if error.code() == Code::StoreCorrupt => read_singly(records, range).await,
        Err(error) => Err(error),
    }
}

/// As [`read_page`], one by one: the engine lists nothing of a page in which something is damaged.
async fn read_singly(
    records: &Records,
    range: &KeyRange,
) -> Result<(Vec<ReadEntry>, Option<KeyRange>)> {
    let first = keys::first_audit_number(range);
    let in_range = |key: &Key| range.end.as_ref().is_none_or(|end| key < end);
    let mut page = Vec::new();
    for key in (first..).take(PAGE).map(keys::audit_entry).filter(in_range) {
        match records.find_bytes(&key).await {
            Ok(Some(value)) => page.push((key, Some(value))),
            Ok(None) => {}
            Err(error) if error.code() == Code::StoreCorrupt => page.push((key, None)),
            Err(error) => return Err(error),
        }
    }
    let start = keys::audit_entry(first.saturating_add(PAGE as u64));
    let rest = in_range(&start).then(|| KeyRange {
        start,
        end: range.end.clone(),
    });
    Ok((page, rest))
}
