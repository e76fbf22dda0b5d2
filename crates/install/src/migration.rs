//! Takes over the cells of a unit of the original, one after the other, each all at once.
//!
//! A cell is filled by the functions that requests use ([`CellFilling`]) and then put into the catalogue. What is refused is left out
//! and noted. A cell that has changed since it was taken over is taken over anew, in place of what was; so an interrupted migration,
//! and one after the first pass, go on where they were.

mod extras;
mod verification;

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::cell::Cell;
use personium_model::entity;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::migrated_cell;
use personium_model::new_cell::NewCell;
use personium_model::odata::EntityHistory;
use personium_model::{ServerAuthority, Unit};
use personium_types::name::CellName;
use personium_types::{CellId, Code, Error, Result};

use crate::cell_filling::{CellFilling, Refusal, Refusals, valid_time};
use crate::cell_source::CellSource;
use crate::original::{CellState, CollectedCell, Documents, OriginalCell, OriginalFiles};
use crate::snapshot_package::invalid;

pub use self::verification::ComparedCell;

/// A unit that is taken over.
pub struct Migration {
    unit: Arc<Unit>,
    authority: ServerAuthority,
    documents: Documents,
    files: OriginalFiles,
    /// The cells that this process has put into the catalogue.
    published: Mutex<HashSet<CellId>>,
}

/// The outcome for a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellOutcome {
    /// Its name.
    pub name: String,
    /// Whether it has not changed since it was taken over.
    pub is_unchanged: bool,
    /// The objects that were left out, of which 1,000 are kept: the kind or the path, the id there, and the reason.
    pub refused: Vec<(String, String, String)>,
    /// The number of all that was left out.
    pub refusals: u64,
}

impl Migration {
    /// The migration of collected documents and a file tree into a unit that does not run.
    #[must_use]
    pub fn new(
        (unit, authority): (Arc<Unit>, ServerAuthority),
        documents: Documents,
        files: OriginalFiles,
    ) -> Self {
        Self {
            unit,
            authority,
            documents,
            files,
            published: Mutex::default(),
        }
    }

    /// Takes over a cell, unless it has not changed since it was.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if nothing of it can be taken over, [`Code::EntityExists`] if another cell has its name; a failure of
    /// the store.
    pub async fn migrate(&self, collected: CollectedCell) -> Result<CellOutcome> {
        let id = collected.id.clone();
        let cell = entry(&collected)?;
        let source = OriginalCell::find(&self.documents, &self.files, collected).await?;
        let fingerprint = source.fingerprint().await?;
        let known = self.documents.state(&id).await?;
        let here = match &known {
            Some(state) if self.exists(&state.cell).await? => Some(state.cell),
            _ => self.unnoted(&cell.name).await?,
        };
        if let (Some(state), Some(here)) = (&known, here)
            && state.cell == here
            && state.fingerprint == fingerprint
        {
            return Ok(outcome(cell.name, true, state));
        }
        let (taken_over, filled) = Box::pin(self.fill(source, &cell, here)).await?;
        let state = CellState {
            cell: taken_over,
            fingerprint,
            refused: filled.0.into_iter().map(Refusal::into_parts).collect(),
            refusals: filled.1,
        };
        if let Some(old) = known {
            self.documents.remove_state(&id, &old.cell).await?;
        }
        self.documents.set_state(&id, &state).await?;
        Ok(outcome(cell.name, false, &state))
    }

    /// Fills a new cell and puts it into the catalogue. Returns its id, and what was left out.
    async fn fill(
        &self,
        source: OriginalCell,
        cell: &Cell,
        here: Option<CellId>,
    ) -> Result<(CellId, (Vec<Refusal>, u64))> {
        let history = EntityHistory {
            published: cell.published,
            updated: valid_time(source.cell.document.source.updated),
            version: source.cell.document.version.unwrap_or(1),
        };
        let has_files = source.folders.dav.is_some();
        let new = NewCell::begin(&self.unit, cell.clone(), None).await?;
        let source = CellSource::Original(source);
        let filled = async {
            let refusals = Refusals::noted();
            if !has_files {
                refusals.note("files", "", "the file tree has no folder of the cell");
            }
            let filling = CellFilling::new((&new, &self.authority), &source, None, refusals);
            let filled = Box::pin(filling.fill()).await?;
            let refusals = Refusals::noted();
            if let CellSource::Original(source) = &source {
                Box::pin(extras::copy(&new, source, &filled, &refusals)).await?;
            }
            self.published.lock().insert(new.cell().id);
            migrated_cell::publish(&new, history, here).await?;
            let (mut refused, mut count) = refusals.into_noted();
            count += filled.refusals;
            refused.splice(..0, filled.refused);
            Ok((refused, count))
        };
        let filled: Result<_> = filled.await;
        match filled {
            Ok(refused) => Ok((new.cell().id, refused)),
            Err(error) => {
                new.abandon().await;
                Err(error)
            }
        }
    }

    async fn exists(&self, cell: &CellId) -> Result<bool> {
        let set = SetKey::control(ControlSet::Cell);
        let found = entity::find(&self.unit.records(), &set, &cell.to_string()).await?;
        Ok(found.is_some())
    }

    /// The cell with this name, if an interrupted migration has put it into the catalogue and not noted it yet.
    async fn unnoted(&self, name: &str) -> Result<Option<CellId>> {
        let set = SetKey::control(ControlSet::Cell);
        let key = keys::unique(&set, 0, &[Some(name)]);
        let found = entity::find_id(&self.unit.records(), &key).await?;
        let Some(cell) = found.and_then(|id| id.parse().ok()) else {
            return Ok(None);
        };
        let is_own = self.published.lock().contains(&cell);
        match self.documents.origin(&cell).await? {
            None if !is_own => Ok(Some(cell)),
            _ => Ok(None),
        }
    }

    /// Removes the cells that were taken over and that are not among the collected documents any more. Returns their number.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn remove_others(&self) -> Result<u64> {
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let states = self.documents.list_states(after.as_deref()).await?;
            let Some((last, _)) = states.last() else {
                return Ok(removed);
            };
            after = Some(last.clone());
            for (id, state) in states {
                if !self.documents.has_cell(&id).await? {
                    migrated_cell::remove(&self.unit, state.cell).await?;
                    self.documents.remove_state(&id, &state.cell).await?;
                    removed += 1;
                }
            }
        }
    }
}

fn outcome(name: String, is_unchanged: bool, state: &CellState) -> CellOutcome {
    CellOutcome {
        name,
        is_unchanged,
        refused: state.refused.clone(),
        refusals: state.refusals,
    }
}

/// The entry of a cell in the catalogue.
fn entry(collected: &CollectedCell) -> Result<Cell> {
    const PLACE: &str = "Cell";
    let source = &collected.document.source;
    let text = |members: &Option<serde_json::Map<String, serde_json::Value>>, name: &str| {
        let value = members.as_ref()?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    let name = text(&source.properties, "Name").unwrap_or_default();
    let name: CellName = name
        .parse()
        .map_err(|_| invalid(PLACE, format!("{name:?} is no name of a cell")))?;
    Ok(Cell {
        // The new cell gets one of its own.
        id: CellId::from_bytes([0; 16]),
        name: name.as_str().to_owned(),
        owner: text(&source.hidden, personium_model::cell::OWNER),
        published: valid_time(source.published),
        import_failed: false,
    })
}

/// Whether a failure is about the cell alone, so that others can be taken over.
#[must_use]
pub fn is_of_cell(error: &Error) -> bool {
    !error.code().is_server_error() || error.code() == Code::Conflict
}
