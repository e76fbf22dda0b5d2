//! The list of a generation: each space with the file of its records.
//!
//! It is a body of JSON lines: a head, a line for each cell in the order of their ids, one for the unit, one for the keys, and an end
//! without which it is not complete.

use std::collections::BTreeMap;

use personium_store::{BlobStore, RangeState, Result, Space, StoreError};
use personium_types::{BlobId, CellId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Generation;
use super::parts::{ListReader, damaged, store_list};
use super::record_file::RecordSum;
use crate::record_socket::ChangeMark;

/// The version of the format of a list that goes on from another one.
const FORMAT_OF_CHANGES: u64 = 3;

/// The version of the format of a whole list.
const FORMAT: u64 = 2;

/// The version without [`SpaceEntry::following`]. It is read, and written if no space has any.
const FORMAT_OF_SINGLE_FILES: u64 = 1;

/// The largest number of lists that go on from one another. One that is damaged makes all that go on from it unreadable.
const LISTS_MAX: usize = 8;

/// The number of cells from which on a list goes on from another one: below, a whole one costs little.
const CELLS_OF_CHANGES_MIN: usize = 100;

/// A list goes on from another one if no more than one cell of so many is different.
const CHANGED_ONE_IN: usize = 8;

/// A space in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpaceEntry {
    /// The name of the cell.
    pub(crate) name: String,
    /// The last commit that the generation has.
    pub(crate) commit: u64,
    /// The file of the records.
    pub(crate) records: BlobId,
    /// The files of the records whose keys follow, in their order.
    pub(crate) following: Vec<RecordPart>,
    /// The state of the records of the first file in their range, for those of the unit itself.
    pub(crate) state: Option<PartState>,
    /// The sum of all files.
    pub(crate) sum: RecordSum,
    pub(crate) bodies: u64,
    pub(crate) body_bytes: u64,
    /// Why it is not as it was when the generation was made.
    pub(crate) problem: Option<String>,
    /// The stamp of the files of the records before they were read.
    pub(crate) stamp: Option<String>,
}

impl SpaceEntry {
    /// The files of the records, in the order of their keys.
    pub(crate) fn files(&self) -> impl Iterator<Item = BlobId> {
        let following = self.following.iter().map(|part| part.file);
        [self.records].into_iter().chain(following)
    }
}

/// A file with a part of the records of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordPart {
    pub(crate) file: BlobId,
    pub(crate) sum: RecordSum,
    /// The entries of the audit log that it has, if these are all that it has.
    pub(crate) audit: Option<AuditSpan>,
    /// The state of its records in their range, if they are not of the audit log.
    pub(crate) state: Option<PartState>,
}

/// The state of the records of a file in the range that it has, and their sum: if the range has it still, the file is not written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartState {
    /// The number of records in the range, also of those that are not in the file.
    pub(crate) records: u64,
    /// The greatest version of a record.
    pub(crate) last_version: u64,
    /// The sum of the file.
    pub(crate) sum: RecordSum,
}

impl PartState {
    /// Whether a range in this state has the records of the file.
    pub(crate) const fn is(&self, state: &RangeState) -> bool {
        self.records == state.records && self.last_version == state.last_version
    }
}

/// Entries of the audit log, of which none ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct AuditSpan {
    /// The number of the first one.
    pub(crate) first: u64,
    /// The number of the last one.
    pub(crate) last: u64,
    /// The checksum of the record of the last one, which has the hash of the one before.
    pub(crate) checksum: u64,
}

/// A generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) generation: String,
    /// The mark of the unit.
    pub(crate) unit: String,
    /// The id of the stores of the unit. Numbers of commits of other stores say nothing.
    pub(crate) stores: Option<String>,
    pub(crate) cells: BTreeMap<CellId, SpaceEntry>,
    pub(crate) unit_space: SpaceEntry,
    /// The file of the keys of the unit, if they are in the generation.
    pub(crate) keys: Option<BlobId>,
    /// The time in the changes of the unit, all before which it has.
    pub(crate) changes: Option<ChangeMark>,
    /// The lists that it was read from, the whole one first; none if it was not stored yet.
    pub(crate) lists: Vec<BlobId>,
}

