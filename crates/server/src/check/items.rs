//! The number of items that a unit has. It is bounded what is read for it, however large the unit is.

use std::sync::Arc;

use personium_model::entity::EntityPages;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::{self, Records};
use personium_store::{Direction, Limit, RecordStore, Space, StoreError};
use personium_types::CellId;
use personium_types::error::chain;
use serde_json::{Map, json};

use super::report::{CheckOutcome, CheckReport};

/// The name of the check.
const CHECK: &str = "items";

/// The largest number of file bodies that are counted, over all cells.
const BODIES_MAX: usize = 10_000;

/// The limits of one page of them.
const PAGE_RECORDS: usize = 512;
const PAGE_BYTES: usize = 1 << 20;

/// The number of items of a unit.
#[derive(Debug, Default)]
pub(super) struct ItemCounts {
    /// All cells, by the counter of the unit.
    cells: i64,
    /// The cells that were looked at: the first page of them.
    cells_read: usize,
    /// The boxes of the cells that were looked at, without main boxes, by their counters.
    boxes: i64,
    /// The accounts of these cells, by their counters.
    accounts: i64,
    /// The file bodies of these cells, by their records.
    file_bodies: usize,
    /// The reasons why cells could not be looked at.
    problems: Vec<String>,
}

impl ItemCounts {
    /// Counts.
    ///
    /// # Errors
    /// A failure of the store when it reads the records of the unit.
    pub(super) async fn of(store: &Arc<dyn RecordStore>) -> personium_types::Result<Self> {
        let unit = Records::new(Arc::clone(store), Space::Unit);
        let set = SetKey::control(ControlSet::Cell);
        let mut counts = Self {
            cells: unit.counter(&keys::entity_count(&set)).await?,
            ..Self::default()
        };
        let page = EntityPages::of(&unit, &set).next_page().await?;
        for (id, _) in page {
            let Ok(cell) = id.parse::<CellId>() else {
                continue;
            };
            match counts.add_cell(store, cell).await {
                Ok(()) => counts.cells_read += 1,
                // Removed meanwhile.
                Err(StoreError::SpaceDropped) => {}
                Err(error) => counts
                    .problems
                    .push(format!("cell {id}: {}", chain(&error))),
            }
        }
        Ok(counts)
    }

    async fn add_cell(
        &mut self,
        store: &Arc<dyn RecordStore>,
        cell: CellId,
    ) -> Result<(), StoreError> {
        let space = Space::Cell(cell);
        let counters = [ControlSet::Box, ControlSet::Account]
            .map(|set| keys::entity_count(&SetKey::control(set)));
        let found = store.get(&space, &counters).await?.value;
        let number = |at: usize| {
            let record = found.get(at).and_then(Option::as_ref);
            record.map_or(0, |record| records::count_of(&record.value))
        };
        self.boxes = self.boxes.saturating_add(number(0));
        self.accounts = self.accounts.saturating_add(number(1));
        for range in [keys::blob_references(), keys::inline_bodies()] {
            let mut rest = range;
            while self.file_bodies < BODIES_MAX {
                let limit = Limit::records(PAGE_RECORDS.min(BODIES_MAX - self.file_bodies));
                let limit = limit.or_bytes(PAGE_BYTES);
                let page = store.scan(&space, &rest, Direction::Up, limit);
                let page = page.await?.value;
                let Some((last, _)) = page.last() else {
                    break;
                };
                rest = rest.after(last);
                self.file_bodies += page.len();
            }
        }
        Ok(())
    }
}

