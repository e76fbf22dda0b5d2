//! `personium restore`: a unit from a generation of its back-ups.
//!
//! The generation is read as the stores of a unit are, and copied as `personium copy` does: compared at the end, not a unit before that,
//! and continued when the command is repeated.

mod audit_parts;
mod changes;
mod generation_records;
mod living_keys;
pub mod one_cell;
pub mod owner_cells;
mod point_in_time;

use std::collections::{BTreeMap, HashSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::node::Node;
use personium_model::records::{Records, decode};
use personium_model::verification::VerifiedStores;
use personium_store::{Direction, Key, Limit, RecordStore, Space};
use personium_token::at_rest::sealed_len;
use personium_types::error::chain;
use personium_types::time::iso_time;
use personium_types::{BlobId, CellId};

use self::changes::Changes;
use self::generation_records::GenerationRecords;
use self::point_in_time::PointInTime;
use crate::backup::generation_writer::cells_of_page;
use crate::backup::manifest::{Manifest, SpaceEntry, ended_ms};
use crate::backup::place::BackupPlace;
use crate::backup::record_file::RecordSum;
use crate::backup::scope::BackupScope;
use crate::backup::store::BackupStore;
use crate::backup::{BackupResult, Generation, describe, read_secret};
use crate::config::Config;
use crate::copy::bodies::read_whole;
use crate::copy::key_copy::KeySet;
use crate::copy::{self, Source};
use crate::key_files::unit_secret;
use crate::progress::Progress;
use crate::unit_reader::UnitReader;
use crate::verify::{self, VerifyOutcome, VerifyReport};
use crate::{key_files, system};

/// The options of `personium restore`.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Where the back-ups are.
    pub from: BackupPlace,
    /// The name of the generation; the last one if absent.
    pub generation: Option<String>,
    /// The time to go back to, in milliseconds since 1970-01-01 UTC, in place of that of a generation.
    pub at_ms: Option<i64>,
    /// The file with the secret that the back-ups are encrypted with.
    pub key_file: Option<PathBuf>,
}

/// An opened generation, all of whose checksums were compared.
struct OpenGeneration {
    store: BackupStore,
    /// Its list. With a later time, the cells are those of that time.
    manifest: Arc<Manifest>,
    /// The later time.
    point: Option<Arc<PointInTime>>,
    /// The entries of the audit log of the unit that the store of back-ups has lost, for people.
    left_out: Vec<String>,
}

impl OpenGeneration {
    /// Notes what is wrong with some cells.
    fn note(&mut self, problems: Vec<(Space, String)>) {
        let mut manifest = (*self.manifest).clone();
        for (space, problem) in problems {
            let entry = match &space {
                Space::Unit => Some(&mut manifest.unit_space),
                Space::Cell(id) => manifest.cells.get_mut(id),
            };
            if let Some(entry) = entry {
                entry.problem.get_or_insert(problem);
            }
        }
        self.manifest = Arc::new(manifest);
    }

    fn records(&self) -> GenerationRecords {
        let (files, manifest) = (Arc::clone(&self.store.files), Arc::clone(&self.manifest));
        GenerationRecords::new(files, manifest, self.point.clone())
    }

    /// Whether all cells lead to the wanted time.
    fn is_at_time(&self) -> bool {
        self.point.is_none() || self.manifest.problems().next().is_none()
    }

    /// The missing entries of the audit log, for people.
    fn left_out(&self) -> String {
        let lines = self.left_out.iter();
        let mut text: String = lines.map(|line| format!("{line}\n")).collect();
        if !text.is_empty() {
            text.push_str(
                "if the unit still has them, personium backup --full writes them again\n",
            );
        }
        text
    }

    /// The name of the generation and the time, for people.
    fn name(&self) -> String {
        let generation = &self.manifest.generation;
        match &self.point {
            None => format!("generation {generation}"),
            Some(point) => format!(
                "generation {generation}, with the journals until {}",
                iso_time(point.at_ms)
            ),
        }
    }
}

