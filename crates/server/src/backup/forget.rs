//! Removes a cell that the unit does not have any more from all generations.

use std::collections::{BTreeMap, BTreeSet};

use personium_model::cell::OWNER;
use personium_model::entity::StoredEntity;
use personium_model::erased_cell::ErasedCells;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::{count_of, decode};
use personium_store::{JournalEntry, Key, Space, StoreError};
use personium_types::error::chain;
use personium_types::{BlobId, CellId};
use serde_json::Value;

use super::generation_writer::NewContent;
use super::journal_pass::{JournalPass, PassList};
use super::manifest::{Manifest, SpaceEntry};
use super::parts::damaged;
use super::record_file::{RecordFileWriter, SpaceRecordReader};
use super::segment_file::{SegmentReader, SegmentWriter};
use super::store::BackupStore;
use super::{BackupResult, Generation, retention, summary};

/// The end of the name of the list of cells that are being removed.
const FORGOTTEN: &str = "forget";

const SEGMENT_MISSING: &str = "a segment of the journal of the unit is missing";

/// Removes the cells with this name or id from all generations, but for those that the unit has. Returns the text that is shown.
///
/// Each generation is rewritten and replaced at once, so whatever interrupts this leaves only whole ones. What the former ones had is removed at
/// the end, or by the next back-up. Nothing is removed before `note` has ended, which says so in the audit log.
///
/// # Errors
/// A text for the operator: also if no generation has such a cell, or the unit has it.
pub(super) async fn forget(
    store: &BackupStore,
    living: &BTreeSet<CellId>,
    (name, now_ms): (&str, i64),
    note: impl Future<Output = BackupResult>,
) -> BackupResult<String> {
    let found = FoundCells::find(store, living, WantedCells::Named(name)).await?;
    if found.removed.is_empty() && found.is_living {
        return Err(format!(
            "the unit has the cell {name}: remove it there first, or the next back-up has it again"
        ));
    }
    let is_found = !found.removed.is_empty();
    if is_found {
        note.await?;
    }
    // What an interrupted removal has left is removed also if there is no such cell.
    let generations = found.remove(store, now_ms).await?;
    match is_found {
        false => Err(format!("no generation has a cell {name}")),
        true => Ok(format!(
            "The cell {name} was removed from {generations} generations.\n"
        )),
    }
}

/// The cells that are to be removed.
#[derive(Clone, Copy)]
pub(super) enum WantedCells<'a> {
    /// Those with this name or id.
    Named(&'a str),
    /// Those that were removed for good, and those that they have replaced.
    Erased(&'a ErasedCells),
}

impl WantedCells<'_> {
    /// Whether a cell is one of them by its id and name alone.
    fn has(&self, id: &CellId, name: &str) -> bool {
        match self {
            Self::Named(wanted) => name == *wanted || id.to_string() == *wanted,
            Self::Erased(erased) => erased.get(id).is_some(),
        }
    }
}

/// The cells of back-ups that are to be removed, and the lists of what has them.
pub(super) struct FoundCells {
    /// Their ids, without those of living cells.
    pub(super) removed: BTreeSet<CellId>,
    /// Whether the unit has a cell that was to be removed.
    is_living: bool,
    manifests: Vec<(Generation, Manifest)>,
    lists: Vec<(JournalPass, PassList)>,
}

