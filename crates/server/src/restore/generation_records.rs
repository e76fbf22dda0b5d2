//! The records of a generation, as they were then or at a later time, as a record port, which can be read only.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_store::{
    Batch, BlobStore, CommitSeq, Direction, ErrorDetail, Key, KeyRange, Limit, Record, RecordStore,
    Result, Snapshot, Space, StoreError, StructureVersion,
};

use super::changes::{ChangedRecords, Changes};
use super::point_in_time::PointInTime;
use crate::backup::manifest::Manifest;

/// The number of spaces that can be read at the same time without that one begins anew at each page.
const SPACES_MAX: usize = 8;

/// The records of a generation. Scans upwards are fast if each goes on where the last one of its space ended.
pub(super) struct GenerationRecords {
    files: Arc<dyn BlobStore>,
    manifest: Arc<Manifest>,
    /// The later time.
    point: Option<Arc<PointInTime>>,
    /// The changes until then of the spaces that were read last.
    changes: Mutex<VecDeque<(Space, Arc<Changes>)>>,
    cursors: Mutex<VecDeque<Cursor>>,
}

/// A place in the file of the records of a space.
struct Cursor {
    space: Space,
    reader: ChangedRecords,
    /// The record that was read last and not returned.
    next: Option<(Key, Bytes)>,
    /// The last key that was passed.
    passed: Option<Key>,
}

impl GenerationRecords {
    pub(super) fn new(
        files: Arc<dyn BlobStore>,
        manifest: Arc<Manifest>,
        point: Option<Arc<PointInTime>>,
    ) -> Self {
        Self {
            files,
            manifest,
            point,
            changes: Mutex::default(),
            cursors: Mutex::default(),
        }
    }

    /// Returns what has changed in a space since the generation.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn changes(&self, space: &Space) -> Result<Arc<Changes>> {
        let Some(point) = &self.point else {
            return Ok(Arc::default());
        };
        {
            let mut kept = self.changes.lock();
            if let Some((_, changes)) = kept.iter().find(|(of, _)| of == space) {
                return Ok(Arc::clone(changes));
            }
            kept.truncate(SPACES_MAX - 1);
        }
        let segments = point.segments.get(space).map_or(&[][..], Vec::as_slice);
        let base = self.manifest.entry(space).map_or(0, |entry| entry.commit);
        let until = (base, point.at_ms);
        let mut changes = Changes::read(&*self.files, space, segments, until).await?;
        if let (Space::Unit, Some(cells)) = (space, point.cells) {
            let number = keys::entity_count(&SetKey::control(ControlSet::Cell));
            changes.set(number, Bytes::copy_from_slice(&cells.to_le_bytes()));
        }
        let changes = Arc::new(changes);
        self.changes
            .lock()
            .push_front((*space, Arc::clone(&changes)));
        Ok(changes)
    }

    /// Opens the records of a space; `None` if there is no such space.
    ///
    /// # Errors
    /// As a read.
    pub(super) async fn open(&self, space: &Space) -> Result<Option<ChangedRecords>> {
        let Some(entry) = self.manifest.entry(space) else {
            return Ok(None);
        };
        let changes = self.changes(space).await?;
        let is_new = |point: &Arc<PointInTime>| matches!(space, Space::Cell(id) if point.new_cells.contains(id));
        let base = Some(entry).filter(|_| !self.point.as_ref().is_some_and(is_new));
        let base = (space, base);
        let opened = ChangedRecords::open(&self.files, base, changes).await?;
        Ok(Some(opened))
    }

    /// A cursor before the first record of a range; `None` if there is no such space.
    async fn seek(&self, space: &Space, range: &KeyRange) -> Result<Option<Cursor>> {
        let kept = {
            let mut cursors = self.cursors.lock();
            let at = cursors.iter().position(|kept| kept.space == *space);
            at.and_then(|at| cursors.remove(at))
        };
        let is_before = |kept: &Cursor| {
            let passed = kept.passed.as_ref();
            passed.is_none_or(|passed| *passed < range.start)
        };
        let mut cursor = match kept.filter(is_before) {
            Some(kept) => kept,
            None => {
                let Some(mut reader) = self.open(space).await? else {
                    return Ok(None);
                };
                Cursor {
                    space: *space,
                    next: reader.next().await?,
                    reader,
                    passed: None,
                }
            }
        };
        while let Some((key, _)) = &cursor.next
            && *key < range.start
        {
            cursor.advance().await?;
        }
        Ok(Some(cursor))
    }
}

impl Cursor {
    /// Passes the next record, and returns it.
    async fn advance(&mut self) -> Result<Option<(Key, Bytes)>> {
        let next = self.reader.next().await?;
        let passed = std::mem::replace(&mut self.next, next);
        if let Some((key, _)) = &passed {
            self.passed = Some(key.clone());
        }
        Ok(passed)
    }
}

fn unsupported() -> StoreError {
    StoreError::Unsupported(ErrorDetail::new(
        "a generation of a back-up can only be read",
    ))
}

#[async_trait]
impl RecordStore for GenerationRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        let mut value = Vec::with_capacity(keys.len());
        for key in keys {
            let range = KeyRange {
                start: key.clone(),
                end: Some(KeyRange::all().after(key).start),
            };
            let found = self
                .scan(space, &range, Direction::Up, Limit::records(1))
                .await?;
            value.push(found.value.into_iter().next().map(|(_, record)| record));
        }
        Ok(Snapshot {
            value,
            structure: 0,
        })
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        if order == Direction::Down {
            return Err(unsupported());
        }
        let (mut value, mut bytes) = (Vec::new(), 0);
        let Some(mut cursor) = self.seek(space, range).await? else {
            return Ok(Snapshot {
                value,
                structure: 0,
            });
        };
        while let Some((key, _)) = &cursor.next
            && range.contains(key)
            && !limit.is_reached(value.len(), bytes)
        {
            if let Some((key, found)) = cursor.advance().await? {
                bytes += found.len();
                let record = Record {
                    value: found,
                    version: 0,
                };
                value.push((key, record));
            }
        }
        let mut cursors = self.cursors.lock();
        cursors.truncate(SPACES_MAX - 1);
        cursors.push_front(cursor);
        drop(cursors);
        Ok(Snapshot {
            value,
            structure: 0,
        })
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        let mut rest = range.clone();
        let mut count = 0;
        loop {
            let page = self
                .scan(space, &rest, Direction::Up, Limit::records(1_000))
                .await?;
            count += page.value.len() as u64;
            match page.value.last() {
                Some((last, _)) => rest = rest.after(last),
                None => return Ok(page.map(|_| count)),
            }
        }
    }

    async fn structure(&self, _: &Space) -> Result<StructureVersion> {
        Ok(0)
    }

    async fn commit(&self, _: &Space, _: Batch) -> Result<CommitSeq> {
        Err(unsupported())
    }

    async fn create_space(&self, _: &Space) -> Result<()> {
        Err(unsupported())
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        let spaces = self.manifest.spaces().map(|(space, _)| space);
        let spaces = spaces.filter(|space| after.is_none_or(|after| space > after));
        Ok(spaces.take(limit).collect())
    }

    async fn drop_space(&self, _: &Space) -> Result<()> {
        Err(unsupported())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