/// Returns the generations, for people.
///
/// # Errors
/// A text for the operator.
pub async fn list(options: &RestoreOptions) -> BackupResult<String> {
    let secret = read_secret(options.key_file.as_deref())?;
    let store = BackupStore::open(&options.from, secret.as_ref()).await?;
    let (generations, wrong) = store.generations().await?;
    let mut text = match store.scope.is_unit() {
        true => String::new(),
        false => format!("Back-ups of {}.\n", store.scope),
    };
    for Generation { name, summary, .. } in &generations {
        text.push_str(&format!("{name}: {}\n", describe(summary)));
    }
    for problem in wrong {
        text.push_str(&format!("{problem}\n"));
    }
    if generations.is_empty() {
        text.push_str("There is no complete generation.\n");
    }
    text.push_str(&point_in_time::describe(&store).await?);
    Ok(text)
}

/// Compares all checksums of a generation. Returns the text that is shown at the end, and whether all cells lead to the wanted time.
///
/// # Errors
/// A text for the operator, which names what is damaged.
pub async fn check(options: &RestoreOptions) -> BackupResult<(String, bool)> {
    let progress = Progress::new("restore", system::clock());
    let opened = Box::pin(open(options, &progress)).await?;
    progress.end();
    let manifest = &opened.manifest;
    let left_out = opened.left_out();
    if !left_out.is_empty() {
        let problems = match opened.point {
            Some(_) => problems(manifest),
            None => String::new(),
        };
        return Ok((
            format!("{left_out}{problems}Nothing was restored.\n"),
            false,
        ));
    }
    let mut text = format!(
        "The {} is whole: {} cells. Nothing was restored.\n",
        opened.name(),
        manifest.cells.len()
    );
    if opened.point.is_none() {
        text.push_str(&point_in_time::describe(&opened.store).await?);
        return Ok((text, true));
    }
    let problems = problems(manifest);
    match problems.is_empty() {
        true => Ok((text, true)),
        false => Ok((format!("{problems}Nothing was restored.\n"), false)),
    }
}

/// Restores a generation into stores without a unit. Returns the text that is shown at the end, and whether all cells lead to the wanted time.
///
/// # Errors
/// A text for the operator. Until the restore is repeated and complete, no unit starts there.
pub async fn run(options: &RestoreOptions, to: &Config) -> BackupResult<(String, bool)> {
    let progress = Progress::new("restore", system::clock());
    let opened = Box::pin(open_whole(options, &progress)).await?;
    let mut text = Box::pin(restore(&opened, to, &progress)).await?;
    let mut is_whole = opened.is_at_time() && opened.left_out.is_empty();
    text.push_str("The unit is restored.\n");
    let records = Records::new(Arc::new(opened.records()), Space::Unit);
    if let Err(problem) = unit_secret::check(to, &records).await {
        text.push_str(&format!("It does not start: {problem}\n"));
        is_whole = false;
    }
    Ok((text, is_whole))
}

/// Restores a generation into a folder of its own, verifies the unit there, and removes the folder. Returns what is shown at the end, and whether the
/// unit is whole.
///
/// # Errors
/// A text for the operator.
pub async fn drill(options: &RestoreOptions, scratch: &Path) -> BackupResult<(String, bool)> {
    let name = key_files::random_text(16, &system::random()).map_err(|error| chain(&error))?;
    let folder = scratch.join(format!("personium-drill-{name}"));
    let created = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    created.map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let drilled = Box::pin(drill_in(options, &folder)).await;
    let removed = std::fs::remove_dir_all(&folder);
    let done = drilled?;
    removed.map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
    Ok(done)
}

async fn drill_in(options: &RestoreOptions, folder: &Path) -> BackupResult<(String, bool)> {
    let config = copy::load(folder)?;
    let progress = Progress::new("drill", system::clock());
    let opened = Box::pin(open_whole(options, &progress)).await?;
    let restored = Box::pin(restore(&opened, &config, &progress)).await?;
    let is_at_time = opened.is_at_time() && opened.left_out.is_empty();
    drop(opened);
    let unit = Box::pin(UnitReader::open(&config)).await?;
    let stores = VerifiedStores {
        records: Arc::clone(&unit.records),
        bodies: Arc::clone(&unit.bodies),
    };
    let lines = parking_lot::Mutex::new(restored);
    let mut report = VerifyReport::new(false, |line: &str| {
        lines.lock().push_str(line);
        Ok(())
    });
    verify::add_secret(&config, &unit, &mut report).await;
    let verified = verify::verify(&stores, (None, unit.verified_at_once()), report);
    let verified = Box::pin(verified).await;
    unit.close().await;
    let is_whole = verified? == VerifyOutcome::Whole && is_at_time;
    Ok((lines.into_inner(), is_whole))
}