impl Manifest {
    /// The entry of a space.
    pub(crate) fn entry(&self, space: &Space) -> Option<&SpaceEntry> {
        match space {
            Space::Unit => Some(&self.unit_space),
            Space::Cell(id) => self.cells.get(id),
        }
    }

    /// The spaces in their order.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = (Space, &SpaceEntry)> {
        let cells = self.cells.iter();
        let cells = cells.map(|(id, entry)| (Space::Cell(*id), entry));
        [(Space::Unit, &self.unit_space)].into_iter().chain(cells)
    }

    /// The cells that are not as they were, with the reasons.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.spaces().map(|(_, entry)| entry);
        entries.filter_map(|entry| Some((&*entry.name, entry.problem.as_deref()?)))
    }

    /// Stores the list: whole, or what is different from the list of a former generation. Returns its id.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn store(
        &self,
        files: &dyn BlobStore,
        former: Option<&Self>,
    ) -> Result<BlobId> {
        let changes = former.and_then(|former| self.changes_since(former));
        let (since, changed, gone) = match changes {
            Some(changes) => (Some(changes.since), changes.changed, changes.gone),
            None => (None, self.cells.iter().collect(), Vec::new()),
        };
        let format = match self.spaces().all(|(_, entry)| entry.following.is_empty()) {
            _ if since.is_some() => FORMAT_OF_CHANGES,
            true => FORMAT_OF_SINGLE_FILES,
            false => FORMAT,
        };
        let mut head = json!({
            "format": format, "generation": self.generation, "unit": self.unit, "stores": self.stores,
            "program": crate::VERSION, "changes": self.changes,
        });
        let mut end = json!({"end": true, "cells": changed.len()});
        if let (Some(since), Value::Object(head), Value::Object(end)) = (since, &mut head, &mut end)
        {
            head.insert("since".to_owned(), json!(since.to_string()));
            end.insert("all".to_owned(), json!(self.cells.len()));
        }
        let keys = json!({"keys": self.keys.map(|id| id.to_string())});
        let cells = changed.iter().map(|(id, entry)| line(Some(id), entry));
        let gone = gone.iter().map(|id| json!({"gone": id.to_string()}));
        let lines = [head].into_iter().chain(cells).chain(gone);
        let lines = lines.chain([line(None, &self.unit_space), keys, end]);
        store_list(files, lines).await
    }

    /// The differences from a former generation, if these are few, and few lists would go on from one another.
    fn changes_since<'m>(&'m self, former: &'m Self) -> Option<ListChanges<'m>> {
        let since = *former.lists.last()?;
        if former.unit != self.unit
            || former.lists.len() >= LISTS_MAX
            || self.cells.len() < CELLS_OF_CHANGES_MIN
        {
            return None;
        }
        let is_changed = |(id, entry): &(&CellId, &SpaceEntry)| former.cells.get(id) != Some(entry);
        let changed: Vec<_> = self.cells.iter().filter(is_changed).collect();
        let gone = former.cells.keys();
        let gone: Vec<_> = gone.filter(|id| !self.cells.contains_key(id)).collect();
        let is_little = changed.len() + gone.len() <= self.cells.len() / CHANGED_ONE_IN;
        is_little.then_some(ListChanges {
            since,
            changed,
            gone,
        })
    }

    /// Reads a list, and those that it goes on from.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one is missing, damaged or not complete; another failure of the store.
    pub(super) async fn load(files: &dyn BlobStore, id: &BlobId) -> Result<Self> {
        let mut lists = vec![*id];
        let newest = ReadLines::load(files, id).await?;
        let mut earlier = Vec::new();
        let mut since = newest.since;
        while let Some(id) = since {
            if lists.len() == LISTS_MAX {
                return Err(unreadable());
            }
            let list = ReadLines::load(files, &id).await?;
            since = list.since;
            lists.push(id);
            earlier.push(list);
        }
        lists.reverse();
        let mut cells = BTreeMap::new();
        for list in earlier.into_iter().rev() {
            cells = list.apply_to(cells).ok_or_else(unreadable)?.0;
        }
        let (cells, list) = newest.apply_to(cells).ok_or_else(unreadable)?;
        list.into_manifest(cells, lists).ok_or_else(unreadable)
    }
}