impl FoundCells {
    /// Finds them in all generations and passes.
    ///
    /// # Errors
    /// A text for the operator, also if a generation or a pass cannot be read.
    pub(super) async fn find(
        store: &BackupStore,
        living: &BTreeSet<CellId>,
        wanted: WantedCells<'_>,
    ) -> BackupResult<Self> {
        let (generations, wrong) = store.generations().await?;
        if !wrong.is_empty() {
            return Err(format!("nothing is removed, since {}", wrong.join(", ")));
        }
        let mut manifests = Vec::new();
        for generation in generations {
            let manifest = store.manifest(&generation).await?;
            manifests.push((generation, manifest));
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
            .filter(|(id, entry)| wanted.has(id, &entry.name))
            .map(|(id, _)| *id)
            .collect();
        for segment in lists.iter().flat_map(|(_, list)| &list.segments) {
            let id = segment.cell();
            named.extend(id.filter(|id| wanted.has(id, &segment.name)));
        }
        if let WantedCells::Erased(erased) = wanted {
            add_replaced(store, &manifests, &lists, erased, &mut named).await?;
        }
        let removed: BTreeSet<CellId> = named.difference(living).copied().collect();
        Ok(Self {
            is_living: named.len() > removed.len(),
            removed,
            manifests,
            lists,
        })
    }

    /// Removes them. Returns the number of generations that had one.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn remove(self, store: &BackupStore, now_ms: i64) -> BackupResult<usize> {
        let Self {
            removed,
            manifests,
            lists,
            ..
        } = self;
        // The next back-up or removal goes on with what an interrupted one has left.
        let mut begun = store.begin_list(&format!("{FORGOTTEN}-{now_ms}")).await?;
        let noted: Vec<CellId> = removed.iter().copied().collect();
        store.note(&mut begun, &noted).await?;
        // What says that a change is one of the cells comes before it, so it is removed after it: an interruption loses nothing of that.
        let states = states(store, &manifests, &lists, &removed).await?;
        for (pass, state) in lists.into_iter().zip(states).rev() {
            Box::pin(replace_pass(store, pass, (&removed, state))).await?;
        }
        let mut changed = 0;
        for (generation, manifest) in manifests.into_iter().rev() {
            let has_one = removed.iter().any(|id| manifest.cells.contains_key(id));
            // The lists that one goes on from can name a cell that it does not have.
            if has_one || manifest.lists.len() > 1 {
                Box::pin(replace(store, (&generation, manifest), &removed)).await?;
            }
            changed += usize::from(has_one);
        }
        Box::pin(retention::clean(store, None, "")).await?;
        Ok(changed)
    }
}

/// Adds the cells that erased ones have replaced, by the name and the owner in the catalogues of generations and in their changes.
async fn add_replaced(
    store: &BackupStore,
    manifests: &[(Generation, Manifest)],
    lists: &[(JournalPass, PassList)],
    erased: &ErasedCells,
    named: &mut BTreeSet<CellId>,
) -> BackupResult {
    let catalogue = keys::entities(&SetKey::control(ControlSet::Cell));
    let prefix = catalogue.start.as_bytes().len();
    let mut add = |key: &Key, value: &[u8]| {
        if !catalogue.contains(key) {
            return;
        }
        let id = keys::last_text(key, prefix).and_then(|id| id.parse::<CellId>().ok());
        let stored = decode::<StoredEntity>(value);
        if let (Some(id), Ok(stored)) = (id, stored) {
            let owner = stored.hidden.get(OWNER).map(String::as_str);
            let name = stored.text("Name").unwrap_or_default();
            if erased.find(&id, &name, owner).is_some() {
                named.insert(id);
            }
        }
    };
    for (generation, manifest) in manifests {
        let files = manifest.unit_space.files();
        let mut reader = SpaceRecordReader::new(&store.files, &Space::Unit, files);
        let failed =
            |error: StoreError| format!("the generation {}: {}", generation.name, chain(&error));
        while let Some((key, value)) = reader.next().await.map_err(failed)? {
            add(&key, &value);
        }
    }
    for (pass, list) in lists {
        let failed = |error: StoreError| format!("the journal {}: {}", pass.name, chain(&error));
        for segment in list.segments.iter().filter(|s| s.space == Space::Unit) {
            let body = store.files.open(&Space::Unit, &segment.file).await;
            let body = body.map_err(failed)?;
            let body = body.ok_or_else(|| failed(damaged(SEGMENT_MISSING)))?;
            let mut reader = SegmentReader::new(body);
            while let Some((_, entry)) = reader.next().await.map_err(failed)? {
                for (key, value) in entry.decode().map_err(failed)?.changes {
                    add(&key, value.as_deref().unwrap_or_default());
                }
            }
        }
    }
    Ok(())
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
    let id = manifest.store(&*store.files, None).await.map_err(failed)?;
    let counted = summary(&manifest, &NewContent::default());
    let mut described = generation.summary.clone();
    if let (Value::Object(described), Value::Object(counted)) = (&mut described, counted) {
        let is_of_change = |name: &str| name.starts_with("new");
        described.extend(counted.into_iter().filter(|(name, _)| !is_of_change(name)));
    }
    store.complete(&generation.name, &id, &described).await
}