async fn restore(
    opened: &OpenGeneration,
    to: &Config,
    progress: &Progress,
) -> BackupResult<String> {
    let (store, manifest) = (&opened.store, &opened.manifest);
    let keys = read_keys(store, manifest).await?;
    let incomplete = manifest.cells.iter();
    let incomplete = incomplete.filter(|(_, entry)| entry.problem.is_some());
    let incomplete = incomplete.map(|(id, _)| *id);
    let source = Source::of_generation(
        Arc::new(opened.records()),
        Arc::clone(&store.files),
        manifest.unit.clone(),
        manifest.cells.keys().copied().collect(),
        incomplete.collect(),
    );
    let put_keys = |to: &Config| match &keys {
        Some(keys) => keys.write(to),
        None => KeySet::expect_given(to),
    };
    let text = Box::pin(copy::copy_from(source, to, put_keys, progress)).await?;
    let name = opened.name().replacen('g', "G", 1);
    let left_out = opened.left_out();
    Ok(format!("{name}. {text}{left_out}{}", problems(manifest)))
}

/// The cells that are not as they were, for people.
fn problems(manifest: &Manifest) -> String {
    let lines = manifest.problems();
    lines
        .map(|(cell, problem)| format!("cell {cell} is not complete: {problem}\n"))
        .collect()
}

/// The keys of the unit, if they are in the generation.
async fn read_keys(store: &BackupStore, manifest: &Manifest) -> BackupResult<Option<KeySet>> {
    let Some(id) = &manifest.keys else {
        return Ok(None);
    };
    let failed = |error| format!("the keys of the generation: {}", chain(&error));
    let body = store.files.open(&Space::Unit, id).await.map_err(failed)?;
    let mut body = body.ok_or("the keys of the generation are missing")?;
    let text = body.read_at(0, 1 << 20).await.map_err(failed)?;
    let keys = KeySet::from_json(&text);
    keys.map(Some)
        .ok_or_else(|| "the keys of the generation cannot be read".to_owned())
}

/// Opens a generation of a whole unit and compares all its checksums.
async fn open_whole(options: &RestoreOptions, progress: &Progress) -> BackupResult<OpenGeneration> {
    let opened = open_unchecked(options, progress).await?;
    opened.store.require_whole_unit()?;
    check_all(opened, progress).await
}

/// Opens a generation and compares all its checksums.
async fn open(options: &RestoreOptions, progress: &Progress) -> BackupResult<OpenGeneration> {
    let opened = open_unchecked(options, progress).await?;
    check_all(opened, progress).await
}

async fn check_all(
    mut opened: OpenGeneration,
    progress: &Progress,
) -> BackupResult<OpenGeneration> {
    let manifest = Arc::clone(&opened.manifest);
    let found = check_spaces(&opened, manifest.spaces(), progress).await?;
    read_keys(&opened.store, &manifest).await?;
    opened.note(found);
    Ok(opened)
}

/// Compares the checksums of some spaces of a generation. Returns those that do not lead to the wanted time, and why.
async fn check_spaces(
    opened: &OpenGeneration,
    spaces: impl Iterator<Item = (Space, &SpaceEntry)>,
    progress: &Progress,
) -> BackupResult<Vec<(Space, String)>> {
    let spaces: Vec<_> = spaces.collect();
    progress.start("checked", spaces.len());
    let records = opened.records();
    let (mut damaged, mut incomplete) = (Vec::new(), Vec::new());
    let records = &records;
    let checks = spaces.into_iter().map(|(space, entry)| async move {
        let checked = Box::pin(check_space(opened, records, (&space, entry))).await;
        (space, entry, checked)
    });
    let mut checks = stream::iter(checks).buffered(copy::SPACES_AT_ONCE);
    while let Some((space, entry, checked)) = checks.next().await {
        let name = copy::name(&space);
        match checked {
            Ok(None) => {}
            Ok(Some(problem)) if opened.point.is_some() => {
                progress.note(&format!("{name} ({}): {problem}", entry.name));
                incomplete.push((space, problem));
            }
            Err(problem) | Ok(Some(problem)) => {
                progress.note(&format!("{name} ({}): {problem}", entry.name));
                damaged.push(format!("{name} ({}): {problem}", entry.name));
            }
        }
        progress.end_space();
    }
    drop(checks);
    match damaged.first() {
        None => Ok(incomplete),
        Some(first) => Err(format!(
            "the generation {} is damaged in {} of its cells: {first}",
            opened.manifest.generation,
            damaged.len()
        )),
    }
}