/// The differences from the list of a former generation.
struct ListChanges<'m> {
    /// That list.
    since: BlobId,
    changed: Vec<(&'m CellId, &'m SpaceEntry)>,
    gone: Vec<&'m CellId>,
}

fn unreadable() -> StoreError {
    damaged("the list of a generation cannot be read")
}

/// A member of a JSON object; null if it has none.
pub(crate) fn member<'v>(object: &'v Value, name: &str) -> &'v Value {
    object.get(name).unwrap_or(&Value::Null)
}

fn line(id: Option<&CellId>, entry: &SpaceEntry) -> Value {
    let mut line = json!({
        "cell": id.map(ToString::to_string),
        "name": entry.name,
        "commit": entry.commit,
        "file": entry.records.to_string(),
        "records": entry.sum.records,
        "checksum": format!("{:016x}", entry.sum.checksum),
        "bodies": entry.bodies,
        "bodyBytes": entry.body_bytes,
        "problem": entry.problem,
        "stamp": entry.stamp,
    });
    if let (Value::Object(members), Some(state)) = (&mut line, entry.state) {
        members.insert("state".to_owned(), json!(state));
    }
    if let (Value::Object(members), false) = (&mut line, entry.following.is_empty()) {
        let parts = entry.following.iter().map(part_line);
        members.insert("following".to_owned(), parts.collect());
    }
    line
}

fn part_line(part: &RecordPart) -> Value {
    json!({
        "file": part.file.to_string(),
        "records": part.sum.records,
        "checksum": format!("{:016x}", part.sum.checksum),
        "audit": part.audit,
        "state": part.state,
    })
}

/// A part in a line of a list.
#[derive(Debug, Deserialize)]
struct ListedPart {
    file: String,
    records: u64,
    checksum: String,
    audit: Option<AuditSpan>,
    state: Option<PartState>,
}

impl ListedPart {
    fn part(self) -> Option<RecordPart> {
        Some(RecordPart {
            file: self.file.parse().ok()?,
            sum: RecordSum {
                records: self.records,
                checksum: u64::from_str_radix(&self.checksum, 16).ok()?,
            },
            audit: self.audit,
            state: self.state,
        })
    }
}

/// A line of a list. Which members it has says what it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListedLine {
    format: Option<u64>,
    generation: Option<String>,
    unit: Option<String>,
    stores: Option<String>,
    cell: Option<String>,
    name: Option<String>,
    commit: Option<u64>,
    file: Option<String>,
    records: Option<u64>,
    checksum: Option<String>,
    bodies: Option<u64>,
    body_bytes: Option<u64>,
    problem: Option<String>,
    stamp: Option<String>,
    following: Vec<ListedPart>,
    state: Option<PartState>,
    keys: Option<String>,
    changes: Option<ChangeMark>,
    since: Option<String>,
    gone: Option<String>,
    end: bool,
    cells: Option<u64>,
    all: Option<u64>,
}

impl ListedLine {
    /// The entry of a space.
    fn entry(self) -> Option<SpaceEntry> {
        Some(SpaceEntry {
            name: self.name?,
            commit: self.commit?,
            records: self.file?.parse().ok()?,
            following: (self.following.into_iter())
                .map(ListedPart::part)
                .collect::<Option<_>>()?,
            state: self.state,
            sum: RecordSum {
                records: self.records?,
                checksum: u64::from_str_radix(&self.checksum?, 16).ok()?,
            },
            bodies: self.bodies?,
            body_bytes: self.body_bytes?,
            problem: self.problem,
            stamp: self.stamp,
        })
    }
}