/// The keys of the records of the unit whose value names one of the cells, such as those of an index by name. Their keys need not.
type NamedKeys = BTreeSet<Key>;

/// Returns the keys before each pass.
async fn states(
    store: &BackupStore,
    manifests: &[(Generation, Manifest)],
    lists: &[(JournalPass, PassList)],
    removed: &BTreeSet<CellId>,
) -> BackupResult<Vec<NamedKeys>> {
    let names: Vec<CellNames> = removed.iter().map(CellNames::of).collect();
    let mut states = Vec::with_capacity(lists.len());
    let mut state: Option<NamedKeys> = None;
    for (pass, list) in lists {
        let has_gap = list.gaps.contains(&Space::Unit);
        let mut keys = match state.filter(|_| !has_gap) {
            Some(state) => state,
            None => {
                let mut of = manifests.iter();
                let of = match has_gap {
                    true => of.find(|(generation, _)| generation.name == pass.generation),
                    false => of.next(),
                };
                match of {
                    Some((generation, manifest)) => {
                        let found = named_keys(store, &manifest.unit_space, &names).await;
                        found.map_err(|error| {
                            format!("the generation {}: {}", generation.name, chain(&error))
                        })?
                    }
                    None => NamedKeys::new(),
                }
            }
        };
        states.push(keys.clone());
        for segment in list.segments.iter().filter(|s| s.space == Space::Unit) {
            let stripped = strip(store, &segment.file, (&names, &mut keys), None).await;
            stripped.map_err(|error| format!("the journal {}: {}", pass.name, chain(&error)))?;
        }
        state = Some(keys);
    }
    Ok(states)
}

/// The keys of the records of the unit in a generation whose value names one of the cells.
async fn named_keys(
    store: &BackupStore,
    entry: &SpaceEntry,
    names: &[CellNames],
) -> Result<NamedKeys, StoreError> {
    let mut reader = SpaceRecordReader::new(&store.files, &Space::Unit, entry.files());
    let mut found = NamedKeys::new();
    while let Some((key, value)) = reader.next().await? {
        if names.iter().any(|cell| cell.are_in(&key, &value)) {
            found.insert(key);
        }
    }
    Ok(found)
}

/// Replaces a pass by one without these cells, if it has something of them. `keys` are those before it.
async fn replace_pass(
    store: &BackupStore,
    (mut pass, mut list): (JournalPass, PassList),
    (removed, mut keys): (&BTreeSet<CellId>, NamedKeys),
) -> BackupResult {
    let failed = |error: StoreError| format!("the journal {}: {}", pass.name, chain(&error));
    let names: Vec<CellNames> = removed.iter().map(CellNames::of).collect();
    let before = list.clone();
    list.segments
        .retain(|segment| segment.cell().is_none_or(|id| !removed.contains(&id)));
    list.gone.retain(|id| !removed.contains(id));
    for segment in &mut list.segments {
        if segment.space == Space::Unit {
            let replaced = unit_segment(store, &segment.file, (&names, &mut keys)).await;
            segment.file = replaced.map_err(failed)?.unwrap_or(segment.file);
        }
    }
    if list == before {
        return Ok(());
    }
    pass.list = list.store(&*store.files).await.map_err(failed)?;
    store.complete_pass(&pass).await
}

