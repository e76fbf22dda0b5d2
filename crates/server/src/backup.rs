//! `personium backup`: generations of a whole unit in a folder or a bucket, made while the unit serves.
//!
//! A generation has each cell as it was at one moment. File bodies never change and have ids that no other one ever has, so a body that is
//! there is not copied again; a cell without a commit since the last generation is not read again.

mod erasures;
mod file_stamps;
mod forget;
pub(crate) mod generation_writer;
pub(crate) mod journal_pass;
mod journal_writer;
mod lease;
pub(crate) mod manifest;
pub(crate) mod parts;
pub mod place;
pub(crate) mod record_file;
mod retention;
pub mod scope;
mod sealed_bodies;
pub(crate) mod segment_file;
mod small_files;
pub(crate) mod store;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use personium_model::records::Records;
use personium_model::{keys, unit_mark};
use personium_store::Space;
use personium_types::error::chain;
use personium_types::time::iso_time;
use personium_types::{BlobId, CellId, Secret};
use serde_json::{Value, json};

use self::file_stamps::FileStamps;
use self::generation_writer::{GenerationWriter, NewContent, NewContentSum};
use self::journal_writer::{JournalReach, JournalWriter, PassError, PassOutcome};
use self::manifest::{Manifest, member};
use self::place::BackupPlace;
use self::scope::BackupScope;
use self::store::BackupStore;
use crate::command_audit::{AuditedCommand, FORGET_OPERATION};
use crate::config::Config;
use crate::copy::key_copy::KeySet;
use crate::key_files::unit_secret;
use crate::progress::Progress;
use crate::telemetry::CommandTraces;
use crate::unit_reader::UnitReader;
use crate::{journal_age, system};

/// The shortest secret that a back-up is encrypted with, in characters.
const SECRET_MIN_CHARS: usize = 32;

/// The digits of the number in the name of a generation or a pass that was made when the clock was set back.
const NAME_DIGITS: usize = 8;

/// A result whose error is a text for the operator.
pub(crate) type BackupResult<T = ()> = Result<T, String>;

/// A complete generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Its name, which is the time it was begun.
    pub(crate) name: String,
    /// Its list.
    pub(crate) manifest: BlobId,
    /// Its content, for people.
    pub(crate) summary: Value,
}

/// The options of `personium backup`.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Where the back-ups are.
    pub to: BackupPlace,
    /// The part of the unit that they have.
    pub scope: BackupScope,
    /// The number of generations that stay; all if absent.
    pub keep: Option<usize>,
    /// The file with the secret that the back-ups are encrypted with.
    pub key_file: Option<PathBuf>,
    /// Whether the keys of the unit are left out.
    pub without_keys: bool,
    /// Whether every cell is read, also those without a commit since the last generation.
    pub full: bool,
}

/// Removes a cell that the unit does not have any more, by its name or id, from all generations. Returns the text that is shown.
///
/// # Errors
/// A text for the operator, also if the unit has the cell, or no generation has it.
pub async fn forget(
    config: &Config,
    place: &BackupPlace,
    key_file: Option<&Path>,
    cell: &str,
) -> BackupResult<String> {
    let secret = read_secret(key_file)?;
    let unit = Box::pin(UnitReader::open(config)).await?;
    let done = async {
        let mark = mark(&unit).await?;
        let store = BackupStore::open_to_change(place, &mark, secret.as_ref()).await?;
        let audited = AuditedCommand {
            operation: FORGET_OPERATION,
            target: format!("cell {cell} in {place}"),
        };
        let done = Box::pin(forget_in(&store, &unit, (cell, &audited))).await;
        store.close().await;
        done
    };
    let done = Box::pin(done).await;
    unit.close().await;
    done
}

async fn forget_in(
    store: &BackupStore,
    unit: &UnitReader,
    (cell, audited): (&str, &AuditedCommand),
) -> BackupResult<String> {
    let living = cells(unit, &BackupScope::Unit).await?;
    let now_ms = system::clock().now_ms();
    let of = (cell, now_ms);
    forget::forget(store, &living, of, unit.note(audited)).await
}

/// The cells of a part of the unit.
async fn cells(unit: &UnitReader, scope: &BackupScope) -> BackupResult<BTreeSet<CellId>> {
    let snapshot = unit.records.snapshot(&Space::Unit).await;
    let mut snapshot = snapshot.map_err(|error| format!("the unit: {}", chain(&error)))?;
    let found = generation_writer::catalogue(&mut *snapshot, scope).await?;
    Ok(found.into_keys().collect())
}

/// The mark of the unit.
async fn mark(unit: &UnitReader) -> BackupResult<String> {
    let records = Records::new(Arc::clone(&unit.records), Space::Unit);
    let mark = unit_mark::find(&records).await;
    mark.map_err(|error| chain(&error))?
        .ok_or_else(|| "the unit has no mark; start it once".to_owned())
}

