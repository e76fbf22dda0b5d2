//! Makes a pass: copies what the journals of the unit have since the pass before, and the file bodies that it names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, stream};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_store::{
    CommitSeq, JournalChanges, JournalEntry, JournalPosition, Limit, Space, StoreError,
};
use personium_types::error::chain;
use personium_types::time::iso_time;
use personium_types::{BlobId, CellId};

use super::file_stamps::FileStamps;
use super::generation_writer::{BODIES_AT_ONCE, OmittedRecords, catalogue};
use super::journal_pass::{JournalPass, PassList, Segment};
use super::manifest::{ended_ms, is_damage};
use super::scope::BackupScope;
use super::segment_file::SegmentWriter;
use super::store::{BackupStore, BegunCells};
use super::{BackupResult, Generation, new_name};
use crate::copy::bodies::{BodyCheck, BodyCopyError, copy_body};
use crate::record_socket::ChangeMark;
use crate::system;
use crate::unit_reader::UnitReader;

/// The size of a page of entries.
const PAGE: Limit = Limit {
    records: 1_000,
    bytes: 4 << 20,
};

/// The number of cells that are looked at before what has changed in them is copied.
const CELLS_AT_ONCE: usize = 1_000;

/// Until where the journals were read.
#[derive(Debug, Clone)]
pub(super) struct JournalReach {
    /// The last pass.
    last: Option<JournalPass>,
    /// The time until which they were read.
    pub(super) until_ms: i64,
    commits: BTreeMap<Space, CommitSeq>,
    /// The stamps of the files of cells, from before their journals were read.
    stamps: HashMap<CellId, String>,
    /// The cells whose journals could not be read.
    unread: HashSet<CellId>,
    /// The time in the changes of the unit, all before which was read.
    time: Option<ChangeMark>,
}

impl JournalReach {
    fn commit(&self, space: &Space) -> CommitSeq {
        self.commits.get(space).copied().unwrap_or(0)
    }

    /// Whether the journal of a cell was read until then.
    fn has_read(&self, id: &CellId) -> bool {
        self.commits.contains_key(&Space::Cell(*id)) && !self.unread.contains(id)
    }
}

/// The outcome of a pass.
#[derive(Debug)]
pub(super) struct PassOutcome {
    pub(super) reach: JournalReach,
    /// For people.
    pub(super) text: String,
    /// Whether nothing is missing.
    pub(super) is_whole: bool,
}

/// Why there is no pass.
#[derive(Debug)]
pub(super) enum PassError {
    /// The unit keeps no journal.
    NoJournal,
    /// A text for the operator.
    Failed(String),
}

impl From<String> for PassError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// Makes one pass.
pub(super) struct JournalWriter<'a> {
    unit: &'a UnitReader,
    store: &'a BackupStore,
    stamps: &'a FileStamps,
    list: PassList,
    /// The cells that an interrupted back-up or pass has begun with.
    interrupted: HashSet<CellId>,
    /// The cells whose entry in the catalogue was removed. No pass need have seen one.
    removed: BTreeSet<CellId>,
    commits: u64,
    problems: Vec<String>,
}

/// The begin of a pass: what it goes on from.
struct PassStart {
    generations: Vec<Generation>,
    passes: Vec<JournalPass>,
    /// The name of the stores of the unit.
    stores: Option<String>,
}

impl PassStart {
    /// The last generation.
    ///
    /// # Errors
    /// A text for the operator if there is none.
    fn newest(&self) -> BackupResult<&Generation> {
        self.generations.last().ok_or_else(|| {
            "there is no generation that a journal could go on from; run personium backup without --journal".to_owned()
        })
    }

    /// The last pass, if it is one of the same stores.
    fn last(&self) -> Option<&JournalPass> {
        self.passes.last().filter(|pass| pass.stores == self.stores)
    }
}

impl<'a> JournalWriter<'a> {
    pub(super) fn new(
        unit: &'a UnitReader,
        store: &'a BackupStore,
        stamps: &'a FileStamps,
    ) -> Self {
        Self {
            unit,
            store,
            stamps,
            list: PassList::default(),
            interrupted: HashSet::new(),
            removed: BTreeSet::new(),
            commits: 0,
            problems: Vec::new(),
        }
    }