/// Stores a segment of the journal of the unit without the changes of these cells; `None` if there is none. `keys` become those after it.
async fn unit_segment(
    store: &BackupStore,
    segment: &BlobId,
    (names, keys): (&[CellNames], &mut NamedKeys),
) -> Result<Option<BlobId>, StoreError> {
    let before = keys.clone();
    if !strip(store, segment, (names, keys), None).await? {
        return Ok(None);
    }
    *keys = before;
    let mut writer = SegmentWriter::new(store.files.create(&Space::Unit).await?);
    strip(store, segment, (names, keys), Some(&mut writer)).await?;
    writer.finish().await.map(Some)
}

/// Reads a segment of the journal of the unit, and writes it without the changes of these cells. Returns whether there is any.
async fn strip(
    store: &BackupStore,
    segment: &BlobId,
    (names, keys): (&[CellNames], &mut NamedKeys),
    mut writer: Option<&mut SegmentWriter>,
) -> Result<bool, StoreError> {
    let body = store.files.open(&Space::Unit, segment).await?;
    let body = body.ok_or_else(|| damaged(SEGMENT_MISSING))?;
    let mut reader = SegmentReader::new(body);
    let mut has_any = false;
    while let Some((_, entry)) = reader.next().await? {
        let mut changes = entry.decode()?;
        changes.changes.retain(|(key, value)| {
            let is_kept = !is_of_cells(names, keys, (key, value.as_deref()));
            has_any |= !is_kept;
            is_kept
        });
        if let Some(writer) = &mut writer {
            let changes = changes.encode();
            writer.append(&JournalEntry { changes, ..entry }).await?;
        }
    }
    Ok(has_any)
}

/// Whether a change is one of these cells: it names one, or removes a record that named one. `keys` become those after it.
fn is_of_cells(
    names: &[CellNames],
    keys: &mut NamedKeys,
    (key, value): (&Key, Option<&[u8]>),
) -> bool {
    let is_named = names
        .iter()
        .any(|cell| cell.are_in(key, value.unwrap_or_default()));
    match (value, is_named) {
        (Some(_), true) => {
            keys.insert(key.clone());
            true
        }
        (Some(_), false) => {
            keys.remove(key);
            false
        }
        (None, is_named) => keys.remove(key) || is_named,
    }
}