/// Reads the secret in a file.
///
/// # Errors
/// A text for the operator.
pub(crate) fn read_secret(path: Option<&Path>) -> BackupResult<Option<Secret<String>>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = text.trim();
    if text.chars().count() < SECRET_MIN_CHARS {
        return Err(format!(
            "{} must have at least {SECRET_MIN_CHARS} characters; make it by: openssl rand -base64 32",
            path.display()
        ));
    }
    Ok(Some(Secret::new(text.to_owned())))
}

/// Makes a generation. Returns the text that is shown at its end, and whether all of the unit is in it.
///
/// # Errors
/// A text for the operator. The former generations are as before.
pub async fn run(config: &Config, options: &BackupOptions) -> BackupResult<(String, bool)> {
    let secret = read_secret(options.key_file.as_deref())?;
    let unit = Box::pin(UnitReader::open(config)).await?;
    let traces = CommandTraces::start(&config.traces);
    let backing_up = Box::pin(back_up(config, &unit, options, secret.as_ref()));
    let done = traces.run("backup.generation", backing_up).await;
    unit.close().await;
    traces.finish().await;
    done
}

async fn back_up(
    config: &Config,
    unit: &UnitReader,
    options: &BackupOptions,
    secret: Option<&Secret<String>>,
) -> BackupResult<(String, bool)> {
    options.to.expect_outside_of(config)?;
    let (mark, stores) = (mark(unit).await?, stores(unit).await?);
    // The back-ups of single cells have no keys.
    if !options.without_keys && options.scope.is_unit() {
        let records = Records::new(Arc::clone(&unit.records), Space::Unit);
        unit_secret::check(config, &records).await?;
        KeySet::read(config)?;
    }
    // A place belongs to one part for good, so not to one whose name was mistyped.
    if !options.scope.is_unit()
        && !BackupStore::is_claimed(&options.to).await?
        && cells(unit, &options.scope).await?.is_empty()
    {
        return Err(format!("the unit does not have {}", options.scope));
    }
    let store = BackupStore::create(&options.to, (&mark, &options.scope), secret).await?;
    let done = Box::pin(make_generation(config, (unit, &store), options, stores)).await;
    store.close().await;
    done
}

/// Makes a generation of these stores of the unit in the store of back-ups.
async fn make_generation(
    config: &Config,
    (unit, store): (&UnitReader, &BackupStore),
    options: &BackupOptions,
    stores: Option<String>,
) -> BackupResult<(String, bool)> {
    let progress = Progress::new("backup", system::clock());
    let erased = Box::pin(erasures::follow(unit, store)).await;
    let (generations, wrong) = store.generations().await?;
    for text in wrong {
        progress.note(&text);
    }
    let former = former(store, &generations, &progress).await;
    let former = former.filter(|former| former.stores == stores && !options.full);
    // Before anything is read, so that what changes meanwhile is looked at the next time.
    let changes = unit.changed_spaces(former.as_ref().and_then(|former| former.changes));
    let (time, changed) = changes.await?.unzip();
    let (passes, wrong) = store.passes().await?;
    for text in wrong {
        progress.note(&text);
    }
    let latest = journal_writer::latest_name(&generations, &passes);
    let name = new_name(system::clock().now_ms(), latest);
    let mut writer = GenerationWriter {
        unit,
        store,
        former: former.as_ref(),
        begun: store.begin_list(&name).await?,
        interrupted: store.interrupted_cells(&name).await?,
        stamps: FileStamps::of(config),
        changed: changed
            .flatten()
            .map(|changed| changed.into_iter().collect()),
        progress: &progress,
        new: NewContentSum::default(),
    };
    let (cells, unit_space) = Box::pin(writer.write()).await?;
    let (new, begun, stamps) = (writer.new.into_inner(), writer.begun, writer.stamps);
    let keys = match options.without_keys {
        true => None,
        // Whoever gets the cells of an owner gets no keys of the unit.
        false if !store.scope.is_unit() => None,
        false => Some(store_keys(store, config).await?),
    };
    let manifest = Manifest {
        generation: name.clone(),
        unit: store.unit.clone(),
        stores,
        cells,
        unit_space,
        keys,
        changes: time,
        lists: Vec::new(),
    };
    let id = manifest.store(&*store.files, former.as_ref()).await;
    let id = id.map_err(|error| format!("{}: {}", store.place, chain(&error)))?;
    let mut summary = summary(&manifest, &new);
    if let Value::Object(members) = &mut summary {
        members.insert("stores".to_owned(), json!(manifest.stores));
        // Each cell was read before.
        members.insert("ended".to_owned(), json!(system::clock().now_ms()));
    }
    store.complete(&name, &id, &summary).await?;
    store.confirm_completion(&name).await?;
    store.end_lists(&begun).await?;
    let removed = Box::pin(retention::clean(store, options.keep, &name)).await;
    progress.end();
    let mut text = format!("Generation {name}: {}\n", describe(&summary));
    let are_erased_gone = erased.is_ok();
    text.push_str(&erased.unwrap_or_else(|error| {
        format!("cells that were removed for good are still in former generations: {error}\n")
    }));
    for (cell, problem) in manifest.problems() {
        text.push_str(&format!("cell {cell} is not complete: {problem}\n"));
    }
    match removed {
        Ok(0) => {}
        Ok(number) => text.push_str(&format!("{number} former generations were removed.\n")),
        Err(error) => {
            text.push_str(&format!(
                "former generations could not be removed: {error}\n"
            ));
            return Ok((text, false));
        }
    }
    let mut is_complete = are_erased_gone && manifest.problems().next().is_none();
    if store.scope.is_unit() {
        let stores = manifest.stores.clone();
        let writer = JournalWriter::new(unit, store, &stamps);
        match Box::pin(writer.write(stores, None)).await {
            Ok(outcome) => {
                note_copied(config, &outcome);
                text.push_str(&outcome.text);
            }
            Err(PassError::NoJournal) => {}
            Err(PassError::Failed(error)) => {
                text.push_str(&format!("the journal could not be copied: {error}\n"));
                is_complete = false;
            }
        }
    }
    Ok((text, is_complete))
}

