//! The cells of the catalogue against the spaces that exist.

use std::collections::BTreeMap;

use personium_store::{Key, KeyRange, Record, Result, Space, StoreError};
use personium_types::CellId;
use personium_types::error::chain;

use super::walk::{Slot, SpaceReader};
use super::{Finding, FindingKind, FindingSink, VerifiedStores};
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet, SetKey};
use crate::records::decode;

/// The number of spaces that are listed at once.
const SPACES_AT_ONCE: usize = 1_000;

/// A cell of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// Its id.
    pub id: CellId,
    /// Its name; its id if the entry cannot be read.
    pub name: String,
}

/// Compares the catalogue with the spaces that exist. Returns the cells of the catalogue, also those whose entries are damaged.
pub async fn verify_catalogue(
    stores: &VerifiedStores,
    findings: &mut dyn FindingSink,
) -> Vec<CatalogueEntry> {
    let reader = SpaceReader {
        store: std::sync::Arc::clone(&stores.records),
        space: Space::Unit,
    };
    match compare(&reader, findings).await {
        Ok(cells) => cells,
        Err(error) => {
            let kind = match error {
                StoreError::Corrupt(_) => FindingKind::Damage,
                _ => FindingKind::Unverified,
            };
            findings.add(Finding {
                kind,
                space: Space::Unit,
                cell: None,
                resource: "the catalogue of cells".to_owned(),
                problem: chain(&error),
            });
            Vec::new()
        }
    }
}

async fn compare(
    reader: &SpaceReader,
    findings: &mut dyn FindingSink,
) -> Result<Vec<CatalogueEntry>> {
    let before = list_spaces(reader).await?;
    let set = SetKey::control(ControlSet::Cell);
    let mut rest: KeyRange = keys::entities(&set);
    let prefix = rest.start.as_bytes().len();
    let mut cells = Vec::new();
    let entry = |key: &Key, record: Option<&Record>| {
        let id: CellId = keys::last_text(key, prefix)?.parse().ok()?;
        let stored = record.and_then(|record| decode::<StoredEntity>(&record.value).ok());
        let name = stored.and_then(|stored| stored.text("Name"));
        let name = name.unwrap_or_else(|| id.to_string());
        Some(CatalogueEntry { id, name })
    };
    while let Some(page) = reader.next_page(&mut rest).await? {
        let records = page
            .records
            .iter()
            .map(|(key, record)| entry(key, Some(record)));
        cells.extend(records.flatten());
        // The damage is reported with the records of the unit.
        cells.extend(page.damaged.and_then(|(key, _)| entry(&key, None)));
    }
    let mut unknown = before;
    let mut missing = Vec::new();
    for cell in &cells {
        if unknown.remove(&Space::Cell(cell.id)).is_none() {
            missing.push(cell.clone());
        }
    }
    report_missing(reader, &missing, findings).await?;
    for space in unknown.keys() {
        report_unknown(reader, space, findings).await?;
    }
    Ok(cells)
}

async fn list_spaces(reader: &SpaceReader) -> Result<BTreeMap<Space, ()>> {
    let mut found = BTreeMap::new();
    loop {
        let last = found.last_key_value().map(|(space, ())| *space);
        let page = reader
            .store
            .list_spaces(last.as_ref(), SPACES_AT_ONCE)
            .await?;
        let is_last = page.len() < SPACES_AT_ONCE;
        found.extend(page.into_iter().map(|space| (space, ())));
        if is_last {
            found.remove(&Space::Unit);
            return Ok(found);
        }
    }
}

async fn report_missing(
    reader: &SpaceReader,
    missing: &[CatalogueEntry],
    findings: &mut dyn FindingSink,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    // Cells may have been created meanwhile, and removed.
    let now = list_spaces(reader).await?;
    let set = SetKey::control(ControlSet::Cell);
    for cell in missing {
        let key = keys::entity(&set, &cell.id.to_string());
        let is_listed = !matches!(reader.get_one(&key).await?, Slot::Absent);
        if is_listed && !now.contains_key(&Space::Cell(cell.id)) {
            findings.add(Finding {
                kind: FindingKind::Damage,
                space: Space::Cell(cell.id),
                cell: Some(cell.name.clone()),
                resource: "the records".to_owned(),
                problem: "all of them are missing; restore the cell from a backup".to_owned(),
            });
        }
    }
    Ok(())
}

async fn report_unknown(
    reader: &SpaceReader,
    space: &Space,
    findings: &mut dyn FindingSink,
) -> Result<()> {
    let Space::Cell(id) = space else {
        return Ok(());
    };
    let set = SetKey::control(ControlSet::Cell);
    // A cell that is being created or removed has a marker.
    let wanted = [keys::entity(&set, &id.to_string()), keys::removed_cell(id)];
    let slots = reader.get(&wanted).await?;
    if slots.iter().any(|slot| *slot != Slot::Absent) {
        return Ok(());
    }
    findings.add(Finding {
        kind: FindingKind::Orphan,
        space: *space,
        cell: None,
        resource: "the records".to_owned(),
        problem: "the catalogue of the unit names no such cell".to_owned(),
    });
    Ok(())
}
