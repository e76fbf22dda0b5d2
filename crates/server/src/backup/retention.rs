//! Removes generations, and what only they or interrupted back-ups have.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use personium_store::Space;
use personium_types::error::chain;
use personium_types::{BlobId, CellId};

use super::generation_writer::{references, references_of_segment};
use super::journal_pass::{JournalPass, Segment};
use super::store::BackupStore;
use super::{BackupResult, Generation};

/// The number of bodies that are listed at once.
const IDS_AT_ONCE: usize = 1_000;

/// The number of removals at the same time, of cells and of bodies of each.
const REQUESTS_AT_ONCE: usize = 8;

/// The files of a cell that lead to what is kept.
#[derive(Debug, Clone, Default)]
struct KeptFiles {
    records: BTreeSet<BlobId>,
    segments: BTreeSet<BlobId>,
}

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
    let begun_lists = store.begun_lists(current).await?;
    let (passes, wrong_passes) = store.passes().await?;
    // Nothing goes on from before the oldest generation.
    let oldest = kept.first().map(|oldest| oldest.name.as_str());
    let is_needed = |pass: &JournalPass| oldest.is_none_or(|oldest| *pass.name > *oldest);
    let (passes, surplus): (Vec<_>, Vec<_>) = passes.into_iter().partition(is_needed);
    if removed.is_empty() && begun_lists.is_empty() && surplus.is_empty() {
        return Ok(0);
    }
    let wrong = [wrong, wrong_passes].concat();
    if !wrong.is_empty() {
        // It may need what would be removed.
        return Err(format!("nothing is removed, since {}", wrong.join(", ")));
    }
    let mut cells = BTreeSet::new();
    for (_, text) in &begun_lists {
        cells.extend(text.lines().filter_map(|line| line.parse::<CellId>().ok()));
    }
    add_changed_cells(store, &removed, &kept, &mut cells).await?;
    for pass in &surplus {
        // What only a list that cannot be read has led to stays.
        if let Ok(list) = store.pass_list(pass).await {
            cells.extend(list.segments.iter().filter_map(Segment::cell));
        }
    }
    let (mut kept_files, mut kept_of_unit) = kept_files(store, &kept, &cells).await?;
    for pass in &passes {
        kept_of_unit.insert(pass.list);
        for segment in store.pass_list(pass).await?.segments {
            match segment.cell() {
                None => drop(kept_of_unit.insert(segment.file)),
                Some(id) if cells.contains(&id) => {
                    let files = kept_files.entry(id).or_default();
                    files.segments.insert(segment.file);
                }
                Some(_) => {}
            }
        }
    }
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
    for pass in &surplus {
        store.remove_pass(&pass.name).await?;
    }
    for (name, _) in &begun_lists {
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
) -> BackupResult<(BTreeMap<CellId, KeptFiles>, HashSet<BlobId>)> {
    let mut files: BTreeMap<CellId, KeptFiles> = BTreeMap::new();
    let mut of_unit = HashSet::new();
    for generation in kept {
        let manifest = store.manifest(generation).await?;
        of_unit.extend(manifest.lists.iter().copied());
        of_unit.extend(manifest.unit_space.files());
        of_unit.extend(manifest.keys);
        for id in cells {
            if let Some(entry) = manifest.cells.get(id) {
                files.entry(*id).or_default().records.insert(entry.records);
            }
        }
    }
    Ok((files, of_unit))
}

/// Removes the bodies of a cell that these files of records do not name.
async fn sweep_cell(store: &BackupStore, cell: &CellId, files: &KeptFiles) -> BackupResult {
    store.check_lock()?;
    let space = Space::Cell(*cell);
    if files.records.is_empty() && files.segments.is_empty() {
        let dropped = store.files.drop_space(&space).await;
        return dropped.map_err(|error| format!("cell {cell}: {}", chain(&error)));
    }
    let failed = |error| format!("cell {cell}: {}", chain(&error));
    let mut kept: HashSet<BlobId> = files.records.union(&files.segments).copied().collect();
    for file in &files.records {
        kept.extend(references(store, &space, file).await.map_err(failed)?);
    }
    for file in &files.segments {
        let named = references_of_segment(store, &space, file).await;
        kept.extend(named.map_err(failed)?);
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
