//! `personium restore`: a unit from a generation of its back-ups.
//!
//! The generation is read as the stores of a unit are, and copied as `personium copy` does: compared at the end, not a unit before that,
//! and continued when the command is repeated.

mod generation_records;
pub mod one_cell;

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_model::keys;
use personium_model::node::Node;
use personium_model::records::decode;
use personium_model::verification::VerifiedStores;
use personium_store::{BlobStore, Key, Space};
use personium_token::at_rest::sealed_len;
use personium_types::BlobId;
use personium_types::error::chain;

use self::generation_records::GenerationRecords;
use crate::backup::manifest::{Manifest, SpaceEntry};
use crate::backup::place::BackupPlace;
use crate::backup::record_file::RecordFileReader;
use crate::backup::store::BackupStore;
use crate::backup::{BackupResult, Generation, describe, read_secret};
use crate::config::Config;
use crate::copy::bodies::read_whole;
use crate::copy::key_copy::KeySet;
use crate::copy::{self, Source};
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
    /// The file with the secret that the back-ups are encrypted with.
    pub key_file: Option<PathBuf>,
}

/// An opened generation, all of whose checksums were compared.
struct OpenGeneration {
    store: BackupStore,
    manifest: Arc<Manifest>,
}

/// Returns the generations, for people.
///
/// # Errors
/// A text for the operator.
pub async fn list(options: &RestoreOptions) -> BackupResult<String> {
    let secret = read_secret(options.key_file.as_deref())?;
    let store = BackupStore::open(&options.from, secret.as_ref()).await?;
    let (generations, wrong) = store.generations().await?;
    let mut text = String::new();
    for Generation { name, summary, .. } in &generations {
        text.push_str(&format!("{name}: {}\n", describe(summary)));
    }
    for problem in wrong {
        text.push_str(&format!("{problem}\n"));
    }
    if generations.is_empty() {
        text.push_str("There is no complete generation.\n");
    }
    Ok(text)
}

/// Compares all checksums of a generation. Returns the text that is shown at the end.
///
/// # Errors
/// A text for the operator, which names what is damaged.
pub async fn check(options: &RestoreOptions) -> BackupResult<String> {
    let progress = Progress::new("restore", system::clock());
    let opened = Box::pin(open(options, &progress)).await?;
    progress.end();
    let manifest = &opened.manifest;
    Ok(format!(
        "The generation {} is whole: {} cells. Nothing was restored.\n",
        manifest.generation,
        manifest.cells.len()
    ))
}

/// Restores a generation into stores without a unit. Returns the text that is shown at the end.
///
/// # Errors
/// A text for the operator. Until the restore is repeated and complete, no unit starts there.
pub async fn run(options: &RestoreOptions, to: &Config) -> BackupResult<String> {
    let progress = Progress::new("restore", system::clock());
    let opened = Box::pin(open(options, &progress)).await?;
    let text = Box::pin(restore(&opened, to, &progress)).await?;
    Ok(text + "The unit is restored.\n")
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
    let opened = Box::pin(open(options, &progress)).await?;
    let restored = Box::pin(restore(&opened, &config, &progress)).await?;
    drop(opened);
    let unit = Box::pin(UnitReader::open(&config)).await?;
    let stores = VerifiedStores {
        records: Arc::clone(&unit.records),
        bodies: Arc::clone(&unit.bodies),
    };
    let lines = parking_lot::Mutex::new(restored);
    let report = VerifyReport::new(false, |line: &str| {
        lines.lock().push_str(line);
        Ok(())
    });
    let verified = Box::pin(verify::verify(&stores, None, report)).await;
    unit.close().await;
    let is_whole = verified? == VerifyOutcome::Whole;
    Ok((lines.into_inner(), is_whole))
}

async fn restore(
    OpenGeneration { store, manifest }: &OpenGeneration,
    to: &Config,
    progress: &Progress,
) -> BackupResult<String> {
    let keys = read_keys(store, manifest).await?;
    let incomplete = manifest.cells.iter();
    let incomplete = incomplete.filter(|(_, entry)| entry.problem.is_some());
    let incomplete = incomplete.map(|(id, _)| *id);
    let records = GenerationRecords::new(Arc::clone(&store.files), Arc::clone(manifest));
    let source = Source::of_generation(
        Arc::new(records),
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
    let mut text = format!("Generation {}. {text}", manifest.generation);
    for (cell, problem) in manifest.problems() {
        text.push_str(&format!("cell {cell} is not complete: {problem}\n"));
    }
    Ok(text)
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

/// Opens a generation and compares all its checksums.
async fn open(options: &RestoreOptions, progress: &Progress) -> BackupResult<OpenGeneration> {
    let opened = open_unchecked(options, progress).await?;
    let manifest = Arc::clone(&opened.manifest);
    check_spaces(&opened, manifest.spaces(), progress).await?;
    read_keys(&opened.store, &manifest).await?;
    Ok(opened)
}

/// Compares the checksums of some spaces of a generation.
async fn check_spaces(
    OpenGeneration { store, manifest }: &OpenGeneration,
    spaces: impl Iterator<Item = (Space, &SpaceEntry)>,
    progress: &Progress,
) -> BackupResult {
    let spaces: Vec<_> = spaces.collect();
    progress.start("checked", spaces.len());
    let mut damaged = Vec::new();
    for (space, entry) in spaces {
        if let Err(problem) = Box::pin(check_space(&*store.files, &space, entry)).await {
            let name = copy::name(&space);
            progress.note(&format!("{name} ({}): {problem}", entry.name));
            damaged.push(format!("{name} ({}): {problem}", entry.name));
        }
        progress.end_space();
    }
    match damaged.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "the generation {} is damaged in {} of its cells: {first}",
            manifest.generation,
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
    let wanted = match &options.generation {
        None => generations.last(),
        Some(name) => generations
            .iter()
            .find(|generation| generation.name == *name),
    };
    let wanted =
        wanted.ok_or("there is no such generation; `personium restore --list` lists them")?;
    let manifest = store.manifest(wanted).await?;
    if manifest.generation != wanted.name || manifest.unit != store.unit {
        return Err(format!(
            "the list of the generation {} is another one's",
            wanted.name
        ));
    }
    Ok(OpenGeneration {
        store,
        manifest: Arc::new(manifest),
    })
}

/// Compares the checksums of a space in a generation.
async fn check_space(files: &dyn BlobStore, space: &Space, entry: &SpaceEntry) -> BackupResult {
    let failed = |error: personium_store::StoreError| chain(&error);
    let body = files.open(space, &entry.records).await.map_err(failed)?;
    let mut records = RecordFileReader::new(body.ok_or("the file of its records is missing")?);
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
            Some(problem) => return Err(format!("file body {id}: {problem}")),
            None => {}
        }
    }
    match records.sum() == entry.sum {
        true => Ok(()),
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
