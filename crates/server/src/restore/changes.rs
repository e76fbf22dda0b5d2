//! The changes of a space between a generation and a later time, and its records with them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use personium_store::{
    BlobReader, BlobStore, CommitSeq, ErrorDetail, JournalEntry, Key, Result, Space, StoreError,
};
use personium_types::BlobId;

use super::point_in_time::SegmentOnWay;
use crate::backup::manifest::SpaceEntry;
use crate::backup::record_file::{RecordSum, SpaceRecordReader};
use crate::backup::segment_file::SegmentReader;

/// The length of the lengths of a change, before its key.
const HEAD_BYTES: u64 = 8;

/// The largest value that is kept in memory.
const INLINE_MAX_BYTES: usize = 256;

/// A new value.
#[derive(Debug, Clone)]
enum ChangedValue {
    Removed,
    Short(Bytes),
    /// A part of a segment.
    Long {
        segment: usize,
        offset: u64,
        len: usize,
    },
}

/// The changes of a space.
#[derive(Debug, Default)]
pub(super) struct Changes {
    segments: Vec<BlobId>,
    values: BTreeMap<Key, ChangedValue>,
    /// The time of the last commit; `None` if there is none.
    pub(super) reached_ms: Option<i64>,
    /// Why they do not lead to the wanted time.
    pub(super) problem: Option<String>,
}

