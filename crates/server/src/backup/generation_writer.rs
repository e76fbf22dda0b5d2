//! Writes a generation: each cell as it is at one moment, while the unit may serve.

mod small_space;
mod unit_records;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use personium_model::cell::OWNER;
use personium_model::entity::StoredEntity;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::decode;
use personium_store::{
    BlobStore, CommitSeq, Key, KeyRange, Limit, Record, RecordSnapshot, Space, StoreError,
};
use personium_types::error::chain;
use personium_types::{BlobId, CellId};

use self::small_space::BufferedSnapshot;
use self::unit_records::WrittenRange;
use super::BackupResult;
use super::file_stamps::FileStamps;
use super::manifest::{Manifest, SpaceEntry, is_damage};
use super::record_file::RecordFileWriter;
use super::scope::BackupScope;
use super::store::{BackupStore, BegunCells};
use crate::copy::bodies::{BodyCheck, BodyCopyError, copy_body};
use crate::progress::Progress;
use crate::unit_reader::UnitReader;

/// The size of a page of records.
const PAGE: Limit = Limit {
    records: 1_000,
    bytes: 4 << 20,
};

/// The number of bodies that are copied at the same time.
pub(super) const BODIES_AT_ONCE: usize = 4;

/// The number of cells that are noted at once as begun.
const CELLS_NOTED_AT_ONCE: usize = 1_000;

/// The times that a space is read in which bodies are removed meanwhile.
const ATTEMPTS: u32 = 5;

/// The times that the catalogue is read while cells are created and removed.
const ROUNDS: u32 = 50;

/// The content that was copied because the former generations did not have it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NewContent {
    pub(super) cells: u64,
    pub(super) bodies: u64,
    pub(super) body_bytes: u64,
}

/// The content that the cells which are written at the same time have added.
#[derive(Debug, Default)]
pub(super) struct NewContentSum(Mutex<NewContent>);

impl NewContentSum {
    pub(super) fn into_inner(self) -> NewContent {
        self.0.into_inner()
    }
}

/// Writes one generation.
pub(super) struct GenerationWriter<'a> {
    pub(super) unit: &'a UnitReader,
    pub(super) store: &'a BackupStore,
    /// The last generation, if the numbers of commits in it are those of these stores.
    pub(super) former: Option<&'a Manifest>,
    pub(super) begun: BegunCells,
    /// The cells that an interrupted back-up has begun with.
    pub(super) interrupted: HashSet<CellId>,
    pub(super) stamps: FileStamps,
    /// The spaces that may have changed since the former generation; `None` if that is not known.
    pub(super) changed: Option<HashSet<Space>>,
    pub(super) progress: &'a Progress,
    pub(super) new: NewContentSum,
}

/// A cell that may have changed since the former generation.
struct PendingCell<'c> {
    id: CellId,
    name: &'c str,
    /// The stamp of its files before it is read.
    stamp: Option<String>,
}

/// Why a space is not as it is.
enum SpaceError {
    /// It does not exist any more.
    Gone,
    /// It cannot be read.
    Unreadable(String),
    /// The back-up cannot go on.
    Fatal(String),
}

type SpaceResult<T> = Result<T, SpaceError>;

impl SpaceError {
    fn of_source(error: StoreError) -> Self {
        match error {
            StoreError::SpaceDropped => Self::Gone,
            error if is_damage(&error) => Self::Unreadable(chain(&error)),
            error => Self::Fatal(format!("the unit: {}", chain(&error))),
        }
    }

    fn of_target(error: &StoreError) -> Self {
        Self::Fatal(format!("the store of back-ups: {}", chain(error)))
    }
}