/// Stores the records of the unit without those of these cells.
async fn unit_records(
    store: &BackupStore,
    entry: &SpaceEntry,
    removed: &BTreeMap<CellId, SpaceEntry>,
) -> Result<SpaceEntry, StoreError> {
    let mut reader = SpaceRecordReader::new(&store.files, &Space::Unit, entry.files());
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
        following: Vec::new(),
        state: None,
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
        // What says that a cell was removed for good stays too.
        if keys::audit_entries().contains(key) || keys::erased_cells().range.contains(key) {
            return false;
        }
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
        [key.as_bytes(), value]
            .iter()
            .any(|bytes| has(bytes, &self.bytes) || has(bytes, self.text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use personium_store::{JournalChanges, JournalPosition};

    use super::*;
    use crate::backup::journal_pass::Segment;
    use crate::backup::place::BackupPlace;
    use crate::backup::scope::BackupScope;

    #[test]
    fn removal_of_an_index_entry_is_one_of_the_cell_that_it_named_and_of_no_other() {
        let (gone, other) = (CellId::from_bytes([7; 16]), CellId::from_bytes([8; 16]));
        let names = [CellNames::of(&gone)];
        let index = Key::table(b'u').text("alice").build();
        let (of_gone, of_other) = (gone.to_string(), other.to_string());
        let mut keys = NamedKeys::new();
        let mut is_of = |value: Option<&String>| {
            let value = value.map(String::as_bytes);
            is_of_cells(&names, &mut keys, (&index, value))
        };
        // The name was that of another cell before and after.
        for (value, expected) in [
            (Some(&of_other), false),
            (None, false),
            (Some(&of_gone), true),
            (None, true),
            (None, false),
            (Some(&of_gone), true),
            (Some(&of_other), false),
            (None, false),
        ] {
            assert_eq!(is_of(value), expected, "{value:?}");
        }
        let entry = Key::table(b'e').text(&of_gone).build();
        assert!(is_of_cells(&names, &mut keys, (&entry, None)));
    }

    /// Writes a segment of the journal of the unit with one commit.
    async fn segment(store: &BackupStore, changes: Vec<(Key, Option<Bytes>)>) -> Segment {
        let mut writer = SegmentWriter::new(store.files.create(&Space::Unit).await.unwrap());
        let changes = JournalChanges {
            is_last: true,
            changes,
        };
        let entry = JournalEntry {
            position: JournalPosition::new(1, 0),
            time_ms: 1,
            changes: changes.encode(),
        };
        writer.append(&entry).await.unwrap();
        Segment {
            space: Space::Unit,
            name: String::new(),
            file: writer.finish().await.unwrap(),
            last: 1,
        }
    }

    #[tokio::test]
    async fn index_key_of_a_forgotten_cell_is_in_no_segment() {
        let folder = tempfile::tempdir().unwrap();
        let place = BackupPlace::Folder(folder.path().to_owned());
        let store = BackupStore::create(&place, ("unit", &BackupScope::Unit), None)
            .await
            .unwrap();
        let (gone, other) = (CellId::from_bytes([7; 16]), CellId::from_bytes([8; 16]));
        let index = |name: &str| Key::table(b'u').text(name).build();
        let named = |id: &CellId| Some(Bytes::from(id.to_string()));
        let body = store.files.create(&Space::Unit).await.unwrap();
        let mut records = RecordFileWriter::new(body);
        for (name, id) in [("alice", &gone), ("bob", &other)] {
            let value = named(id).unwrap();
            records.append(&index(name), &value).await.unwrap();
        }
        let (records, sum) = records.finish().await.unwrap();
        let entry = |name: &str| SpaceEntry {
            following: Vec::new(),
            state: None,
            name: name.to_owned(),
            commit: 0,
            records,
            sum,
            bodies: 0,
            body_bytes: 0,
            problem: None,
            stamp: None,
        };
        let manifest = Manifest {
            generation: "1".to_owned(),
            unit: "unit".to_owned(),
            stores: None,
            cells: BTreeMap::from([(gone, entry("alice")), (other, entry("bob"))]),
            unit_space: entry(""),
            keys: None,
            changes: None,
            lists: Vec::new(),
        };
        let id = manifest.store(&*store.files, None).await.unwrap();
        store.complete("1", &id, &Value::Null).await.unwrap();
        // The cell is removed, a later one gets its name, and another one ends.
        let later = CellId::from_bytes([9; 16]);
        let changes = [
            vec![(index("alice"), None), (index("bob"), None)],
            vec![(index("alice"), named(&later))],
        ];
        for (number, changes) in changes.into_iter().enumerate() {
            let list = PassList {
                segments: vec![segment(&store, changes).await],
                ..PassList::default()
            };
            let pass = JournalPass {
                name: format!("{}", number + 2),
                list: list.store(&*store.files).await.unwrap(),
                stores: None,
                after: None,
                generation: "1".to_owned(),
                from_ms: 0,
                until_ms: 1,
                gaps: 0,
            };
            store.complete_pass(&pass).await.unwrap();
        }
        let living = BTreeSet::from([other, later]);
        let noted = async { Ok(()) };
        forget(&store, &living, ("alice", 5), noted).await.unwrap();
        let mut left = Vec::new();
        for pass in store.passes().await.unwrap().0 {
            for segment in store.pass_list(&pass).await.unwrap().segments {
                let body = store.files.open(&Space::Unit, &segment.file).await.unwrap();
                let mut reader = SegmentReader::new(body.unwrap());
                while let Some((_, entry)) = reader.next().await.unwrap() {
                    left.extend(entry.decode().unwrap().changes);
                }
            }
        }
        assert_eq!(
            left,
            [(index("bob"), None), (index("alice"), named(&later))]
        );
        let (generations, _) = store.generations().await.unwrap();
        let manifest = store.manifest(&generations[0]).await.unwrap();
        assert_eq!(manifest.cells.keys().collect::<Vec<_>>(), [&other]);
    }
}