/// Copies what the journals of the unit have since the last pass. Returns the text that is shown at the end, and whether nothing is missing.
///
/// # Errors
/// A text for the operator, also if the unit keeps no journal. What was copied before is as it was.
pub async fn copy_journal(
    config: &Config,
    place: &BackupPlace,
    key_file: Option<&Path>,
) -> BackupResult<(String, bool)> {
    let secret = read_secret(key_file)?;
    let unit = Box::pin(UnitReader::open(config)).await?;
    let stamps = FileStamps::of(config);
    let of = (config, &unit, &stamps);
    let traces = CommandTraces::start(&config.traces);
    let copying = Box::pin(pass(of, place, secret.as_ref(), None));
    let done = traces.run("backup.journal", copying).await;
    unit.close().await;
    traces.finish().await;
    done.map(|outcome| (outcome.text, outcome.is_whole))
}

/// Copies what the journals of the unit have again and again, while it runs, until `end` is ready and the pass in hand has ended. What is said
/// about each pass is given to `say`.
///
/// # Errors
/// A text for the operator if the key cannot be read. A pass that fails is repeated.
pub async fn follow_journal(
    config: &Config,
    (place, key_file): (&BackupPlace, Option<&Path>),
    interval: Duration,
    (say, end): (impl Fn(&str), impl Future<Output = ()>),
) -> BackupResult {
    let secret = read_secret(key_file)?;
    let stamps = FileStamps::of(config);
    let mut known = None;
    let mut end = pin!(end.fuse());
    let traces = CommandTraces::start(&config.traces);
    loop {
        let done = async {
            let unit = Box::pin(UnitReader::open_running(config)).await?;
            let (of, secret) = ((config, &unit, &stamps), secret.as_ref());
            let copying = Box::pin(pass(of, place, secret, known.take()));
            let done = traces.run("backup.journal", copying).await;
            unit.close().await;
            done
        };
        match Box::pin(done).await {
            Ok(outcome) => {
                say(&outcome.text);
                known = Some(outcome.reach);
            }
            Err(error) => say(&format!("{error}\n")),
        }
        if tokio::time::timeout(interval, &mut end).await.is_ok() {
            traces.finish().await;
            return Ok(());
        }
    }
}

async fn pass(
    (config, unit, stamps): (&Config, &UnitReader, &FileStamps),
    place: &BackupPlace,
    secret: Option<&Secret<String>>,
    known: Option<JournalReach>,
) -> BackupResult<PassOutcome> {
    let (mark, stores) = (mark(unit).await?, stores(unit).await?);
    let store = BackupStore::open_to_change(place, &mark, secret).await?;
    let writer = JournalWriter::new(unit, &store, stamps);
    let done = match store.scope.is_unit() {
        true => Box::pin(writer.write(stores, known)).await,
        false => Err(PassError::Failed(format!(
            "{place} has back-ups of {}: journals are copied beside those of the whole unit only",
            store.scope
        ))),
    };
    store.close().await;
    if let Ok(outcome) = &done {
        note_copied(config, outcome);
    }
    done.map_err(|error| match error {
        PassError::Failed(text) => text,
        PassError::NoJournal => {
            "the unit keeps no journal; set store.journalInHours and start it again".to_owned()
        }
    })
}