impl GenerationWriter<'_> {
    /// Writes all cells and the unit's own records. Returns their entries.
    ///
    /// # Errors
    /// A text for the operator if the generation cannot be completed.
    pub(super) async fn write(
        &mut self,
    ) -> BackupResult<(BTreeMap<CellId, SpaceEntry>, SpaceEntry)> {
        let mut done: BTreeMap<CellId, SpaceEntry> = BTreeMap::new();
        let mut gone: BTreeSet<CellId> = BTreeSet::new();
        let mut known: Option<(CommitSeq, BTreeMap<CellId, String>)> = None;
        for round in 0..ROUNDS {
            let snapshot = self.unit.records.snapshot(&Space::Unit).await;
            let mut snapshot = snapshot.map_err(|error| format!("the unit: {}", chain(&error)))?;
            let commit = snapshot.last_commit();
            let catalogue = match known.take() {
                Some((last, catalogue)) if last == commit => catalogue,
                _ => match self.former_catalogue(&mut *snapshot).await? {
                    Some(catalogue) => catalogue,
                    None => catalogue(&mut *snapshot, &self.store.scope).await?,
                },
            };
            let is_pending = |id: &CellId| !done.contains_key(id) && !gone.contains(id);
            let pending: Vec<_> = catalogue.iter().filter(|(id, _)| is_pending(id)).collect();
            if pending.is_empty() {
                done.retain(|id, _| catalogue.contains_key(id));
                for (id, name) in &catalogue {
                    if let Some(entry) = done.get_mut(id) {
                        entry.name.clone_from(name);
                    } else {
                        let problem = "it has lost its records".to_owned();
                        let lost = self.unreadable(&Space::Cell(*id), name, problem).await?;
                        done.insert(*id, lost);
                    }
                }
                if done.is_empty() && !self.store.scope.is_unit() {
                    // The former generations stay, whatever is kept.
                    return Err(format!("the unit does not have {}", self.store.scope));
                }
                let unit = match self.store.scope.is_unit() {
                    true => self.write_unit(&mut *snapshot).await,
                    false => self.write_catalogue(&mut *snapshot, &catalogue).await,
                };
                let unit = unit.map_err(|error| match error {
                    SpaceError::Fatal(text) => text,
                    SpaceError::Unreadable(text) => format!("the records of the unit: {text}"),
                    SpaceError::Gone => "the unit has no records".to_owned(),
                })?;
                return Ok((done, unit));
            }
            // The next one has the cells that are created meanwhile.
            drop(snapshot);
            if round == 0 {
                self.progress.start("backed up", pending.len());
            }
            let mut changed = Vec::new();
            for (id, name) in pending {
                let space = Space::Cell(*id);
                let former = self.whole_former(&space);
                let may_differ = |changed: &HashSet<Space>| changed.contains(&space);
                if let (Some(former), Some(false)) = (former, self.changed.as_ref().map(may_differ))
                {
                    done.insert(*id, former.clone());
                    self.progress.end_space();
                    continue;
                }
                // Before the records are read, so that what changes meanwhile has another one.
                let stamp = self.stamps.stamp(&space);
                match former.filter(|former| stamp.is_some() && former.stamp == stamp) {
                    Some(former) => {
                        done.insert(*id, former.clone());
                        self.progress.end_space();
                    }
                    None => changed.push(PendingCell {
                        id: *id,
                        name,
                        stamp,
                    }),
                }
            }
            for part in changed.chunks(CELLS_NOTED_AT_ONCE) {
                let ids: Vec<CellId> = part.iter().map(|cell| cell.id).collect();
                self.store.note(&mut self.begun, &ids).await?;
                let writer = &*self;
                let cells = part
                    .iter()
                    .map(|cell| async move { (cell.id, Box::pin(writer.cell(cell)).await) });
                let mut cells = stream::iter(cells).buffer_unordered(self.unit.snapshots_at_once());
                while let Some((id, written)) = cells.next().await {
                    match written? {
                        Some(entry) => drop(done.insert(id, entry)),
                        None => drop(gone.insert(id)),
                    }
                    self.progress.end_space();
                }
            }
            known = Some((commit, catalogue));
        }
        Err("cells are created faster than they can be backed up".to_owned())
    }

    /// The entry of a space in the former generation, if nothing is wrong with it.
    fn whole_former(&self, space: &Space) -> Option<&SpaceEntry> {
        let former = self.former.and_then(|former| former.entry(space));
        former.filter(|former| former.problem.is_none())
    }

    /// Writes a cell unless it is as in the former generation. `None` if it was removed.
    async fn cell(&self, cell: &PendingCell<'_>) -> BackupResult<Option<SpaceEntry>> {
        let PendingCell { id, name, .. } = cell;
        match self.changed_cell(cell).await {
            Ok(entry) => Ok(Some(entry)),
            Err(SpaceError::Gone) => Ok(None),
            Err(SpaceError::Unreadable(problem)) => {
                let unreadable = self.unreadable(&Space::Cell(*id), name, problem).await;
                unreadable.map(Some)
            }
            Err(SpaceError::Fatal(text)) => Err(format!("cell {name} ({id}): {text}")),
        }
    }

    async fn changed_cell(&self, cell: &PendingCell<'_>) -> SpaceResult<SpaceEntry> {
        let PendingCell { id, name, stamp } = cell;
        let space = &Space::Cell(*id);
        let former = self.whole_former(space);
        let stamp = stamp.clone();
        let mut attempt = 1;
        loop {
            let read = BufferedSnapshot::read(&*self.unit.records, space).await;
            let mut snapshot = read.map_err(SpaceError::of_source)?;
            if let Some(former) = former
                && former.commit == snapshot.last_commit()
            {
                return Ok(SpaceEntry {
                    stamp,
                    ..former.clone()
                });
            }
            if attempt == 1 {
                self.new.0.lock().cells += 1;
            }
            snapshot.fill().await.map_err(SpaceError::of_source)?;
            let entry = self.write_bodies(space, &mut snapshot).await?;
            match entry.problem {
                // They may have been removed since the snapshot was begun.
                Some(_) if attempt < ATTEMPTS => attempt += 1,
                problem => {
                    let written = self.write_space(space, name, &mut snapshot).await?;
                    return Ok(SpaceEntry {
                        bodies: entry.bodies,
                        body_bytes: entry.body_bytes,
                        problem,
                        stamp,
                        ..written
                    });
                }
            }
        }
    }

    /// Copies the bodies that the records of a snapshot name and that the store of back-ups has not. Returns their number and length, and what
    /// is wrong with some.
    async fn write_bodies(
        &self,
        space: &Space,
        snapshot: &mut dyn RecordSnapshot,
    ) -> SpaceResult<BodySums> {
        let mut sums = BodySums::default();
        let known = self.known_bodies(space).await?;
        let (source, target) = (&*self.unit.bodies, &*self.store.files);
        let check = self.body_check(space);
        let mut rest = keys::blob_references();
        loop {
            let page = snapshot.scan(&rest, PAGE).await;
            let page = page.map_err(SpaceError::of_source)?;
            let Some((last, _)) = page.last() else {
                return Ok(sums);
            };
            rest = rest.after(last);
            let ids = page
                .iter()
                .filter_map(|(key, _)| keys::referenced_blob(key));
            let copies = ids.map(|id| {
                let is_known = known.contains(&id);
                async move {
                    let copied = match is_known {
                        true => body_len(source, space, &id).await.map(|len| (len, false)),
                        false => copy_body((source, target), space, id, check).await,
                    };
                    (id, copied)
                }
            });
            let mut copies = stream::iter(copies).buffer_unordered(BODIES_AT_ONCE);
            while let Some((id, copied)) = copies.next().await {
                match copied {
                    Ok((bytes, is_new)) => {
                        sums.bodies += 1;
                        sums.body_bytes += bytes;
                        if is_new {
                            let mut new = self.new.0.lock();
                            new.bodies += 1;
                            new.body_bytes += bytes;
                        }
                        self.progress.set_bodies(sums.bodies, sums.body_bytes);
                    }
                    Err(error @ (BodyCopyError::Missing | BodyCopyError::TooShort)) => {
                        sums.problem = Some(format!("file body {id}: {error}"));
                    }
                    Err(BodyCopyError::Source(error)) if is_damage(&error) => {
                        sums.problem = Some(format!("file body {id}: {}", chain(&error)));
                    }
                    Err(error) => {
                        return Err(SpaceError::Fatal(format!("file body {id}: {error}")));
                    }
                }
            }
        }
    }

    /// How it is found out that the store of back-ups has a body. What was written by a back-up that did not end may not have reached the
    /// disk before a power cut.
    fn body_check(&self, space: &Space) -> BodyCheck {
        match space {
            Space::Cell(id) if self.interrupted.contains(id) => BodyCheck::Content,
            Space::Cell(_) | Space::Unit => BodyCheck::Length,
        }
    }

    /// The bodies that need not be looked for, because the former generation has them. In a folder all are looked for, which costs little and
    /// finds those that somebody has removed.
    async fn known_bodies(&self, space: &Space) -> SpaceResult<HashSet<BlobId>> {
        let former = self.former.and_then(|former| former.entry(space));
        match former.filter(|former| self.store.is_remote() && former.problem.is_none()) {
            None => Ok(HashSet::new()),
            Some(former) => match references(self.store, space, &former.records).await {
                Ok(found) => Ok(found.into_iter().collect()),
                // Then each is looked for.
                Err(error) if is_damage(&error) => Ok(HashSet::new()),
                Err(error) => Err(SpaceError::of_target(&error)),
            },
        }
    }

    /// Writes the records of a snapshot.
    async fn write_space(
        &self,
        space: &Space,
        name: &str,
        snapshot: &mut dyn RecordSnapshot,
    ) -> SpaceResult<SpaceEntry> {
        let written = self.write_range(space, snapshot, KeyRange::all()).await?;
        Ok(SpaceEntry {
            name: name.to_owned(),
            commit: snapshot.last_commit(),
            records: written.file,
            following: Vec::new(),
            state: None,
            sum: written.sum,
            bodies: 0,
            body_bytes: 0,
            problem: None,
            stamp: None,
        })
    }

    /// Writes the records of a snapshot in a range to a file.
    async fn write_range(
        &self,
        space: &Space,
        snapshot: &mut dyn RecordSnapshot,
        mut rest: KeyRange,
    ) -> SpaceResult<WrittenRange> {
        let body = self.store.files.create(space).await;
        let body = body.map_err(|error| SpaceError::of_target(&error))?;
        let mut file = RecordFileWriter::new(body);
        let omitted = OmittedRecords::of(space);
        let (mut end, mut records) = (None, 0);
        loop {
            let page = snapshot.scan(&rest, PAGE).await;
            let page = page.map_err(SpaceError::of_source)?;
            let Some((last, record)) = page.last() else {
                break;
            };
            rest = rest.after(last);
            end = Some((last.clone(), unit_records::checksum(last, &record.value)));
            for (key, record) in page.iter().filter(|(key, _)| !omitted.has(key)) {
                let appended = file.append(key, &record.value).await;
                appended.map_err(|error| SpaceError::of_target(&error))?;
            }
            records += page.len() as u64;
            self.progress.set_records(records);
        }
        let finished = file.finish().await;
        let (id, sum) = finished.map_err(|error| SpaceError::of_target(&error))?;
        Ok(WrittenRange {
            file: id,
            sum,
            last: end,
        })
    }

    /// The entry of a cell that cannot be read: as it was in the last generation, or empty.
    async fn unreadable(
        &self,
        space: &Space,
        name: &str,
        problem: String,
    ) -> BackupResult<SpaceEntry> {
        self.progress.note(&format!("cell {name}: {problem}"));
        if let Some(former) = self.former.and_then(|former| former.entry(space)) {
            return Ok(SpaceEntry {
                problem: Some(problem),
                name: name.to_owned(),
                ..former.clone()
            });
        }
        let failed = |error: StoreError| format!("the store of back-ups: {}", chain(&error));
        let body = self.store.files.create(space).await.map_err(failed)?;
        let (id, sum) = RecordFileWriter::new(body).finish().await.map_err(failed)?;
        Ok(SpaceEntry {
            name: name.to_owned(),
            commit: 0,
            records: id,
            following: Vec::new(),
            state: None,
            sum,
            bodies: 0,
            body_bytes: 0,
            problem: Some(problem),
            stamp: None,
        })
    }
}

