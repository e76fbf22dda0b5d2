//! The counters of the bytes that a cell stores.

use personium_store::{Result, Space};

use super::SpaceVerification;
use crate::cell_usage;
use crate::records::count_of;
use crate::verification::walk::Slot;

impl SpaceVerification<'_> {
    /// Compares the counters of bytes with what was found. A difference is reported if there is one in one snapshot.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn check_byte_counts(&mut self) -> Result<()> {
        let Space::Cell(cell) = self.space else {
            return Ok(());
        };
        if self.has_damaged_nodes || self.has_damaged_entities {
            return Ok(());
        }
        let reader = self.names.reader.clone();
        let slots = reader.get(&cell_usage::counter_keys()).await?;
        let is_damaged = |slot: &Slot| !matches!(slot, Slot::Present(_) | Slot::Absent);
        if slots.iter().any(is_damaged) {
            // It was reported when it was read.
            return Ok(());
        }
        let read = cell_usage::counts_from(|at| match slots.get(at) {
            Some(Slot::Present(record)) => count_of(&record.value),
            _ => 0,
        });
        let is_marked = matches!(slots.last(), Some(Slot::Present(_)));
        if self.bytes == read || !(is_marked || cell_usage::all_counted(&*reader.store).await?) {
            return Ok(());
        }
        let counted = cell_usage::count(&*reader.store, &cell).await?;
        let (content, counters) = (counted.content, counted.counters);
        for (what, is, counter) in content.compared_with(&counters) {
            if counter != is {
                let problem = format!(
                    "the counter says {counter}, but there are {is}; `personium verify --repair` counts anew"
                );
                self.damage(format!("the bytes of all {what}"), problem);
            }
        }
        Ok(())
    }
}