impl Changes {
    /// Reads the changes of a space in these segments, from after a commit until a time. What is damaged or missing ends them after the last whole
    /// commit before.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn read(
        files: &dyn BlobStore,
        space: &Space,
        segments: &[SegmentOnWay],
        (base, at_ms): (CommitSeq, i64),
    ) -> Result<Self> {
        let mut changes = Self {
            segments: segments.iter().map(|segment| segment.file).collect(),
            ..Self::default()
        };
        let mut commits = CommitReader {
            last: base,
            is_over: false,
            part: 0,
            pending: Vec::new(),
        };
        for (number, segment) in segments.iter().enumerate() {
            let read = changes.read_segment(files, (space, segment, number), (&mut commits, at_ms));
            match read.await {
                Ok(true) => {}
                Ok(false) => break,
                Err(StoreError::Corrupt(_)) if !segment.is_needed || commits.is_over => break,
                Err(StoreError::Corrupt(detail)) => {
                    let damage = StoreError::Corrupt(detail);
                    let text = personium_types::error::chain(&damage);
                    changes.problem = Some(format!("its journal is damaged: {text}"));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(changes)
    }

    /// Returns whether the changes go on in the next segment.
    async fn read_segment(
        &mut self,
        files: &dyn BlobStore,
        (space, segment, number): (&Space, &SegmentOnWay, usize),
        (commits, at_ms): (&mut CommitReader, i64),
    ) -> Result<bool> {
        let body = files
            .open(space, &segment.file)
            .await?
            .ok_or_else(|| StoreError::Corrupt(ErrorDetail::new("a segment of it is missing")))?;
        let mut reader = SegmentReader::new(body);
        while let Some((begin, entry)) = reader.next().await? {
            if entry.position.commit() <= commits.last {
                continue;
            }
            if commits.is_over {
                if entry.time_ms <= at_ms && segment.is_needed {
                    let text = "the clock was set back; what follows a later time is left out";
                    self.problem = Some(text.to_owned());
                    return Ok(false);
                }
                continue;
            }
            // What is missing can be earlier than the entry.
            if !commits.goes_on(&entry) {
                if segment.is_needed {
                    let last = commits.last;
                    self.problem = Some(format!("its journal has a gap after the commit {last}"));
                }
                return Ok(false);
            }
            if entry.time_ms > at_ms {
                commits.is_over = true;
                continue;
            }
            let decoded = entry.decode()?;
            let mut offset = begin + 1;
            for (key, value) in decoded.changes {
                offset += HEAD_BYTES + key.len() as u64;
                let changed = match value {
                    None => ChangedValue::Removed,
                    Some(value) if value.len() <= INLINE_MAX_BYTES => {
                        // A copy, so that a short value does not keep the whole entry in memory.
                        ChangedValue::Short(Bytes::copy_from_slice(&value))
                    }
                    Some(value) => ChangedValue::Long {
                        segment: number,
                        offset,
                        len: value.len(),
                    },
                };
                offset += match &changed {
                    ChangedValue::Removed => 0,
                    ChangedValue::Short(value) => value.len() as u64,
                    ChangedValue::Long { len, .. } => *len as u64,
                };
                commits.pending.push((key, changed));
            }
            commits.part += 1;
            if decoded.is_last {
                commits.last = entry.position.commit();
                commits.part = 0;
                self.values.extend(commits.pending.drain(..));
                self.reached_ms = Some(entry.time_ms);
            }
        }
        Ok(true)
    }

    /// Sets the value of a short record.
    pub(super) fn set(&mut self, key: Key, value: Bytes) {
        self.values.insert(key, ChangedValue::Short(value));
    }

    /// The first change after a key.
    fn after(&self, key: Option<&Key>) -> Option<(&Key, &ChangedValue)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.values.range((from, Bound::Unbounded)).next()
    }
}

/// Until where the commits of a journal were read.
struct CommitReader {
    /// The last whole commit.
    last: CommitSeq,
    /// Whether a commit after it is later than the wanted time.
    is_over: bool,
    /// The number of the next part of the commit after it.
    part: u64,
    /// The changes of its former parts.
    pending: Vec<(Key, ChangedValue)>,
}

impl CommitReader {
    /// Whether nothing is missing before an entry.
    fn goes_on(&self, entry: &JournalEntry) -> bool {
        let is_next = entry.position.commit() == self.last + 1;
        // Of very large commits, the number of the last part says nothing.
        is_next && entry.position.part() == self.part.min(u64::from(u16::MAX))
    }
}

/// Reads the records of a space in the order of their keys: those of a generation, with changes.
pub(super) struct ChangedRecords {
    files: Arc<dyn BlobStore>,
    space: Space,
    /// `None`: the generation does not have the space.
    base: Option<SpaceRecordReader>,
    next_of_base: Option<(Key, Bytes)>,
    changes: Arc<Changes>,
    /// The last change that was passed.
    passed: Option<Key>,
    /// The segment that a value was read from last.
    open: Option<(usize, Box<dyn BlobReader>)>,
}

impl ChangedRecords {
    /// Opens the records of a space.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file of the generation is missing or damaged; another failure of the store.
    pub(super) async fn open(
        files: &Arc<dyn BlobStore>,
        (space, base): (&Space, Option<&SpaceEntry>),
        changes: Arc<Changes>,
    ) -> Result<Self> {
        let mut base = base.map(|entry| SpaceRecordReader::new(files, space, entry.files()));
        let next_of_base = match &mut base {
            Some(base) => base.next().await?,
            None => None,
        };
        Ok(Self {
            files: Arc::clone(files),
            space: *space,
            base,
            next_of_base,
            changes,
            passed: None,
            open: None,
        })
    }

    /// The sum of the records of the generation that were read so far.
    pub(super) fn base_sum(&self) -> RecordSum {
        self.base
            .as_ref()
            .map_or_else(RecordSum::default, SpaceRecordReader::sum)
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a file is damaged, or another failure of the store.
    pub(super) async fn next(&mut self) -> Result<Option<(Key, Bytes)>> {
        loop {
            let changed = self.changes.after(self.passed.as_ref());
            let changed = changed.map(|(key, value)| (key.clone(), value.clone()));
            let of_base = self.next_of_base.as_ref().map(|(key, _)| key);
            let Some((key, value)) = changed else {
                return self.take_of_base().await;
            };
            match of_base {
                Some(of_base) if *of_base < key => return self.take_of_base().await,
                Some(of_base) if *of_base == key => drop(self.take_of_base().await?),
                _ => {}
            }
            self.passed = Some(key.clone());
            let value = match value {
                ChangedValue::Removed => continue,
                ChangedValue::Short(value) => value,
                ChangedValue::Long {
                    segment,
                    offset,
                    len,
                } => self.read(segment, offset, len).await?,
            };
            return Ok(Some((key, value)));
        }
    }

    async fn take_of_base(&mut self) -> Result<Option<(Key, Bytes)>> {
        let next = match &mut self.base {
            Some(base) => base.next().await?,
            None => None,
        };
        Ok(std::mem::replace(&mut self.next_of_base, next))
    }

    async fn read(&mut self, segment: usize, offset: u64, len: usize) -> Result<Bytes> {
        let damaged =
            || StoreError::Corrupt(ErrorDetail::new("a segment of a journal was changed"));
        let mut reader = match self.open.take() {
            Some((open, reader)) if open == segment => reader,
            _ => {
                let id = self.changes.segments.get(segment).ok_or_else(damaged)?;
                let opened = self.files.open(&self.space, id).await?;
                opened.ok_or_else(damaged)?
            }
        };
        let value = reader.read_at(offset, len).await?;
        self.open = Some((segment, reader));
        match value.len() == len {
            true => Ok(value),
            false => Err(damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryBlobs;
    use personium_store::{JournalChanges, JournalPosition};

    use super::*;
    use crate::backup::segment_file::SegmentWriter;
    use crate::system;

    /// Stores a segment with these commits and their times.
    async fn segment(files: &MemoryBlobs, commits: &[(u64, i64)], is_needed: bool) -> SegmentOnWay {
        let mut writer = SegmentWriter::new(files.create(&Space::Unit).await.unwrap());
        for (commit, time_ms) in commits {
            let key = Key::table(b'k').text(&commit.to_string()).build();
            let changes = JournalChanges {
                is_last: true,
                changes: vec![(key, Some(Bytes::from_static(b"value")))],
            };
            let entry = JournalEntry {
                position: JournalPosition::new(*commit, 0),
                time_ms: *time_ms,
                changes: changes.encode(),
            };
            writer.append(&entry).await.unwrap();
        }
        let file = writer.finish().await.unwrap();
        SegmentOnWay { file, is_needed }
    }

    #[tokio::test]
    async fn changes_end_at_the_time_and_what_is_missing_before_it_is_named() {
        let files = MemoryBlobs::new(system::clock(), system::random());
        for (first, second, is_needed, reached, problem) in [
            (&[(3, 30), (4, 40)], &[(5, 51)][..], false, 4, ""),
            (&[(1, 10), (2, 20)], &[(3, 30), (4, 60)], false, 3, ""),
            // What is missing is not later than the next entry.
            (&[(3, 30), (4, 40)], &[(6, 60)], true, 4, "has a gap"),
            (&[(3, 30), (4, 40)], &[(6, 60)], false, 4, ""),
            (&[(3, 30), (5, 60)], &[], true, 3, "has a gap"),
            // The clock was set back.
            (&[(3, 60), (4, 61)], &[(5, 40)], true, 2, "was set back"),
            (&[(3, 60), (4, 61)], &[(5, 40)], false, 2, ""),
        ] {
            let way = [
                segment(&files, first, true).await,
                segment(&files, second, is_needed).await,
            ];
            let read = Changes::read(&files, &Space::Unit, &way, (2, 50)).await;
            let read = read.unwrap();
            let wanted = (3..=reached).map(|n| Key::table(b'k').text(&n.to_string()).build());
            let found: Vec<_> = read.values.keys().cloned().collect();
            assert_eq!(found, wanted.collect::<Vec<_>>());
            let found = read.problem.unwrap_or_default();
            assert!(
                found.contains(problem) && found.is_empty() == problem.is_empty(),
                "{found}"
            );
        }
    }
}