    /// Copies what the journals have of these stores of the unit since the last pass. `known` is until where they were read then, if this
    /// process has made it.
    ///
    /// # Errors
    /// [`PassError`]. What was read before is as it was.
    pub(super) async fn write(
        mut self,
        stores: Option<String>,
        known: Option<JournalReach>,
    ) -> Result<PassOutcome, PassError> {
        if !self.has_journal().await? {
            return Err(PassError::NoJournal);
        }
        let start = PassStart {
            generations: self.store.generations().await?.0,
            passes: self.store.passes().await?.0,
            stores,
        };
        start.newest()?;
        let mut reach = match known {
            Some(known) if same(known.last.as_ref(), start.last()) && start.last().is_some() => {
                known
            }
            _ => self.load_reach(&start, start.last()).await?,
        };
        // Before anything is read, so that what is committed meanwhile is looked at the next time.
        let changes = self.unit.changed_spaces(reach.time).await?;
        let (time, changed) = changes.unzip();
        reach.time = time;
        let changed: Option<HashSet<Space>> = changed
            .flatten()
            .map(|changed| changed.into_iter().collect());
        // Earlier than that of the last pass if the clock was set back.
        let until_ms = system::clock().now_ms();
        let latest = latest_name(&start.generations, &start.passes);
        let name = new_name(until_ms, latest);
        let mut begun = self.store.begin_list(&name).await?;
        self.interrupted = self.store.interrupted_cells(&name).await?;
        self.copy(&Space::Unit, "", &mut reach).await?;
        let snapshot = self.unit.records.snapshot(&Space::Unit).await;
        let mut snapshot = snapshot.map_err(|error| format!("the unit: {}", chain(&error)))?;
        let cells = catalogue(&mut *snapshot, &BackupScope::Unit).await?;
        drop(snapshot);
        let cells_to_read = cells.iter().filter(|(id, _)| {
            let may_differ = |changed: &HashSet<Space>| changed.contains(&Space::Cell(**id));
            changed.as_ref().is_none_or(may_differ) || !reach.has_read(id)
        });
        let cells_to_read: Vec<_> = cells_to_read.collect();
        self.copy_cells(&cells_to_read, &mut reach, &mut begun)
            .await?;
        self.note_gone(&cells, &mut reach);
        let pass = self.pass(&start, &mut reach, (name, until_ms)).await?;
        self.store.complete_pass(&pass).await?;
        self.store.end_lists(&begun).await?;
        let text = self.text(reach.until_ms, until_ms);
        reach.until_ms = until_ms;
        reach.last = Some(pass);
        Ok(PassOutcome {
            reach,
            text,
            is_whole: self.list.gaps.is_empty() && self.problems.is_empty(),
        })
    }

    /// Copies the journals of the cells that have changed.
    async fn copy_cells(
        &mut self,
        cells: &[(&CellId, &String)],
        reach: &mut JournalReach,
        begun: &mut BegunCells,
    ) -> BackupResult {
        for part in cells.chunks(CELLS_AT_ONCE) {
            let mut changed = Vec::new();
            for (id, name) in part {
                let (id, space) = (**id, Space::Cell(**id));
                // Before the journal is read, so that what is committed meanwhile has another one.
                let stamp = self.stamps.stamp(&space);
                if stamp.is_some() && reach.stamps.get(&id) == stamp.as_ref() {
                    continue;
                }
                match self.has_changed(&space, reach.commit(&space)).await? {
                    true => changed.push((id, *name, stamp)),
                    false => self.set_stamp(reach, id, stamp),
                }
            }
            if changed.is_empty() {
                continue;
            }
            let ids: Vec<CellId> = changed.iter().map(|(id, ..)| *id).collect();
            self.store.note(begun, &ids).await?;
            for (id, name, stamp) in changed {
                Box::pin(self.copy(&Space::Cell(id), name, reach)).await?;
                self.set_stamp(reach, id, stamp);
            }
        }
        Ok(())
    }