/// The bodies of a space.
#[derive(Debug, Default)]
struct BodySums {
    bodies: u64,
    body_bytes: u64,
    problem: Option<String>,
}

/// The length of a body of the unit.
async fn body_len(
    source: &dyn BlobStore,
    space: &Space,
    id: &BlobId,
) -> Result<u64, BodyCopyError> {
    let opened = source.open(space, id).await;
    let opened = opened.map_err(BodyCopyError::Source)?;
    opened.map(|body| body.len()).ok_or(BodyCopyError::Missing)
}

/// The records of a space that say something about its store or the processes on it.
pub(super) struct OmittedRecords {
    keys: Vec<Key>,
    ranges: Vec<KeyRange>,
}

impl OmittedRecords {
    pub(super) fn of(space: &Space) -> Self {
        match space {
            Space::Unit => Self {
                keys: vec![keys::unit_mark(), keys::unfinished_copy(), keys::store_id()],
                ranges: vec![keys::server_nodes(), keys::cell_deletions().range],
            },
            // A deletion that was not done, and what is in the order of commits of this store.
            Space::Cell(_) => {
                let mut ranges = keys::all_topics();
                ranges.push(keys::feed_events());
                Self {
                    keys: vec![keys::seal()],
                    ranges,
                }
            }
        }
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.keys.contains(key) || self.ranges.iter().any(|range| range.contains(key))
    }
}

