//! Removes a cell that the unit does not have any more from all generations.

use std::collections::{BTreeMap, BTreeSet};

use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::count_of;
use personium_store::{JournalEntry, Key, Space, StoreError};
use personium_types::error::chain;
use personium_types::{BlobId, CellId};
use serde_json::Value;

use super::generation_writer::NewContent;
use super::journal_pass::{JournalPass, PassList};
use super::manifest::{Manifest, SpaceEntry};
use super::parts::damaged;
use super::record_file::{RecordFileReader, RecordFileWriter};
use super::segment_file::{SegmentReader, SegmentWriter};
use super::store::BackupStore;
use super::{BackupResult, Generation, retention, summary};

/// The end of the name of the list of cells that are being removed.
const FORGOTTEN: &str = "forget";

/// Removes the cells with this name or id from all generations, but for those that the unit has. Returns the text that is shown.
///
/// Each generation is rewritten and replaced at once, so whatever interrupts this leaves only whole ones. What the former ones had is removed at
/// the end, or by the next back-up.
///
/// # Errors
/// A text for the operator: also if no generation has such a cell, or the unit has it.
pub(super) async fn forget(
    store: &BackupStore,
    living: &BTreeSet<CellId>,
    (name, now_ms): (&str, i64),
) -> BackupResult<String> {
    let (generations, wrong) = store.generations().await?;
    if !wrong.is_empty() {
        return Err(format!("nothing is removed, since {}", wrong.join(", ")));
    }
    let mut manifests = Vec::new();
    for generation in &generations {
        manifests.push((generation, store.manifest(generation).await?));
    }
    let (passes, wrong) = store.passes().await?;
    if !wrong.is_empty() {
        return Err(format!("nothing is removed, since {}", wrong.join(", ")));
    }
    let mut lists = Vec::new();
    for pass in passes {
        let list = store.pass_list(&pass).await?;
        lists.push((pass, list));
    }
    let mut named: BTreeSet<CellId> = manifests
        .iter()
        .flat_map(|(_, manifest)| &manifest.cells)
        .filter(|(id, entry)| entry.name == name || id.to_string() == name)
        .map(|(id, _)| *id)
        .collect();
    for segment in lists.iter().flat_map(|(_, list)| &list.segments) {
        let id = segment.cell();
        named.extend(id.filter(|id| segment.name == name || id.to_string() == name));
    }
    let removed: BTreeSet<CellId> = named.difference(living).copied().collect();
    if removed.is_empty() && !named.is_empty() {
        return Err(format!(
            "the unit has the cell {name}: remove it there first, or the next back-up has it again"
        ));
    }
    // The next back-up or removal goes on with what an interrupted one has left.
    let mut begun = store.begin_list(&format!("{FORGOTTEN}-{now_ms}")).await?;
    let noted: Vec<CellId> = removed.iter().copied().collect();
    store.note(&mut begun, &noted).await?;
    let mut changed = 0;
    for (generation, manifest) in manifests {
        if removed.iter().any(|id| manifest.cells.contains_key(id)) {
            Box::pin(replace(store, (generation, manifest), &removed)).await?;
            changed += 1;
        }
    }
    // Those that one cell was removed from are rewritten again after an interruption, which changes nothing.
    for (pass, list) in lists {
        Box::pin(replace_pass(store, (pass, list), &removed)).await?;
    }
    Box::pin(retention::clean(store, None, "")).await?;
    match removed.is_empty() {
        true => Err(format!("no generation has a cell {name}")),
        false => Ok(format!(
            "The cell {name} was removed from {changed} generations.\n"
        )),
    }
}

/// Replaces a generation by one without these cells.
async fn replace(
    store: &BackupStore,
    (generation, mut manifest): (&Generation, Manifest),
    removed: &BTreeSet<CellId>,
) -> BackupResult {
    let failed =
        |error: StoreError| format!("the generation {}: {}", generation.name, chain(&error));
    let (removed, kept) = std::mem::take(&mut manifest.cells)
        .into_iter()
        .partition(|(id, _)| removed.contains(id));
    manifest.cells = kept;
    manifest.unit_space = unit_records(store, &manifest.unit_space, &removed)
        .await
        .map_err(failed)?;
    let id = manifest.store(&*store.files).await.map_err(failed)?;
    let counted = summary(&manifest, &NewContent::default());
    let mut described = generation.summary.clone();
    if let (Value::Object(described), Value::Object(counted)) = (&mut described, counted) {
        let is_of_change = |name: &str| name.starts_with("new");
        described.extend(counted.into_iter().filter(|(name, _)| !is_of_change(name)));
    }
    store.complete(&generation.name, &id, &described).await
}

