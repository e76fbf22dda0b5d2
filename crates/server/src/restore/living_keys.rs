//! The signing keys of the living cells: no two cells may have the same one, since each could sign for the other.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use personium_model::auth::cell_key;
use personium_model::{Unit, unit_mark};
use personium_types::{CellId, Result};

use crate::copy;

/// The cells by the ids of their signing keys, as far as they have one.
#[derive(Default)]
pub(super) struct LivingKeys {
    /// Read when it is first needed.
    holders: Option<HashMap<String, Vec<CellId>>>,
}

impl LivingKeys {
    /// A living cell with this key other than the one that is to be replaced.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn other_holder(
        &mut self,
        unit: &Unit,
        (key, replaced): (&str, Option<&CellId>),
    ) -> Result<Option<CellId>> {
        if self.holders.is_none() {
            self.holders = Some(read(unit).await?);
        }
        let holders = self.holders.as_ref().and_then(|holders| holders.get(key));
        let mut holders = holders.into_iter().flatten();
        Ok(holders.find(|holder| Some(*holder) != replaced).copied())
    }

    /// Adds a cell that has just got a key.
    pub(super) fn add(&mut self, key: String, cell: CellId) {
        if let Some(holders) = &mut self.holders {
            holders.entry(key).or_default().push(cell);
        }
    }
}

async fn read(unit: &Unit) -> Result<HashMap<String, Vec<CellId>>> {
    let cells = unit_mark::list_cells(&unit.records()).await?;
    let keys = cells.into_iter().map(|cell| async move {
        let found = cell_key::find_id(&unit.cell_records(&cell)).await;
        (cell, found)
    });
    let mut keys = stream::iter(keys).buffer_unordered(copy::SPACES_AT_ONCE);
    let mut holders = HashMap::<String, Vec<CellId>>::new();
    while let Some((cell, found)) = keys.next().await {
        match found {
            Ok(Some(key)) => holders.entry(key).or_default().push(cell),
            Ok(None) => {}
            // A damaged cell does not keep others from being restored.
            Err(error) => tracing::warn!(cell.id = %cell, %error, "failed to read a signing key"),
        }
    }
    Ok(holders)
}