    /// Notes the stamp of a cell from before its journal was read. Each pass looks again at what cannot be read.
    fn set_stamp(&self, reach: &mut JournalReach, id: CellId, stamp: Option<String>) {
        let is_read = self.list.gaps.last() != Some(&Space::Cell(id));
        match is_read {
            true => drop(reach.unread.remove(&id)),
            false => drop(reach.unread.insert(id)),
        }
        match stamp.filter(|_| is_read) {
            Some(stamp) => drop(reach.stamps.insert(id, stamp)),
            None => drop(reach.stamps.remove(&id)),
        }
    }

    /// Notes the cells that are not in the catalogue any more.
    fn note_gone(&mut self, cells: &BTreeMap<CellId, String>, reach: &mut JournalReach) {
        let known = reach.commits.keys().filter_map(|space| match space {
            Space::Cell(id) => Some(*id),
            Space::Unit => None,
        });
        let gone: BTreeSet<CellId> = known.chain(self.removed.iter().copied()).collect();
        for id in gone.into_iter().filter(|id| !cells.contains_key(id)) {
            reach.commits.remove(&Space::Cell(id));
            reach.stamps.remove(&id);
            reach.unread.remove(&id);
            self.list.gone.push(id);
        }
    }

    /// The pass with what was copied, or the last one with a later end if nothing was. Takes the last pass.
    async fn pass(
        &self,
        start: &PassStart,
        reach: &mut JournalReach,
        (name, until_ms): (String, i64),
    ) -> BackupResult<JournalPass> {
        let newest = start.newest()?;
        let is_same = self.list.is_empty();
        let last = match reach.last.take() {
            // Nothing has happened: the last pass reaches until now.
            Some(last)
                if is_same
                    && last.generation == newest.name
                    && !last.is_set_back()
                    && last.until_ms <= until_ms =>
            {
                return Ok(JournalPass { until_ms, ..last });
            }
            last => last,
        };
        let id = self.list.store(&*self.store.files).await;
        Ok(JournalPass {
            name,
            list: id.map_err(|error| self.of_target(&error))?,
            stores: start.stores.clone(),
            after: last.map(|last| last.name),
            generation: newest.name.clone(),
            from_ms: reach.until_ms,
            until_ms,
            gaps: self.list.gaps.len() as u64,
        })
    }

    /// The outcome, for people.
    fn text(&self, from_ms: i64, until_ms: i64) -> String {
        let (segments, commits) = (self.list.segments.len(), self.commits);
        let mut text = format!(
            "Journal until {}: {commits} commits of {segments} cells since {}\n",
            iso_time(until_ms),
            iso_time(from_ms),
        );
        match self.list.gaps.len() {
            0 => {}
            gaps => text.push_str(&format!(
                "the journals of {gaps} cells do not go on from there; run personium backup without --journal, from whose end on all times are reached again\n"
            )),
        }
        for problem in &self.problems {
            text.push_str(problem);
            text.push('\n');
        }
        text
    }

    /// Finds out until where the journals were read.
    async fn load_reach(
        &self,
        start: &PassStart,
        last: Option<&JournalPass>,
    ) -> BackupResult<JournalReach> {
        let PassStart {
            generations,
            passes,
            stores,
        } = start;
        let named = |name: &str| generations.iter().find(|found| found.name == name);
        let of_last = last.and_then(|last| Some((last, named(&last.generation)?)));
        let (last, base) = match of_last {
            Some((last, base)) => (Some(last), Some(base)),
            None => (None, generations.last()),
        };
        let base = base.ok_or("there is no generation")?;
        let manifest = self.store.manifest(base).await?;
        if manifest.stores != *stores {
            return Err(
                "the last generation is that of other stores; run personium backup without --journal"
                    .to_owned(),
            );
        }
        let commits = manifest
            .spaces()
            .map(|(space, entry)| (space, entry.commit));
        let whole = manifest.cells.iter();
        let whole = whole.filter(|(_, entry)| entry.problem.is_none());
        let stamps = whole.filter_map(|(id, entry)| Some((*id, entry.stamp.clone()?)));
        let broken = manifest.cells.iter();
        let broken = broken.filter(|(_, entry)| entry.problem.is_some());
        let unread = broken.map(|(id, _)| *id);
        let mut reach = JournalReach {
            last: last.cloned(),
            until_ms: last.map_or_else(|| ended_ms(base).unwrap_or(0), |last| last.until_ms),
            commits: commits.collect(),
            stamps: stamps.collect(),
            unread: unread.collect(),
            time: manifest.changes,
        };
        if last.is_none() {
            return Ok(reach);
        }
        let newest = generations.last().map(|newest| &newest.name);
        let since = |pass: &&JournalPass| pass.generation == base.name && pass.stores == *stores;
        for pass in passes.iter().filter(since) {
            let list = PassList::load(&*self.store.files, &pass.list).await;
            let list = match list {
                Ok(list) => list,
                // Until there is another one, nothing goes on from the pass.
                Err(error) if is_damage(&error) && newest != Some(&base.name) => {
                    return Box::pin(self.load_reach(start, None)).await;
                }
                Err(error) => {
                    return Err(format!(
                        "the journal {}: {}; run personium backup without --journal",
                        pass.name,
                        chain(&error)
                    ));
                }
            };
            for segment in list.segments {
                // They may be those of a time before.
                segment.cell().and_then(|id| reach.stamps.remove(&id));
                let known = reach.commits.entry(segment.space).or_default();
                *known = segment.last.max(*known);
            }
            for id in list.gone {
                reach.commits.remove(&Space::Cell(id));
            }
        }
        Ok(reach)
    }