/// The lines of a list that were read so far.
#[derive(Default)]
struct ReadLines {
    head: Option<ListHead>,
    /// The list that it goes on from.
    since: Option<BlobId>,
    cells: BTreeMap<CellId, SpaceEntry>,
    /// The cells of the list before that are not there any more.
    gone: Vec<CellId>,
    unit_space: Option<SpaceEntry>,
    keys: Option<BlobId>,
    /// The number of all cells.
    all: u64,
}

/// The first line of a list.
struct ListHead {
    generation: String,
    unit: String,
    stores: Option<String>,
    changes: Option<ChangeMark>,
}

impl ReadLines {
    /// Reads a list.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    async fn load(files: &dyn BlobStore, id: &BlobId) -> Result<Self> {
        let mut list = ListReader::open(files, id).await?;
        let mut lines = Self::default();
        while let Some(line) = list.next().await? {
            if lines.add(&line).ok_or_else(unreadable)? {
                list.expect_end().await?;
                return Ok(lines);
            }
        }
        Err(unreadable())
    }

    /// Adds a line. Returns whether it was the last one, and all were there; `None` if it cannot be read.
    fn add(&mut self, line: &[u8]) -> Option<bool> {
        let line: ListedLine = serde_json::from_slice(line).ok()?;
        if self.head.is_none() {
            self.since = match (line.format?, line.since) {
                (FORMAT | FORMAT_OF_SINGLE_FILES, None) => None,
                (FORMAT_OF_CHANGES, Some(since)) => Some(since.parse().ok()?),
                _ => return None,
            };
            self.head = Some(ListHead {
                generation: line.generation?,
                unit: line.unit?,
                stores: line.stores,
                changes: line.changes,
            });
            return Some(false);
        }
        if line.end {
            let cells = u64::try_from(self.cells.len()).ok()?;
            self.all = match self.since {
                None => cells,
                Some(_) => line.all?,
            };
            return (line.cells == Some(cells)).then_some(true);
        }
        match (&line.keys, &line.gone, &line.cell, &line.file) {
            (Some(id), ..) => self.keys = Some(id.parse().ok()?),
            (None, Some(id), ..) => self.gone.push(id.parse().ok()?),
            (None, None, Some(id), _) => {
                let id = id.parse().ok()?;
                self.cells.insert(id, line.entry()?);
            }
            (None, None, None, Some(_)) => self.unit_space = Some(line.entry()?),
            // That of keys which are not there.
            (None, None, None, None) => {}
        }
        Some(false)
    }

    /// The cells with what is different here, and the rest of the list. `None` if the list does not go on from these cells.
    fn apply_to(
        mut self,
        mut cells: BTreeMap<CellId, SpaceEntry>,
    ) -> Option<(BTreeMap<CellId, SpaceEntry>, Self)> {
        for id in &self.gone {
            cells.remove(id)?;
        }
        let changed = std::mem::take(&mut self.cells);
        if cells.is_empty() {
            cells = changed;
        } else {
            cells.extend(changed);
        }
        let is_whole = u64::try_from(cells.len()) == Ok(self.all);
        is_whole.then_some((cells, self))
    }

    fn into_manifest(
        self,
        cells: BTreeMap<CellId, SpaceEntry>,
        lists: Vec<BlobId>,
    ) -> Option<Manifest> {
        let head = self.head?;
        Some(Manifest {
            generation: head.generation,
            unit: head.unit,
            stores: head.stores,
            cells,
            unit_space: self.unit_space?,
            keys: self.keys,
            changes: head.changes,
            lists,
        })
    }
}

/// The time at which a generation was complete. Those of former versions have none.
pub(crate) fn ended_ms(generation: &Generation) -> Option<i64> {
    member(&generation.summary, "ended").as_i64()
}

