//! Removes generations, and what only they or interrupted back-ups have.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use personium_store::Space;
use personium_types::error::chain;
use personium_types::{BlobId, CellId};

use super::folder::{BackupFolder, BackupResult, Generation};
use super::generation_writer::references;

/// The number of bodies that are listed at once.
const IDS_AT_ONCE: usize = 1_000;

/// Removes all generations but the last `keep`, and what interrupted back-ups and removals have left. Returns how many
/// generations were removed.
///
/// # Errors
/// A text for the operator. The removal goes on when it is repeated.
pub(super) async fn clean(
    folder: &BackupFolder,
    keep: Option<usize>,
    current: &str,
) -> BackupResult<usize> {
    let (complete, _) = folder.generations()?;
    let surplus = keep.map_or(0, |keep| complete.len().saturating_sub(keep.max(1)));
    for generation in complete.iter().take(surplus) {
        folder.begin_removal(&generation.name)?;
    }
    let (kept, wrong) = folder.generations()?;
    let removed = folder.removed()?;
    let journals = folder.journals()?;
    let journals: Vec<_> = journals
        .into_iter()
        .filter(|(name, _)| name != current)
        .collect();
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
    add_changed_cells(folder, &removed, &kept, &mut cells).await?;
    let (kept_files, kept_of_unit) = kept_files(folder, &kept, &cells).await?;
    for cell in &cells {
        let files = kept_files.get(cell).cloned().unwrap_or_default();
        sweep_cell(folder, cell, &files).await?;
    }
    remove_others(folder, &Space::Unit, &kept_of_unit).await?;
    for generation in &removed {
        folder.end_removal(&generation.name)?;
    }
    for (name, _) in &journals {
        folder.end_journal(name)?;
    }
    Ok(removed.len())
}

/// Adds the cells of removed generations that are not the same in the oldest one that is kept.
async fn add_changed_cells(
    folder: &BackupFolder,
    removed: &[Generation],
    kept: &[Generation],
    cells: &mut BTreeSet<CellId>,
) -> BackupResult {
    let oldest = match kept.first() {
        Some(oldest) => Some(folder.manifest(oldest).await?),
        None => None,
    };
    for generation in removed {
        // What only a list that cannot be read has led to stays.
        let Ok(manifest) = folder.manifest(generation).await else {
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
    folder: &BackupFolder,
    kept: &[Generation],
    cells: &BTreeSet<CellId>,
) -> BackupResult<(BTreeMap<CellId, BTreeSet<BlobId>>, HashSet<BlobId>)> {
    let mut files: BTreeMap<CellId, BTreeSet<BlobId>> = BTreeMap::new();
    let mut of_unit = HashSet::new();
    for generation in kept {
        let manifest = folder.manifest(generation).await?;
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
async fn sweep_cell(
    folder: &BackupFolder,
    cell: &CellId,
    files: &BTreeSet<BlobId>,
) -> BackupResult {
    let space = Space::Cell(*cell);
    if files.is_empty() {
        let dropped = folder.files.drop_space(&space).await;
        return dropped.map_err(|error| format!("cell {cell}: {}", chain(&error)));
    }
    let mut kept: HashSet<BlobId> = files.iter().copied().collect();
    for file in files {
        let named = references(folder, &space, file).await;
        kept.extend(named.map_err(|error| format!("cell {cell}: {}", chain(&error)))?);
    }
    remove_others(folder, &space, &kept).await
}

async fn remove_others(
    folder: &BackupFolder,
    space: &Space,
    kept: &HashSet<BlobId>,
) -> BackupResult {
    let failed = |error| {
        format!(
            "cannot remove what is not needed any more: {}",
            chain(&error)
        )
    };
    let mut after: Option<BlobId> = None;
    loop {
        let listed = folder
            .files
            .list(space, after.as_ref(), Duration::ZERO, IDS_AT_ONCE);
        let listed: Vec<BlobId> = listed.await.map_err(failed)?;
        for id in listed.iter().filter(|id| !kept.contains(id)) {
            folder.files.remove(space, id).await.map_err(failed)?;
        }
        match listed.last() {
            Some(last) if listed.len() == IDS_AT_ONCE => after = Some(*last),
            _ => return Ok(()),
        }
    }
}