/// The cells of a part of the unit on a page of the catalogue, with their names. `prefix` is the length of what all keys begin with.
pub(crate) fn cells_of_page(
    page: &[(Key, Record)],
    prefix: usize,
    scope: &BackupScope,
) -> impl Iterator<Item = (CellId, String)> {
    page.iter().filter_map(move |(key, record)| {
        let id: CellId = keys::last_text(key, prefix)?.parse().ok()?;
        let stored = decode::<StoredEntity>(&record.value).ok();
        let name = stored.as_ref().and_then(|stored| stored.text("Name"));
        let name = name.unwrap_or_else(|| id.to_string());
        let owner = stored.as_ref().and_then(|stored| stored.hidden.get(OWNER));
        let is_in = scope.has(&name, owner.map(String::as_str));
        is_in.then_some((id, name))
    })
}

/// Returns the cells of a part of the unit in the catalogue, with their names.
pub(super) async fn catalogue(
    snapshot: &mut dyn RecordSnapshot,
    scope: &BackupScope,
) -> BackupResult<BTreeMap<CellId, String>> {
    let mut rest = keys::entities(&SetKey::control(ControlSet::Cell));
    let prefix = rest.start.as_bytes().len();
    let mut cells = BTreeMap::new();
    loop {
        let page = snapshot.scan(&rest, PAGE).await;
        let page = page.map_err(|error| format!("the catalogue of cells: {}", chain(&error)))?;
        let Some((last, _)) = page.last() else {
            return Ok(cells);
        };
        rest = rest.after(last);
        cells.extend(cells_of_page(&page, prefix, scope));
    }
}