/// Opens a generation without comparing its checksums.
async fn open_unchecked(
    options: &RestoreOptions,
    progress: &Progress,
) -> BackupResult<OpenGeneration> {
    let secret = read_secret(options.key_file.as_deref())?;
    let store = BackupStore::open(&options.from, secret.as_ref()).await?;
    let (generations, wrong) = store.generations().await?;
    for text in wrong {
        progress.note(&text);
    }
    if let Some(at_ms) = options.at_ms {
        return Box::pin(open_at(store, at_ms, progress)).await;
    }
    let wanted = match &options.generation {
        None => generations.last(),
        Some(name) => generations
            .iter()
            .find(|generation| generation.name == *name),
    };
    let wanted =
        wanted.ok_or("there is no such generation; `personium restore --list` lists them")?;
    let mut manifest = read_manifest(&store, wanted).await?;
    let left_out = leave_out_damaged(&store, &mut manifest, progress).await?;
    Ok(OpenGeneration {
        store,
        manifest: Arc::new(manifest),
        point: None,
        left_out,
    })
}

async fn leave_out_damaged(
    store: &BackupStore,
    manifest: &mut Manifest,
    progress: &Progress,
) -> BackupResult<Vec<String>> {
    let left_out = audit_parts::leave_out_damaged(store, manifest).await?;
    for text in &left_out {
        progress.note(text);
    }
    Ok(left_out)
}

async fn read_manifest(store: &BackupStore, wanted: &Generation) -> BackupResult<Manifest> {
    let manifest = store.manifest(wanted).await?;
    checked(store, manifest, wanted)
}

/// The list, if it is that of the generation.
fn checked(store: &BackupStore, manifest: Manifest, wanted: &Generation) -> BackupResult<Manifest> {
    match manifest.generation == wanted.name && manifest.unit == store.unit {
        true => Ok(manifest),
        false => Err(format!(
            "the list of the generation {} is another one's",
            wanted.name
        )),
    }
}

/// Opens a generation with the journals until a time. Its cells are those of that time.
async fn open_at(
    store: BackupStore,
    at_ms: i64,
    progress: &Progress,
) -> BackupResult<OpenGeneration> {
    let (generation, manifest, mut point) = point_in_time::resolve(&store, at_ms).await?;
    let mut manifest = checked(&store, manifest, &generation)?;
    let left_out = leave_out_damaged(&store, &mut manifest, progress).await?;
    let mut opened = OpenGeneration {
        manifest: Arc::new(manifest.clone()),
        point: Some(Arc::new(point.clone())),
        store,
        left_out,
    };
    let records = opened.records();
    let failed = |error: personium_store::StoreError| format!("the unit: {}", chain(&error));
    let changes = records.changes(&Space::Unit).await.map_err(failed)?;
    if let Some(problem) = &changes.problem {
        return Err(format!(
            "the unit: {problem}; until then the back-ups lead to {}",
            reached(&changes, &generation)
        ));
    }
    if let Some(gap_ms) = point.gaps.get(&Space::Unit) {
        return Err(format!(
            "the unit: its journal has a gap after {}; until then the back-ups lead to any time",
            iso_time(*gap_ms)
        ));
    }
    let cells = catalogue(&records, &BackupScope::Unit)
        .await
        .map_err(failed)?;
    let mut former = std::mem::take(&mut manifest.cells);
    for (id, name) in cells {
        let entry = match former.remove(&id) {
            Some(entry) => SpaceEntry { name, ..entry },
            None => {
                point.new_cells.insert(id);
                SpaceEntry {
                    name,
                    commit: 0,
                    records: manifest.unit_space.records,
                    following: Vec::new(),
                    state: None,
                    sum: RecordSum::default(),
                    bodies: 0,
                    body_bytes: 0,
                    problem: None,
                    stamp: None,
                }
            }
        };
        manifest.cells.insert(id, entry);
    }
    drop(records);
    point.cells = i64::try_from(manifest.cells.len()).ok();
    opened.manifest = Arc::new(manifest);
    opened.point = Some(Arc::new(point));
    Ok(opened)
}

