//! The records of the unit itself. Entries of its audit log never change, so a file with those that a former generation has is not written again.

use std::collections::BTreeMap;

use personium_model::keys::{self, ControlSet, SetKey};
use personium_store::{Key, KeyRange, Limit, RecordSnapshot, Space, record_checksum};
use personium_types::{BlobId, CellId};

use super::{GenerationWriter, SpaceError, SpaceResult};
use crate::backup::manifest::{AuditSpan, RecordPart, SpaceEntry};
use crate::backup::record_file::{RecordFileWriter, RecordSum};

/// The number of files with entries of the audit log from which on all entries are written to one again.
const AUDIT_PARTS_MAX: usize = 30;

impl GenerationWriter<'_> {
    /// Writes the records of the unit itself.
    pub(super) async fn write_unit(
        &self,
        snapshot: &mut dyn RecordSnapshot,
    ) -> SpaceResult<SpaceEntry> {
        let audit = keys::audit_entries();
        let before = KeyRange {
            start: KeyRange::all().start,
            end: Some(audit.start.clone()),
        };
        let written = self.write_range(&Space::Unit, snapshot, before).await?;
        let (records, mut sum) = (written.file, written.sum);
        let mut following = self.write_audit(snapshot, &audit).await?;
        if let Some(start) = audit.end {
            let after = KeyRange { start, end: None };
            let written = self.write_range(&Space::Unit, snapshot, after).await?;
            following.push(RecordPart {
                file: written.file,
                sum: written.sum,
                audit: None,
            });
        }
        for part in &following {
            sum.add_sum(part.sum);
        }
        Ok(SpaceEntry {
            name: String::new(),
            commit: snapshot.last_commit(),
            records,
            following,
            sum,
            bodies: 0,
            body_bytes: 0,
            problem: None,
            stamp: None,
        })
    }

    /// Writes the entries of these cells in the catalogue, for a back-up of a part of the unit.
    pub(super) async fn write_catalogue(
        &self,
        snapshot: &mut dyn RecordSnapshot,
        cells: &BTreeMap<CellId, String>,
    ) -> SpaceResult<SpaceEntry> {
        let body = self.store.files.create(&Space::Unit).await;
        let body = body.map_err(|error| SpaceError::of_target(&error))?;
        let mut file = RecordFileWriter::new(body);
        for id in cells.keys() {
            let start = keys::entity(&SetKey::control(ControlSet::Cell), &id.to_string());
            let only = KeyRange {
                end: Some(KeyRange::all().after(&start).start),
                start,
            };
            let found = snapshot.scan(&only, Limit::records(1)).await;
            for (key, record) in found.map_err(SpaceError::of_source)? {
                let appended = file.append(&key, &record.value).await;
                appended.map_err(|error| SpaceError::of_target(&error))?;
            }
        }
        let finished = file.finish().await;
        let (records, sum) = finished.map_err(|error| SpaceError::of_target(&error))?;
        Ok(SpaceEntry {
            name: String::new(),
            commit: snapshot.last_commit(),
            records,
            following: Vec::new(),
            sum,
            bodies: 0,
            body_bytes: 0,
            problem: None,
            stamp: None,
        })
    }

    /// Writes the entries of the audit log that the former generation does not have. Returns the files of all.
    async fn write_audit(
        &self,
        snapshot: &mut dyn RecordSnapshot,
        all: &KeyRange,
    ) -> SpaceResult<Vec<RecordPart>> {
        let Some((first, _)) = find_first(snapshot, all).await? else {
            return Ok(Vec::new());
        };
        let mut parts = self.kept_parts(snapshot, &first).await?;
        if let Some(kept) = parts.first().and_then(|part| part.audit) {
            // Old entries are removed from the log: a part of the file before can be left.
            let before = KeyRange {
                end: Some(keys::audit_entry(kept.first)),
                ..all.clone()
            };
            if let Some(part) = self.write_span(snapshot, before).await? {
                parts.insert(0, part);
            }
        }
        let last = parts.last().and_then(|part| part.audit);
        let rest = match last {
            None => all.clone(),
            Some(last) => all.after(&keys::audit_entry(last.last)),
        };
        parts.extend(self.write_span(snapshot, rest).await?);
        Ok(parts)
    }

    /// The files of the former generation all of whose entries the log still has. `first` is the key of its first entry.
    async fn kept_parts(
        &self,
        snapshot: &mut dyn RecordSnapshot,
        first: &Key,
    ) -> SpaceResult<Vec<RecordPart>> {
        let Some(former) = self.whole_former(&Space::Unit) else {
            return Ok(Vec::new());
        };
        let first = keys::number_of_audit_entry(first);
        let is_kept = |span: AuditSpan| first.is_some_and(|first| span.first >= first);
        let parts = former.following.iter();
        let parts: Vec<RecordPart> = parts
            .filter(|part| part.audit.is_some_and(is_kept))
            .cloned()
            .collect();
        let Some(last) = parts.last().and_then(|part| part.audit) else {
            return Ok(Vec::new());
        };
        // Each has the hash of the one before, so that with the last one all are the same: files that were put back can have other ones.
        let key = keys::audit_entry(last.last);
        let only = KeyRange {
            end: Some(KeyRange::all().after(&key).start),
            start: key,
        };
        let found = find_first(snapshot, &only).await?;
        let is_same = found.is_some_and(|(_, checksum)| checksum == last.checksum);
        if !is_same || parts.len() > AUDIT_PARTS_MAX {
            return Ok(Vec::new());
        }
        for part in &parts {
            let found = self.store.files.open(&Space::Unit, &part.file).await;
            match found {
                Ok(Some(_)) => {}
                // Somebody has removed it.
                Ok(None) => return Ok(Vec::new()),
                Err(error) => return Err(SpaceError::of_target(&error)),
            }
        }
        Ok(parts)
    }

    /// Writes entries of the audit log to a file; `None` if there are none.
    async fn write_span(
        &self,
        snapshot: &mut dyn RecordSnapshot,
        range: KeyRange,
    ) -> SpaceResult<Option<RecordPart>> {
        let Some((first, _)) = find_first(snapshot, &range).await? else {
            return Ok(None);
        };
        let written = self.write_range(&Space::Unit, snapshot, range).await?;
        let numbers = written.last.and_then(|(last, checksum)| {
            let first = keys::number_of_audit_entry(&first)?;
            let last = keys::number_of_audit_entry(&last)?;
            Some(AuditSpan {
                first,
                last,
                checksum,
            })
        });
        Ok(Some(RecordPart {
            file: written.file,
            sum: written.sum,
            audit: numbers,
        }))
    }
}

/// The first key in a range, and the checksum of its record.
async fn find_first(
    snapshot: &mut dyn RecordSnapshot,
    range: &KeyRange,
) -> SpaceResult<Option<(Key, u64)>> {
    let found = snapshot.scan(range, Limit::records(1)).await;
    let found = found.map_err(SpaceError::of_source)?.into_iter().next();
    Ok(found.map(|(key, record)| {
        let checksum = checksum(&key, &record.value);
        (key, checksum)
    }))
}

/// The checksum of a record, without its version.
pub(super) fn checksum(key: &Key, value: &[u8]) -> u64 {
    record_checksum::of(key, 0, value).cast_unsigned()
}

/// A file with the records of a range.
pub(super) struct WrittenRange {
    pub(super) file: BlobId,
    pub(super) sum: RecordSum,
    /// The last key, and the checksum of its record.
    pub(super) last: Option<(Key, u64)>,
}