    /// Whether the unit keeps a journal.
    async fn has_journal(&self) -> BackupResult<bool> {
        let (after, limit) = (JournalPosition::end_of(0), Limit::records(1));
        match self.unit.records.journal(&Space::Unit, after, limit).await {
            Ok(page) => Ok(page.is_some()),
            Err(error) if is_damage(&error) => Ok(true),
            Err(error) => Err(format!("the unit: {}", chain(&error))),
        }
    }

    /// Whether a cell has changed since a commit.
    async fn has_changed(&mut self, space: &Space, known: CommitSeq) -> BackupResult<bool> {
        let after = JournalPosition::end_of(known);
        let found = self
            .unit
            .records
            .journal(space, after, Limit::records(1))
            .await;
        match found {
            Ok(page) => Ok(page.is_some_and(|page| page.last_commit != known)),
            // The next catalogue does not have it.
            Err(StoreError::SpaceDropped) => Ok(false),
            Err(error) if is_damage(&error) => {
                // What has changed since is not known.
                self.list.gaps.push(*space);
                self.problems
                    .push(format!("{}: {}", name_of(space), chain(&error)));
                Ok(false)
            }
            Err(error) => Err(format!("the unit: {}", chain(&error))),
        }
    }

    /// Copies what the journal of a space has since.
    async fn copy(&mut self, space: &Space, name: &str, reach: &mut JournalReach) -> BackupResult {
        let known = reach.commit(space);
        let omitted = OmittedRecords::of(space);
        let mut after = JournalPosition::end_of(known);
        let (mut writer, mut last, mut has_gap, mut goal) = (None, known, false, None);
        // The commit and the part that follow.
        let mut next = (known + 1, 0);
        loop {
            let page = self.unit.records.journal(space, after, PAGE).await;
            let page = match page {
                Ok(page) => page.unwrap_or_default(),
                Err(StoreError::SpaceDropped) => break,
                Err(error) if is_damage(&error) => {
                    has_gap = true;
                    self.problems
                        .push(format!("{}: {}", name_of(space), chain(&error)));
                    break;
                }
                Err(error) => return Err(format!("the unit: {}", chain(&error))),
            };
            let goal = *goal.get_or_insert(page.last_commit);
            if goal < known {
                // Older files were put in the place of newer ones.
                has_gap = true;
                last = goal;
                break;
            }
            let Some(end) = page.entries.last().map(|entry| entry.position) else {
                has_gap |= next.0 <= goal;
                last = goal.max(last);
                break;
            };
            if writer.is_none() {
                let body = self.store.files.create(space).await;
                writer = Some(SegmentWriter::new(body.map_err(|e| self.of_target(&e))?));
            }
            let mut is_complete = false;
            let mut bodies = Vec::new();
            for entry in page.entries {
                let decoded = entry.decode();
                let mut changes =
                    decoded.map_err(|error| format!("the unit: {}", chain(&error)))?;
                is_complete = changes.is_last;
                let (commit, part) = (entry.position.commit(), entry.position.part());
                has_gap |= (commit, part) != next;
                next = match is_complete {
                    true => (commit + 1, 0),
                    false => (commit, part + 1),
                };
                self.commits += u64::from(is_complete);
                bodies.extend(named_bodies(&changes));
                if *space == Space::Unit {
                    self.removed.extend(removed_cells(&changes));
                }
                changes.changes.retain(|(key, _)| !omitted.has(key));
                let entry = JournalEntry {
                    changes: changes.encode(),
                    ..entry
                };
                if let Some(writer) = &mut writer {
                    let appended = writer.append(&entry).await;
                    appended.map_err(|error| self.of_target(&error))?;
                }
            }
            Box::pin(self.copy_bodies(space, name, bodies)).await?;
            after = end;
            last = end.commit();
            if is_complete && last >= goal {
                break;
            }
        }
        if has_gap {
            self.list.gaps.push(*space);
        }
        reach.commits.insert(*space, last);
        if let Some(writer) = writer {
            let finished = writer.finish().await;
            self.list.segments.push(Segment {
                space: *space,
                name: name.to_owned(),
                file: finished.map_err(|error| self.of_target(&error))?,
                last,
            });
        }
        Ok(())
    }