/// The time that changes lead to.
fn reached(changes: &Changes, generation: &Generation) -> String {
    let reached = changes.reached_ms.or_else(|| ended_ms(generation));
    iso_time(reached.unwrap_or(0))
}

/// Returns the cells of a part of the unit in the catalogue, with their names.
async fn catalogue(
    records: &GenerationRecords,
    scope: &BackupScope,
) -> personium_store::Result<BTreeMap<CellId, String>> {
    let mut rest = keys::entities(&SetKey::control(ControlSet::Cell));
    let prefix = rest.start.as_bytes().len();
    let mut cells = BTreeMap::new();
    loop {
        let page = records.scan(&Space::Unit, &rest, Direction::Up, Limit::records(1_000));
        let page = page.await?.value;
        let Some((last, _)) = page.last() else {
            return Ok(cells);
        };
        rest = rest.after(last);
        cells.extend(cells_of_page(&page, prefix, scope));
    }
}

/// Compares the checksums of a space in a generation, and of the journal since. Returns what is missing of its file bodies, or why the journal
/// does not lead to the wanted time.
async fn check_space(
    opened: &OpenGeneration,
    generation: &GenerationRecords,
    (space, entry): (&Space, &SpaceEntry),
) -> BackupResult<Option<String>> {
    let files = &*opened.store.files;
    let failed = |error: personium_store::StoreError| chain(&error);
    let changes = generation.changes(space).await.map_err(failed)?;
    let records = generation.open(space).await.map_err(failed)?;
    let mut records = records.ok_or("the file of its records is missing")?;
    let mut found = changes.problem.as_ref().map(|problem| {
        let reached = changes.reached_ms.map_or_else(
            || format!("the generation {}", opened.manifest.generation),
            iso_time,
        );
        format!("{problem}; it is as it was at {reached}")
    });
    if let (Some(point), Space::Cell(id)) = (&opened.point, space)
        && let Some(gone_ms) = point.gone.get(id).filter(|gone_ms| **gone_ms < point.at_ms)
    {
        let gone = iso_time(*gone_ms);
        found.get_or_insert(format!(
            "it was removed before its journal was read again; it is as it was at {gone}, or later"
        ));
    }
    if let Some(gap_ms) = opened.point.as_ref().and_then(|p| p.gaps.get(space)) {
        let gap = iso_time(*gap_ms);
        found.get_or_insert(format!(
            "its journal has a gap after {gap}; it is as it was at {gap}, or later"
        ));
    }
    // Nodes come before references in the order of keys.
    let mut checked = HashSet::new();
    while let Some((key, value)) = records.next().await.map_err(failed)? {
        let Some((id, len)) = body_of(&key, &value).filter(|(id, _)| checked.insert(*id)) else {
            continue;
        };
        let problem = match files.open(space, &id).await {
            // A body without its last bytes has no checksums either.
            Ok(Some(body)) if len.is_some_and(|len| body.len() != len) => {
                Some("it has another length".to_owned())
            }
            Ok(Some(mut body)) => read_whole(&mut *body).await.err(),
            Ok(None) => Some("it is missing".to_owned()),
            Err(error) => Some(chain(&error)),
        };
        match problem {
            // Known when the generation was made.
            Some(_) if entry.problem.is_some() => {}
            Some(problem) => drop(found.get_or_insert(format!("file body {id}: {problem}"))),
            None => {}
        }
    }
    match records.base_sum() == entry.sum {
        true => Ok(found),
        false => Err("its records are not those that were backed up".to_owned()),
    }
}

/// The body outside of the records that a record names, and its length if the record has it.
fn body_of(key: &Key, value: &[u8]) -> Option<(BlobId, Option<u64>)> {
    if let Some(id) = keys::referenced_blob(key) {
        return Some((id, None));
    }
    keys::parts_of_node(key).filter(|_| key.as_bytes().first() == Some(&b'N'))?;
    let file = decode::<Node>(value).ok()?.file?;
    let len = match file.salt {
        Some(_) => sealed_len(file.length),
        None => file.length,
    };
    (!file.inline).then_some((file.blob, Some(len)))
}
