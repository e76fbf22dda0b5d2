//! The records of the unit itself. Entries of its audit log never change, so a file with those that a former generation has is not written again.

use std::collections::BTreeMap;

use personium_model::keys::{self, ControlSet, SetKey};
use personium_store::{Key, KeyRange, Limit, RecordSnapshot, Space, record_checksum};
use personium_types::error::chain;
use personium_types::{BlobId, CellId};

use super::{GenerationWriter, SpaceError, SpaceResult};
use crate::backup::BackupResult;
use crate::backup::manifest::{AuditSpan, PartState, RecordPart, SpaceEntry};
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
        let former = self.whole_former(&Space::Unit);
        let known = former.and_then(|former| Some((former.records, former.state?)));
        let first = self.write_part(snapshot, before_audit(), known).await?;
        let mut sum = first.sum;
        let mut following = self.write_audit(snapshot, &audit).await?;
        if let Some(start) = audit.end {
            let after = KeyRange { start, end: None };
            let known = former.and_then(|former| {
                let part = former.following.last()?;
                Some((part.file, part.state?))
            });
            following.push(self.write_part(snapshot, after, known).await?);
        }
        for part in &following {
            sum.add_sum(part.sum);
        }
        Ok(SpaceEntry {
            name: String::new(),
            commit: snapshot.last_commit(),
            records: first.file,
            following,
            state: first.state,
            sum,
            bodies: 0,
            body_bytes: 0,
            problem: None,
            stamp: None,
        })
    }

    /// The cells of the former generation with their names, if the catalogue is still as it was then.
    pub(super) async fn former_catalogue(
        &self,
        snapshot: &mut dyn RecordSnapshot,
    ) -> BackupResult<Option<BTreeMap<CellId, String>>> {
        let former = self.former.filter(|_| self.store.scope.is_unit());
        let known = former.and_then(|former| Some((former, former.unit_space.state?)));
        let Some((former, known)) = known else {
            return Ok(None);
        };
        let state = snapshot.state(&before_audit()).await;
        let state = state.map_err(|error| format!("the catalogue of cells: {}", chain(&error)))?;
        let is_same = state.is_some_and(|state| known.is(&state));
        let names = || {
            let cells = former.cells.iter();
            cells.map(|(id, entry)| (*id, entry.name.clone())).collect()
        };
        Ok(is_same.then(names))
    }

    /// Writes the records of a range that has none of the audit log, unless it is as in the file of the former generation.
    async fn write_part(
        &self,
        snapshot: &mut dyn RecordSnapshot,
        range: KeyRange,
        known: Option<(BlobId, PartState)>,
    ) -> SpaceResult<RecordPart> {
        let state = snapshot.state(&range).await;
        let state = state.map_err(SpaceError::of_source)?;
        let known = known.filter(|(_, known)| state.is_some_and(|state| known.is(&state)));
        if let Some((file, known)) = known {
            let found = self.store.files.open(&Space::Unit, &file).await;
            // Somebody may have removed it.
            if found
                .map_err(|error| SpaceError::of_target(&error))?
                .is_some()
            {
                return Ok(RecordPart {
                    file,
                    sum: known.sum,
                    audit: None,
                    state: Some(known),
                });
            }
        }
        let WrittenRange { file, sum, .. } =
            self.write_range(&Space::Unit, snapshot, range).await?;
        let state = state.map(|state| PartState {
            records: state.records,
            last_version: state.last_version,
            sum,
        });
        Ok(RecordPart {
            file,
            sum,
            audit: None,
            state,
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
            state: None,
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
            state: None,
        }))
    }
}

/// The records of the unit before its audit log, the catalogue of cells among them.
fn before_audit() -> KeyRange {
    KeyRange {
        start: KeyRange::all().start,
        end: Some(keys::audit_entries().start),
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