/// Reports the numbers, or why there are none.
pub(super) fn check(report: &mut CheckReport, counts: Result<ItemCounts, String>) {
    let counts = match counts {
        Ok(counts) => counts,
        Err(reason) => return report.warning(CHECK, format!("cannot be counted: {reason}")),
    };
    let ItemCounts {
        cells,
        cells_read,
        boxes,
        accounts,
        file_bodies,
        problems,
    } = counts;
    let is_cut = file_bodies >= BODIES_MAX;
    let which = match usize::try_from(cells) == Ok(cells_read) {
        true => "in them".to_owned(),
        false => format!("in {cells_read} of them"),
    };
    let bound = if is_cut { "at least " } else { "" };
    let detail = format!(
        "cells: {cells}; {which}, boxes: {boxes}, accounts: {accounts}, file bodies: {bound}{file_bodies}"
    );
    let mut values = Map::new();
    values.insert("cells".to_owned(), json!(cells));
    values.insert("cellsRead".to_owned(), json!(cells_read));
    values.insert("boxes".to_owned(), json!(boxes));
    values.insert("accounts".to_owned(), json!(accounts));
    values.insert("fileBodies".to_owned(), json!(file_bodies));
    values.insert("hasMoreFileBodies".to_owned(), json!(is_cut));
    report.add_with_values(CHECK, CheckOutcome::Ok, detail, values);
    for problem in problems {
        report.warning(CHECK, problem);
    }
}

#[cfg(test)]
mod tests {
    use personium_model::entity::StoredEntity;
    use personium_store::Batch;
    use personium_store::memory::MemoryRecords;
    use personium_types::BlobId;

    use super::*;

    fn found(counts: ItemCounts) -> (String, Map<String, serde_json::Value>) {
        let mut report = CheckReport::default();
        check(&mut report, Ok(counts));
        let finding = report.0.pop().unwrap();
        (finding.detail, finding.values)
    }

    /// A store whose unit has so many cells, each with a box, and the first one with so many bodies.
    async fn store(cells: u16, bodies: u16) -> Arc<dyn RecordStore> {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new());
        store.create_space(&Space::Unit).await.unwrap();
        let set = SetKey::control(ControlSet::Cell);
        let mut batch = Batch::new();
        let entity = records::encode(&StoredEntity::new(<_>::default(), 0)).unwrap();
        for number in 0..cells {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            let cell = CellId::from_bytes(bytes);
            batch.put(keys::entity(&set, &cell.to_string()), entity.clone());
            batch.add(keys::entity_count(&set), 1);
            let space = Space::Cell(cell);
            store.create_space(&space).await.unwrap();
            let mut of_cell = Batch::new();
            of_cell.add(keys::entity_count(&SetKey::control(ControlSet::Box)), 1);
            for body in 0..if number == 0 { bodies } else { 0 } {
                let mut bytes = [0; 16];
                bytes[..2].copy_from_slice(&body.to_be_bytes());
                of_cell.put(keys::blob_reference(&BlobId::from_bytes(bytes)), "");
            }
            store.commit(&space, of_cell).await.unwrap();
        }
        store.commit(&Space::Unit, batch).await.unwrap();
        store
    }

    #[tokio::test]
    async fn items_of_a_large_unit_are_counted_in_its_first_cells() {
        let counts = ItemCounts::of(&store(3, 600).await).await.unwrap();
        let (detail, values) = found(counts);
        let expected = "cells: 3; in them, boxes: 3, accounts: 0, file bodies: 600";
        assert_eq!(detail, expected);
        assert_eq!(values["hasMoreFileBodies"], false);

        let counts = ItemCounts::of(&store(1_000, 12_000).await).await.unwrap();
        let (detail, values) = found(counts);
        let expected =
            "cells: 1000; in 256 of them, boxes: 256, accounts: 0, file bodies: at least 10000";
        assert_eq!(detail, expected);
        assert_eq!(values["cells"], 1_000);
        assert_eq!(values["cellsRead"], 256);
        assert_eq!(values["hasMoreFileBodies"], true);

        // A cell that was removed meanwhile is none, and one that cannot be read does not hide the others.
        let store = store(3, 0).await;
        let cell = CellId::from_bytes([0; 16]);
        store.drop_space(&Space::Cell(cell)).await.unwrap();
        let counts = ItemCounts::of(&store).await.unwrap();
        assert_eq!((counts.cells_read, counts.boxes), (2, 2));
        assert!(counts.problems.is_empty(), "{counts:?}");
    }
}