/// Lets the unit show until when its journals were copied, if there is no gap. That it cannot be noted does not make the copy less whole.
fn note_copied(config: &Config, outcome: &PassOutcome) {
    if !outcome.is_whole {
        return;
    }
    let noted = journal_age::note(&config.store.data_dir, outcome.reach.until_ms);
    if let Err(error) = noted {
        tracing::warn!(error = %chain(&error), "the time of the copy of the journals cannot be noted in the data folder");
    }
}

/// The name of the stores of the unit: numbers of commits of others say nothing.
async fn stores(unit: &UnitReader) -> BackupResult<Option<String>> {
    let records = Records::new(Arc::clone(&unit.records), Space::Unit);
    let stores = records.find_bytes(&keys::store_id()).await;
    let stores = stores.map_err(|error| chain(&error))?;
    let stores = stores.map(|id| String::from_utf8_lossy(&id).into_owned());
    Ok(match unit.history().await {
        None => stores,
        Some(history) => Some(format!("{} timeline {history}", stores.unwrap_or_default())),
    })
}

/// The list of the last generation that can be read.
async fn former(
    store: &BackupStore,
    generations: &[Generation],
    progress: &Progress,
) -> Option<Manifest> {
    for generation in generations.iter().rev() {
        match store.manifest(generation).await {
            Ok(manifest) => return Some(manifest),
            Err(error) => progress.note(&error),
        }
    }
    None
}

/// The name of a generation: the time, or what follows the last name if that is not earlier.
fn new_name(now_ms: i64, last: Option<&str>) -> String {
    let name: String = iso_time(now_ms)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    match last {
        Some(last) if *last >= *name => name_after(last),
        _ => name,
    }
}

/// The name that follows another one: with a number, so that many are not long.
fn name_after(last: &str) -> String {
    let numbered = last.rsplit_once('+');
    let numbered = numbered.filter(|(_, number)| number.len() == NAME_DIGITS);
    let numbered = numbered.and_then(|(of, number)| Some((of, number.parse::<u32>().ok()?)));
    let (of, number) = numbered.unwrap_or((last, 0));
    format!("{of}+{:0NAME_DIGITS$}", number.saturating_add(1))
}

async fn store_keys(store: &BackupStore, config: &Config) -> BackupResult<BlobId> {
    let keys = KeySet::read(config)?.to_json().to_string();
    let stored = async {
        let mut body = store.files.create(&Space::Unit).await?;
        body.write(keys.into()).await?;
        body.finish().await
    };
    let stored: personium_store::Result<BlobId> = stored.await;
    stored.map_err(|error| format!("{}: {}", store.place, chain(&error)))
}

fn summary(manifest: &Manifest, new: &NewContent) -> Value {
    let all = || manifest.spaces().map(|(_, entry)| entry);
    let sum = |of: fn(&manifest::SpaceEntry) -> u64| all().map(of).sum::<u64>();
    json!({
        "cells": manifest.cells.len(),
        "records": sum(|entry| entry.sum.records),
        "bodies": sum(|entry| entry.bodies),
        "bodyBytes": sum(|entry| entry.body_bytes),
        "newCells": new.cells,
        "newBodies": new.bodies,
        "newBodyBytes": new.body_bytes,
        "keys": manifest.keys.is_some(),
        "incompleteCells": manifest.problems().count(),
    })
}

/// The content of a generation, for people.
pub(crate) fn describe(summary: &Value) -> String {
    let number = |name: &str| member(summary, name).as_u64().unwrap_or(0);
    let keys = match member(summary, "keys") == true {
        true => "with the keys of the unit",
        false => "without the keys of the unit",
    };
    let mut text = format!(
        "{} cells ({} new or changed), {} records, {} file bodies of {} bytes ({} new, {} bytes), {keys}",
        number("cells"),
        number("newCells"),
        number("records"),
        number("bodies"),
        number("bodyBytes"),
        number("newBodies"),
        number("newBodyBytes"),
    );
    match number("incompleteCells") {
        0 => {}
        cells => text.push_str(&format!(", {cells} cells not complete")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_generations_ascend_also_if_the_clock_goes_back() {
        let first = new_name(1_700_000_000_123, None);
        assert_eq!(first, "20231114T221320123Z");
        let second = new_name(1_700_000_000_123, Some(&first));
        let third = new_name(1_600_000_000_000, Some(&second));
        let fourth = new_name(1_800_000_000_000, Some(&third));
        assert!([&first, &second, &third, &fourth].is_sorted());
        let mut last = format!("{third}+");
        for _ in 0..1_000 {
            let next = new_name(1_600_000_000_000, Some(&last));
            assert!(next > last && next.len() < 60, "{next}");
            last = next;
        }
    }
}