/// Replaces a pass by one without these cells, if it has something of them.
async fn replace_pass(
    store: &BackupStore,
    (mut pass, mut list): (JournalPass, PassList),
    removed: &BTreeSet<CellId>,
) -> BackupResult {
    let failed = |error: StoreError| format!("the journal {}: {}", pass.name, chain(&error));
    let names: Vec<CellNames> = removed.iter().map(CellNames::of).collect();
    let before = list.clone();
    list.segments
        .retain(|segment| segment.cell().is_none_or(|id| !removed.contains(&id)));
    list.gone.retain(|id| !removed.contains(id));
    for segment in &mut list.segments {
        if segment.space == Space::Unit {
            let replaced = unit_segment(store, &segment.file, &names).await;
            segment.file = replaced.map_err(failed)?.unwrap_or(segment.file);
        }
    }
    if list == before {
        return Ok(());
    }
    pass.list = list.store(&*store.files).await.map_err(failed)?;
    store.complete_pass(&pass).await
}

/// Stores a segment of the journal of the unit without the changes that name these cells; `None` if there is none.
async fn unit_segment(
    store: &BackupStore,
    segment: &BlobId,
    names: &[CellNames],
) -> Result<Option<BlobId>, StoreError> {
    let mut has_any = false;
    let open = async || -> Result<SegmentReader, StoreError> {
        let body = store.files.open(&Space::Unit, segment).await?;
        let body =
            body.ok_or_else(|| damaged("a segment of the journal of the unit is missing"))?;
        Ok(SegmentReader::new(body))
    };
    let is_named = |key: &Key, value: Option<&[u8]>| {
        let value = value.unwrap_or_default();
        names.iter().any(|cell| cell.are_in(key, value))
    };
    let mut reader = open().await?;
    while let Some((_, entry)) = reader.next().await? {
        let changes = entry.decode()?.changes;
        has_any |= changes
            .iter()
            .any(|(key, value)| is_named(key, value.as_deref()));
    }
    if !has_any {
        return Ok(None);
    }
    let mut reader = open().await?;
    let mut writer = SegmentWriter::new(store.files.create(&Space::Unit).await?);
    while let Some((_, entry)) = reader.next().await? {
        let mut changes = entry.decode()?;
        changes
            .changes
            .retain(|(key, value)| !is_named(key, value.as_deref()));
        let changes = changes.encode();
        writer.append(&JournalEntry { changes, ..entry }).await?;
    }
    writer.finish().await.map(Some)
}

/// Stores the records of the unit without those of these cells.
async fn unit_records(
    store: &BackupStore,
    entry: &SpaceEntry,
    removed: &BTreeMap<CellId, SpaceEntry>,
) -> Result<SpaceEntry, StoreError> {
    let body = store.files.open(&Space::Unit, &entry.records).await?;
    let body = body.ok_or_else(|| damaged("the file of the records of the unit is missing"))?;
    let mut reader = RecordFileReader::new(body);
    let mut writer = RecordFileWriter::new(store.files.create(&Space::Unit).await?);
    let names: Vec<CellNames> = removed.keys().map(CellNames::of).collect();
    let number = keys::entity_count(&SetKey::control(ControlSet::Cell));
    while let Some((key, value)) = reader.next().await? {
        if key == number {
            let cells = i64::try_from(removed.len()).unwrap_or(i64::MAX);
            let left = count_of(&value).saturating_sub(cells);
            writer.append(&key, &left.to_le_bytes()).await?;
        } else if !names.iter().any(|cell| cell.are_in(&key, &value)) {
            writer.append(&key, &value).await?;
        }
    }
    if reader.sum() != entry.sum {
        return Err(damaged(
            "the records of the unit are not those that were written",
        ));
    }
    let (records, sum) = writer.finish().await?;
    Ok(SpaceEntry {
        records,
        sum,
        ..entry.clone()
    })
}

/// The forms in which the id of a cell is in records of the unit.
struct CellNames {
    bytes: Vec<u8>,
    text: String,
}

impl CellNames {
    fn of(id: &CellId) -> Self {
        Self {
            bytes: id.as_bytes().to_vec(),
            text: id.to_string(),
        }
    }

    /// Whether a record is one of the cell: its entry in the catalogue, index entries, a quota, a timer. Entries of the audit log are those
    /// of the unit.
    fn are_in(&self, key: &Key, value: &[u8]) -> bool {
        if keys::audit_entries().contains(key) {
            return false;
        }
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
        [key.as_bytes(), value]
            .iter()
            .any(|bytes| has(bytes, &self.bytes) || has(bytes, self.text.as_bytes()))
    }
}
