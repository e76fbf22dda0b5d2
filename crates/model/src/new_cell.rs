//! Cells that are filled before anybody can see them. Their space is garbage until a batch puts them into the catalogue, so that a
//! crash leaves nothing.

use std::sync::Arc;

use personium_store::Batch;
use personium_types::{CellId, Result};

use crate::known_quotas::LimitedCell;
use crate::records::Records;
use crate::{Cell, CellContext, Unit, garbage_collection};

/// A cell that is being filled.
pub struct NewCell {
    unit: Arc<Unit>,
    cell: Cell,
    /// The cell that quotas are applied to; nothing for a cell that is taken over from another unit.
    limited: Option<LimitedCell>,
    /// The assertion that the space was not given up, and the end of its being garbage.
    creation: Batch,
}

impl NewCell {
    /// Creates the space of a cell. It gets an id of its own; that of `cell` does not matter. Quotas limit a cell that replaces another
    /// one, given with the bytes that it stores.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn begin(
        unit: &Arc<Unit>,
        cell: Cell,
        replaced: Option<(CellId, u64)>,
    ) -> Result<Self> {
        let id = CellId::at(unit.now_ms(), unit.random());
        let mut creation = Batch::new();
        garbage_collection::create_space(unit, &id, &mut creation).await?;
        Ok(Self {
            unit: Arc::clone(unit),
            limited: replaced.map(|replaced| LimitedCell {
                space: id,
                replaced: Some(replaced),
                owner: cell.owner.clone(),
            }),
            cell: Cell { id, ..cell },
            creation,
        })
    }

    /// The unit.
    #[must_use]
    pub fn unit(&self) -> &Arc<Unit> {
        &self.unit
    }

    /// The entry of the cell.
    #[must_use]
    pub fn cell(&self) -> &Cell {
        &self.cell
    }

    /// The records of the cell.
    #[must_use]
    pub fn records(&self) -> Records {
        let records = self.unit.cell_records(&self.cell.id);
        match &self.limited {
            Some(limited) => {
                let limit = self.unit.cell_limit(limited.clone());
                records.with_limit(Some(Arc::new(limit)))
            }
            None => records,
        }
    }

    /// A context of the cell as it is now.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn context(&self) -> Result<Arc<CellContext>> {
        self.unit.detached_context(&self.cell, self.records()).await
    }

    /// Adds to the batch that puts the cell into the catalogue that its space is no garbage. The batch is refused if it was given up.
    pub(crate) fn keep(&self, batch: &mut Batch) {
        batch.append(self.creation.clone());
    }

    /// Removes what was stored of the cell, in the background.
    pub async fn abandon(self) {
        if let Err(error) = garbage_collection::give_up_space(&self.unit, &self.cell.id).await {
            // Another server node, or the next start, removes it.
            tracing::warn!(cell.id = %self.cell.id, %error, "failed to remove an unfinished cell");
        }
    }
}
