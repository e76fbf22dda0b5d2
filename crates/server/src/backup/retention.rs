//! Removes generations, and what only they or interrupted back-ups have.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use personium_store::Space;
use personium_types::error::chain;
use personium_types::{BlobId, CellId};

use super::generation_writer::references;
use super::store::BackupStore;
use super::{BackupResult, Generation};

/// The number of bodies that are listed at once.
const IDS_AT_ONCE: usize = 1_000;

/// The number of removals at the same time, of cells and of bodies of each.
const REQUESTS_AT_ONCE: usize = 8;

/// Removes all generations but the last `keep`, and what interrupted back-ups and removals have left. Returns how many
/// generations were removed.
///
/// # Errors
/// A text for the operator. The removal goes on when it is repeated.
pub(super) async fn clean(
    store: &BackupStore,
    keep: Option<usize>,
    current: &str,
) -> BackupResult<usize> {
    let (complete, _) = store.generations().await?;
    let surplus = keep.map_or(0, |keep| complete.len().saturating_sub(keep.max(1)));
    for generation in complete.iter().take(surplus) {
        store.begin_removal(&generation.name).await?;
    }
    let (kept, wrong) = store.generations().await?;
    let removed = store.removed().await?;
    let journals = store.journals(current).await?;
    if removed.is_empty() && journals.is_empty() {
        return Ok(0);
    }
    if !wrong.is_empty() {
        // It may need what would be removed.
        return Err(format!("nothing is removed, since {}", wrong.join(", ")));
    }
    let mut cells = BTreeSet::new();
    for (_, text) in &journals {
        cells.extend(text.lines().filter_map(|line| line.parse::<CellId>().ok()));
    }
    add_changed_cells(store, &removed, &kept, &mut cells).await?;
    let (kept_files, kept_of_unit) = kept_files(store, &kept, &cells).await?;
    let sweeps = cells.iter().map(|cell| {
        let files = kept_files.get(cell).cloned().unwrap_or_default();
        async move { sweep_cell(store, cell, &files).await }
    });
    let mut sweeps = stream::iter(sweeps).buffer_unordered(REQUESTS_AT_ONCE);
    while sweeps.try_next().await?.is_some() {}
    drop(sweeps);
    remove_others(store, &Space::Unit, &kept_of_unit).await?;
    for generation in &removed {
        store.end_removal(&generation.name).await?;
    }
    for (name, _) in &journals {
        store.end_list(name).await?;
    }
    Ok(removed.len())
}

/// Adds the cells of removed generations that are not the same in the oldest one that is kept.
async fn add_changed_cells(
    store: &BackupStore,
    removed: &[Generation],
    kept: &[Generation],
    cells: &mut BTreeSet<CellId>,
) -> BackupResult {
    let oldest = match kept.first() {
        Some(oldest) => Some(store.manifest(oldest).await?),
        None => None,
    };
    for generation in removed {
        // What only a list that cannot be read has led to stays.
        let Ok(manifest) = store.manifest(generation).await else {
            continue;
        };
        for (id, entry) in &manifest.cells {
            let same = oldest.as_ref().and_then(|oldest| oldest.cells.get(id));
            if same.is_none_or(|same| same.records != entry.records) {
                cells.insert(*id);
            }
        }
    }
    Ok(())
}

/// Returns the files of records of these cells in the generations that are kept, and the bodies of the unit.
async fn kept_files(
    store: &BackupStore,
    kept: &[Generation],
    cells: &BTreeSet<CellId>,
) -> BackupResult<(BTreeMap<CellId, BTreeSet<BlobId>>, HashSet<BlobId>)> {
    let mut files: BTreeMap<CellId, BTreeSet<BlobId>> = BTreeMap::new();
    let mut of_unit = HashSet::new();
    for generation in kept {
        let manifest = store.manifest(generation).await?;
        of_unit.insert(generation.manifest);
        of_unit.insert(manifest.unit_space.records);
        of_unit.extend(manifest.keys);
        for id in cells {
            if let Some(entry) = manifest.cells.get(id) {
                files.entry(*id).or_default().insert(entry.records);
            }
        }
    }
    Ok((files, of_unit))
}

/// Removes the bodies of a cell that these files of records do not name.
async fn sweep_cell(store: &BackupStore, cell: &CellId, files: &BTreeSet<BlobId>) -> BackupResult {
    store.check_lock()?;
    let space = Space::Cell(*cell);
    if files.is_empty() {
        let dropped = store.files.drop_space(&space).await;
        return dropped.map_err(|error| format!("cell {cell}: {}", chain(&error)));
    }
    let mut kept: HashSet<BlobId> = files.iter().copied().collect();
    for file in files {
        let named = references(store, &space, file).await;
        kept.extend(named.map_err(|error| format!("cell {cell}: {}", chain(&error)))?);
    }
    remove_others(store, &space, &kept).await
}

async fn remove_others(store: &BackupStore, space: &Space, kept: &HashSet<BlobId>) -> BackupResult {
    let failed = |error| {
        format!(
            "cannot remove what is not needed any more: {}",
            chain(&error)
        )
    };
    let mut after: Option<BlobId> = None;
    loop {
        store.check_lock()?;
        let listed = store
            .files
            .list(space, after.as_ref(), Duration::ZERO, IDS_AT_ONCE);
        let listed: Vec<BlobId> = listed.await.map_err(failed)?;
        let others = listed.iter().filter(|id| !kept.contains(id));
        let removals = others.map(|id| store.files.remove(space, id));
        let mut removals = stream::iter(removals).buffer_unordered(REQUESTS_AT_ONCE);
        while removals.try_next().await.map_err(failed)?.is_some() {}
        drop(removals);
        match listed.last() {
            Some(last) if listed.len() == IDS_AT_ONCE => after = Some(*last),
            _ => return Ok(()),
        }
    }
}