/// Returns the bodies that the records of a file name.
///
/// # Errors
/// A failure of the store of the back-up.
pub(super) async fn references(
    store: &BackupStore,
    space: &Space,
    records: &BlobId,
) -> personium_store::Result<Vec<BlobId>> {
    let body = store.files.open(space, records).await?;
    let body = body.ok_or_else(|| super::parts::damaged("a file of records is missing"))?;
    let mut file = super::record_file::RecordFileReader::new(body);
    let mut found = Vec::new();
    while let Some((key, _)) = file.next().await? {
        found.extend(keys::referenced_blob(&key));
    }
    Ok(found)
}

/// Returns the bodies that a segment of a journal names.
///
/// # Errors
/// A failure of the store of the back-up.
pub(super) async fn references_of_segment(
    store: &BackupStore,
    space: &Space,
    segment: &BlobId,
) -> personium_store::Result<Vec<BlobId>> {
    let body = store.files.open(space, segment).await?;
    let body = body.ok_or_else(|| super::parts::damaged("a segment is missing"))?;
    let mut reader = super::segment_file::SegmentReader::new(body);
    let mut found = Vec::new();
    while let Some((_, entry)) = reader.next().await? {
        for (key, value) in entry.decode()?.changes {
            found.extend(value.and_then(|_| keys::referenced_blob(&key)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use personium_types::NodeId;

    use super::*;

    #[test]
    fn records_of_one_store_and_its_processes_are_omitted() {
        let (unit, cell) = (Space::Unit, Space::Cell(CellId::from_bytes([7; 16])));
        let node = keys::server_node(&personium_types::ServerNodeId::from_bytes([1; 16]));
        let deletion = keys::cell_deletion(&CellId::from_bytes([7; 16]));
        for key in [keys::unit_mark(), keys::store_id(), node, deletion] {
            assert!(OmittedRecords::of(&unit).has(&key));
        }
        let topic = keys::topic_messages_prefix(&NodeId::from_bytes([1; 16]), "t").sequenced(9, 1);
        for key in [keys::seal(), keys::feed_event(9, 1), topic] {
            assert!(OmittedRecords::of(&cell).has(&key));
        }
        assert!(!OmittedRecords::of(&unit).has(&keys::body_key()));
        assert!(!OmittedRecords::of(&cell).has(&keys::signing_key()));
    }
}
