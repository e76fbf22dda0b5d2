//! Cells that are taken over from another unit: their entries in the catalogue.

use std::sync::Arc;

use personium_odata::value::Properties;
use personium_store::{Batch, Expect, StoreError};
use personium_types::{CellId, Code, Result};

use crate::cell::OWNER;
use crate::cell_deletion::CellDeletion;
use crate::commit::Invalidation;
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::new_cell::NewCell;
use crate::odata::EntityHistory;
use crate::records::{self, Versioned, store_error};
use crate::{Cell, PostCommit, Unit, garbage_collection, timer_index, usage};

/// The number of times that the removal of a cell is begun.
const MAX_ATTEMPTS: usize = 5;

/// Puts a filled cell into the catalogue, in place of what was taken over of it before. `replaced` is the id of that.
///
/// # Errors
/// [`Code::EntityExists`] if another cell has its name; [`Code::Conflict`] if others change the catalogue or the cell; a failure of the
/// store.
pub async fn publish(
    new: &NewCell,
    history: EntityHistory,
    replaced: Option<CellId>,
) -> Result<()> {
    let unit = new.unit();
    let cell = new.cell();
    timer_index::announce_all(unit, &new.records(), &cell.id).await?;
    let set = SetKey::control(ControlSet::Cell);
    let name_key = keys::unique(&set, 0, &[Some(&cell.name)]);
    let mut batch = Batch::new();
    let mut post_commit =
        PostCommit::invalidating(cell, Invalidation::Cell).invalidate_cell_name(&cell.name);
    let removal = match replaced {
        Some(old) => Removal::begin(unit, old).await?,
        None => None,
    };
    let has_name = removal
        .as_ref()
        .is_some_and(|removal| removal.name == cell.name);
    if !has_name {
        let taken = entity::find_id(&unit.records(), &name_key).await?;
        if taken.is_some() {
            if let Some(removal) = removal {
                removal.give_up(unit).await;
            }
            return Err(Code::EntityExists.into());
        }
        batch.assert(name_key.clone(), Expect::Absent);
    }
    match &removal {
        Some(removal) => post_commit = post_commit.and(removal.add_to(unit, &mut batch)),
        None => batch.add(keys::entity_count(&set), 1),
    }
    let mut doc = Properties::new();
    doc.set("Name", cell.name.clone());
    let mut entry = StoredEntity::new(doc, history.published);
    entry.updated = history.updated;
    entry.version = history.version;
    if let Some(owner) = &cell.owner {
        entry.hidden.insert(OWNER.to_owned(), owner.clone());
    }
    let id = cell.id.to_string();
    records::put_entity_checked(&mut batch, keys::entity(&set, &id), None, &entry)?;
    batch.put(name_key, id.into_bytes());
    new.keep(&mut batch);
    let committed = unit.commit(&unit.records(), batch, post_commit).await;
    match (committed, removal) {
        (Ok(_), _) => Ok(()),
        (Err(error), removal) => {
            if let Some(removal) = removal {
                removal.give_up(unit).await;
            }
            Err(store_error(error))
        }
    }
}

/// Removes a cell that was taken over and that the other unit has not any more. Does nothing if there is none with this id.
///
/// # Errors
/// [`Code::Conflict`] if others change the catalogue or the cell; a failure of the store.
pub async fn remove(unit: &Arc<Unit>, cell: CellId) -> Result<()> {
    let Some(removal) = Removal::begin(unit, cell).await? else {
        return Ok(());
    };
    let mut batch = Batch::new();
    let post_commit = removal.add_to(unit, &mut batch);
    batch.add(keys::entity_count(&SetKey::control(ControlSet::Cell)), -1);
    let name = keys::unique(
        &SetKey::control(ControlSet::Cell),
        0,
        &[Some(&removal.name)],
    );
    batch.delete(name);
    match unit.commit(&unit.records(), batch, post_commit).await {
        Ok(_) => Ok(()),
        Err(error) => {
            removal.give_up(unit).await;
            Err(store_error(error))
        }
    }
}

/// The removal of a cell, which is sealed meanwhile.
struct Removal {
    cell: CellId,
    name: String,
    entry: Versioned<StoredEntity>,
    deletion: CellDeletion,
}

impl Removal {
    /// Seals a cell; `None` if the catalogue does not have it. A removal that a killed process has begun is undone before.
    async fn begin(unit: &Arc<Unit>, cell: CellId) -> Result<Option<Self>> {
        let set = SetKey::control(ControlSet::Cell);
        for _ in 0..MAX_ATTEMPTS {
            let found = entity::find(&unit.records(), &set, &cell.to_string()).await?;
            let Some(entry) = found else {
                return Ok(None);
            };
            let name = entry.value.text("Name").ok_or(Code::OdataInconsistent)?;
            match CellDeletion::begin(unit.store(), cell, &[]).await {
                Ok(deletion) => {
                    return Ok(Some(Self {
                        cell,
                        name,
                        entry,
                        deletion,
                    }));
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        Err(Code::Conflict.into())
    }

    /// Adds the end of the entry to a batch, but not that of the name.
    fn add_to(&self, unit: &Unit, batch: &mut Batch) -> PostCommit {
        let key = keys::entity(&SetKey::control(ControlSet::Cell), &self.cell.to_string());
        self.deletion.add_to(batch);
        batch.assert(key.clone(), Expect::Version(self.entry.version));
        batch.delete(key);
        usage::add_entity(batch, self.entry.bytes, 0);
        garbage_collection::add_removed_cell(unit, batch, &self.cell);
        let cell = Cell {
            id: self.cell,
            name: self.name.clone(),
            owner: None,
            published: self.entry.value.published,
            import_failed: false,
        };
        PostCommit::invalidating(&cell, Invalidation::Cell)
            .invalidate_cell_name(&self.name)
            .collect_removed_cell(self.cell)
    }

    async fn give_up(self, unit: &Unit) {
        self.deletion.give_up(unit.store()).await;
    }
}
