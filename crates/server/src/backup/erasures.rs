//! The cells that were removed for good: each back-up removes them from its place, and the place keeps which erasures were followed.

use std::collections::BTreeSet;
use std::sync::Arc;

use personium_model::erased_cell::{ErasedCell, ErasedCells};
use personium_model::records::Records;
use personium_store::{Space, record_checksum};
use personium_types::CellId;
use personium_types::error::chain;

use super::forget::{FoundCells, WantedCells};
use super::scope::BackupScope;
use super::store::BackupStore;
use super::{BackupResult, cells};
use crate::command_audit::{AuditedCommand, FORGET_OPERATION};
use crate::system;
use crate::unit_reader::UnitReader;

/// The number of cells that an entry of the audit log names, so that its target is not cut.
const NAMED_MAX: usize = 20;

/// Removes the cells from all generations and journals of a place that were removed from the unit for good since the last back-up to it. Returns
/// what is said of it.
///
/// # Errors
/// A text for the operator. The next back-up tries it again.
pub(super) async fn follow(unit: &UnitReader, store: &BackupStore) -> BackupResult<String> {
    let records = Records::new(Arc::clone(&unit.records), Space::Unit);
    let all = ErasedCell::list(&records).await;
    let all = all.map_err(|error| chain(&error))?;
    if all.is_empty() {
        return Ok(String::new());
    }
    let followed = Erasures::parse(store.followed_erasures().await?.as_deref());
    let new: ErasedCells = (all.iter())
        .filter(|(id, cell)| !followed.has(id, cell))
        .cloned()
        .collect();
    if new.is_empty() {
        return Ok(String::new());
    }
    let living = cells(unit, &BackupScope::Unit).await?;
    let found = Box::pin(FoundCells::find(store, &living, WantedCells::Erased(&new))).await?;
    let mut text = String::new();
    if !found.removed.is_empty() {
        let ids: Vec<String> = found.removed.iter().map(CellId::to_string).collect();
        for ids in ids.chunks(NAMED_MAX) {
            let audited = AuditedCommand {
                operation: FORGET_OPERATION,
                target: format!(
                    "cells that were removed for good in {}: {}",
                    store.place,
                    ids.join(", ")
                ),
            };
            unit.note(&audited).await?;
        }
        let generations = Box::pin(found.remove(store, system::clock().now_ms())).await?;
        text = format!(
            "{} cells that were removed for good were removed from {generations} generations.\n",
            ids.len()
        );
    }
    let followed = Erasures::of(&all).text();
    store.put_followed_erasures(followed.into_bytes()).await?;
    Ok(text)
}

/// Erasures by cell and time: a unit that was restored as a whole can have a cell again, and remove it again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Erasures(BTreeSet<(CellId, i64)>);

impl Erasures {
    fn of(erased: &[(CellId, ErasedCell)]) -> Self {
        let of = |(id, cell): &(CellId, ErasedCell)| (*id, cell.time_ms);
        Self(erased.iter().map(of).collect())
    }

    fn has(&self, id: &CellId, cell: &ErasedCell) -> bool {
        self.0.contains(&(*id, cell.time_ms))
    }

    /// Reads the list of a place. One that is absent or damaged is empty: all erasures are followed again then.
    fn parse(text: Option<&[u8]>) -> Self {
        let read = |text: &[u8]| {
            let text = std::str::from_utf8(text).ok()?;
            let (lines, sum) = text.trim_end().rsplit_once('\n')?;
            if i64::from_str_radix(sum, 16).ok()? != sum_of(lines) {
                return None;
            }
            let line = |line: &str| {
                let (id, time) = line.split_once(' ')?;
                Some((id.parse().ok()?, time.parse().ok()?))
            };
            lines.lines().map(line).collect::<Option<_>>().map(Self)
        };
        text.and_then(read).unwrap_or_default()
    }

    /// The list of a place: a line for each, and one with the checksum.
    fn text(&self) -> String {
        let lines: Vec<String> = (self.0.iter())
            .map(|(id, time)| format!("{id} {time}"))
            .collect();
        let lines = lines.join("\n");
        let sum = sum_of(&lines);
        format!("{lines}\n{sum:x}\n")
    }
}

fn sum_of(lines: &str) -> i64 {
    record_checksum::of(b"erasures", 0, lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_erasures_is_read_as_written_and_a_damaged_one_has_none() {
        let id = CellId::from_bytes([7; 16]);
        let all = Erasures([(id, 5), (CellId::from_bytes([8; 16]), 6)].into());
        let text = all.text();
        assert_eq!(Erasures::parse(Some(text.as_bytes())), all);
        let of = |time_ms| ErasedCell {
            name: "alice".to_owned(),
            owner: None,
            time_ms,
        };
        assert!(all.has(&id, &of(5)) && !all.has(&id, &of(6)));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(Erasures::parse(Some(&bytes)), Erasures::default(), "{at}");
        }
        assert_eq!(Erasures::parse(None), Erasures::default());
    }
}