    /// Copies file bodies that the store of back-ups has not.
    async fn copy_bodies(&mut self, space: &Space, name: &str, ids: Vec<BlobId>) -> BackupResult {
        let (source, target) = (&*self.unit.bodies, &*self.store.files);
        // What was written by one that did not end may not have reached the disk before a power cut.
        let check = match space {
            Space::Cell(id) if self.interrupted.contains(id) => BodyCheck::Content,
            Space::Cell(_) | Space::Unit => BodyCheck::Length,
        };
        let copies = ids.into_iter().map(async |id| {
            let copied = copy_body((source, target), space, id, check).await;
            (id, copied)
        });
        let mut copies = stream::iter(copies).buffer_unordered(BODIES_AT_ONCE);
        let mut missing = Vec::new();
        while let Some((id, copied)) = copies.next().await {
            match copied {
                Ok(_) => {}
                Err(BodyCopyError::Missing | BodyCopyError::TooShort) => missing.push(id),
                Err(BodyCopyError::Source(error)) if is_damage(&error) => missing.push(id),
                Err(error) => return Err(format!("cell {name}: file body {id}: {error}")),
            }
        }
        drop(copies);
        self.problems.extend(missing.into_iter().map(|id| {
            format!("cell {name}: file body {id} is missing or damaged; it was there for a time that the journal has")
        }));
        Ok(())
    }

    fn of_target(&self, error: &StoreError) -> String {
        format!("{}: {}", self.store.place, chain(error))
    }
}

fn name_of(space: &Space) -> String {
    match space {
        Space::Unit => "the unit".to_owned(),
        Space::Cell(id) => format!("cell {id}"),
    }
}

fn same(one: Option<&JournalPass>, other: Option<&JournalPass>) -> bool {
    one.map(|pass| &pass.name) == other.map(|pass| &pass.name)
}

/// The last name of all that is there.
pub(super) fn latest_name<'n>(
    generations: &'n [Generation],
    passes: &'n [JournalPass],
) -> Option<&'n str> {
    let generations = generations.iter().map(|found| &*found.name);
    let passes = passes.iter().map(|found| &*found.name);
    generations.chain(passes).max()
}

/// The file bodies that changes name.
fn named_bodies(changes: &JournalChanges) -> impl Iterator<Item = BlobId> {
    let puts = changes.changes.iter().filter(|(_, value)| value.is_some());
    puts.filter_map(|(key, _)| keys::referenced_blob(key))
}

/// The cells whose entry in the catalogue changes remove.
fn removed_cells(changes: &JournalChanges) -> impl Iterator<Item = CellId> {
    let entries = keys::entities(&SetKey::control(ControlSet::Cell));
    let prefix = entries.start.as_bytes().len();
    let removed = changes.changes.iter();
    let removed = removed.filter(move |(key, value)| value.is_none() && entries.contains(key));
    removed.filter_map(move |(key, _)| keys::last_text(key, prefix)?.parse().ok())
}