/// The error of a generation that has a store error.
pub(crate) fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_))
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryBlobs;

    use super::*;
    use crate::system;

    fn entry(name: &str) -> SpaceEntry {
        SpaceEntry {
            name: name.to_owned(),
            commit: 7,
            records: BlobId::from_bytes([3; 16]),
            following: Vec::new(),
            state: None,
            sum: RecordSum {
                records: 9,
                checksum: u64::MAX - 3,
            },
            bodies: 2,
            body_bytes: 5,
            problem: None,
            stamp: Some("1-2-3.000000004".to_owned()),
        }
    }

    #[tokio::test]
    async fn list_is_read_as_it_was_stored_and_a_cut_one_is_damage() {
        let files = MemoryBlobs::new(system::clock(), system::random());
        let broken = SpaceEntry {
            problem: Some("its body is missing".to_owned()),
            stamp: None,
            ..entry("b")
        };
        let state = PartState {
            records: 5,
            last_version: 9,
            sum: RecordSum {
                records: 4,
                checksum: u64::MAX,
            },
        };
        let part = |audit| RecordPart {
            file: BlobId::from_bytes([5; 16]),
            sum: RecordSum::default(),
            audit,
            state: audit.is_none().then_some(state),
        };
        let span = AuditSpan {
            first: 3,
            last: 8,
            checksum: u64::MAX,
        };
        let manifest = Manifest {
            generation: "g".to_owned(),
            unit: "u".to_owned(),
            stores: None,
            cells: BTreeMap::from([
                (CellId::from_bytes([1; 16]), entry("a")),
                (CellId::from_bytes([2; 16]), broken),
            ]),
            unit_space: SpaceEntry {
                following: vec![part(None), part(Some(span))],
                state: Some(state),
                ..entry("")
            },
            keys: Some(BlobId::from_bytes([4; 16])),
            changes: Some(time(9)),
            lists: Vec::new(),
        };
        let id = manifest.store(&files, None).await.unwrap();
        let stored = Manifest {
            lists: vec![id],
            ..manifest
        };
        assert_eq!(Manifest::load(&files, &id).await.unwrap(), stored);
        let manifest = stored;
        let problems: Vec<_> = manifest.problems().collect();
        assert_eq!(problems, [("b", "its body is missing")]);
        let mut body = files.open(&Space::Unit, &id).await.unwrap().unwrap();
        let whole = body.read_at(0, 1 << 20).await.unwrap();
        for len in (0..whole.len()).step_by(7) {
            let mut cut = files.create(&Space::Unit).await.unwrap();
            cut.write(whole.slice(..len)).await.unwrap();
            let id = cut.finish().await.unwrap();
            let loaded = Manifest::load(&files, &id).await;
            assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{len}");
        }
    }

    const fn time(number: u64) -> ChangeMark {
        ChangeMark {
            run: [7; 16],
            number,
        }
    }

    fn cell(n: usize) -> CellId {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        CellId::from_bytes(id)
    }

    fn of_cells(number: usize) -> Manifest {
        let cells = (0..number).map(|n| (cell(n), entry(&n.to_string())));
        Manifest {
            generation: "g0".to_owned(),
            unit: "u".to_owned(),
            stores: None,
            cells: cells.collect(),
            unit_space: entry(""),
            keys: None,
            changes: None,
            lists: Vec::new(),
        }
    }

    /// The next generation, in which a cell is other, one is new and one is gone.
    fn next(former: &Manifest, number: usize) -> Manifest {
        let mut next = Manifest {
            generation: format!("g{number}"),
            changes: Some(time(number as u64)),
            lists: Vec::new(),
            ..former.clone()
        };
        next.cells.insert(cell(number), entry("changed"));
        next.cells.insert(cell(1_000 + number), entry("new"));
        next.cells.remove(&cell(50 + number));
        next
    }

    #[tokio::test]
    async fn list_of_changes_is_read_with_those_before_and_a_missing_or_other_one_is_damage() {
        let files = MemoryBlobs::new(system::clock(), system::random());
        let mut former = of_cells(CELLS_OF_CHANGES_MIN);
        let first = former.store(&files, None).await.unwrap();
        former.lists = vec![first];
        let mut lens = Vec::new();
        for number in 1..2 * LISTS_MAX {
            let manifest = next(&former, number);
            let id = manifest.store(&files, Some(&former)).await.unwrap();
            let loaded = Manifest::load(&files, &id).await.unwrap();
            // Some go on from one another, then there is a whole one again.
            let lists = match former.lists.len() {
                LISTS_MAX => vec![id],
                _ => [&former.lists[..], &[id]].concat(),
            };
            let expected = Manifest { lists, ..manifest };
            assert_eq!(loaded, expected);
            let body = files.open(&Space::Unit, &id).await.unwrap().unwrap();
            lens.push((loaded.lists.len(), body.len()));
            former = loaded;
        }
        let whole = lens.iter().find(|(lists, _)| *lists == 1).unwrap().1;
        for (lists, len) in lens {
            assert!(lists == 1 || len < whole / 10, "{lists}: {len} of {whole}");
        }
        assert!(former.lists.len() > 2);
        let newest = *former.lists.last().unwrap();
        files.remove(&Space::Unit, &former.lists[1]).await.unwrap();
        let loaded = Manifest::load(&files, &newest).await;
        assert!(matches!(loaded, Err(StoreError::Corrupt(_))));
        // One that goes on from a list without the cell that is gone.
        let alone = Manifest {
            lists: vec![of_cells(2).store(&files, None).await.unwrap()],
            ..of_cells(CELLS_OF_CHANGES_MIN)
        };
        let wrong = next(&alone, 3).store(&files, Some(&alone)).await.unwrap();
        let loaded = Manifest::load(&files, &wrong).await;
        assert!(matches!(loaded, Err(StoreError::Corrupt(_))));
    }

    #[tokio::test]
    async fn list_is_whole_if_much_has_changed_or_cells_are_few_or_those_of_another_unit() {
        let files = MemoryBlobs::new(system::clock(), system::random());
        let stored = async |mut manifest: Manifest| {
            manifest.lists = vec![manifest.store(&files, None).await.unwrap()];
            manifest
        };
        let lists = async |manifest: &Manifest, former: &Manifest| {
            let id = manifest.store(&files, Some(former)).await.unwrap();
            Manifest::load(&files, &id).await.unwrap().lists.len()
        };
        let many = stored(of_cells(CELLS_OF_CHANGES_MIN)).await;
        assert_eq!(lists(&next(&many, 1), &many).await, 2);
        let few = stored(of_cells(CELLS_OF_CHANGES_MIN - 1)).await;
        let mut less = next(&few, 1);
        less.cells.remove(&cell(2));
        assert_eq!(lists(&less, &few).await, 1);
        let mut much = many.clone();
        for n in 0..=CELLS_OF_CHANGES_MIN / CHANGED_ONE_IN {
            much.cells.insert(cell(n), entry("other"));
        }
        assert_eq!(lists(&much, &many).await, 1);
        let other = Manifest {
            unit: "other".to_owned(),
            ..next(&many, 1)
        };
        assert_eq!(lists(&other, &many).await, 1);
    }

    #[tokio::test]
    async fn list_without_ends_of_lines_is_damage_and_not_read_whole() {
        let files = MemoryBlobs::new(system::clock(), system::random());
        let mut body = files.create(&Space::Unit).await.unwrap();
        for _ in 0..4 {
            body.write(vec![b' '; 1 << 20].into()).await.unwrap();
        }
        let id = body.finish().await.unwrap();
        let loaded = Manifest::load(&files, &id).await;
        assert!(matches!(loaded, Err(StoreError::Corrupt(_))));
    }
}
