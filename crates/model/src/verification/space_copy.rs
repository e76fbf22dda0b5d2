//! The records of a small space in memory, read at one time.

use async_trait::async_trait;
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Key, KeyRange, Limit, Record, RecordSnapshot,
    RecordStore, Result, Snapshot, Space, StoreError, StructureVersion,
};

/// The size from which on a space is not copied.
const MAX_SIZE: Limit = Limit {
    records: 2_000,
    bytes: 4 << 20,
};

/// All records of one space. They can be read only.
pub(super) struct SpaceCopy {
    space: Space,
    structure: StructureVersion,
    /// In the order of their keys.
    records: Vec<(Key, Record)>,
}

impl SpaceCopy {
    /// Reads the records of a space; `None` if they are too many.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn read(store: &dyn RecordStore, space: &Space) -> Result<Option<Self>> {
        let range = KeyRange::all();
        let found = store.scan(space, &range, Direction::Up, MAX_SIZE).await?;
        let bytes = found.value.iter().map(|(_, record)| record.value.len());
        let is_larger = MAX_SIZE.is_reached(found.value.len(), bytes.sum());
        Ok((!is_larger).then_some(Self {
            space: *space,
            structure: found.structure,
            records: found.value,
        }))
    }

    fn answer<T>(&self, space: &Space, value: impl FnOnce() -> T) -> Result<Snapshot<T>> {
        match *space == self.space {
            true => Ok(Snapshot {
                value: value(),
                structure: self.structure,
            }),
            false => Err(unsupported()),
        }
    }

    fn find(&self, key: &Key) -> Option<Record> {
        let found = self.records.binary_search_by(|(other, _)| other.cmp(key));
        let (_, record) = self.records.get(found.ok()?)?;
        Some(record.clone())
    }

    /// The records of a range, in the order of their keys.
    fn range(&self, range: &KeyRange) -> &[(Key, Record)] {
        let before = |bound: &Key| self.records.partition_point(|(key, _)| key < bound);
        let start = before(&range.start);
        let end = range.end.as_ref().map_or(self.records.len(), before);
        self.records.get(start..end).unwrap_or_default()
    }
}

fn unsupported() -> StoreError {
    StoreError::Unsupported(ErrorDetail::new("a copy of one space can only be read"))
}

#[async_trait]
impl RecordStore for SpaceCopy {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        self.answer(space, || keys.iter().map(|key| self.find(key)).collect())
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        let all = self.range(range).iter();
        let first = |records: &mut dyn Iterator<Item = &(Key, Record)>| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            for (key, record) in records {
                bytes += record.value.len();
                found.push((key.clone(), record.clone()));
                if limit.is_reached(found.len(), bytes) {
                    break;
                }
            }
            found
        };
        self.answer(space, || match order {
            Direction::Up => first(&mut all.into_iter()),
            Direction::Down => first(&mut all.rev()),
        })
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        self.answer(space, || self.range(range).len() as u64)
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        Ok(self.answer(space, || ())?.structure)
    }

    async fn commit(&self, _: &Space, _: Batch) -> Result<CommitSeq> {
        Err(unsupported())
    }

    async fn create_space(&self, _: &Space) -> Result<()> {
        Err(unsupported())
    }

    async fn list_spaces(&self, _: Option<&Space>, _: usize) -> Result<Vec<Space>> {
        Err(unsupported())
    }

    async fn drop_space(&self, _: &Space) -> Result<()> {
        Err(unsupported())
    }

    async fn snapshot(&self, _: &Space) -> Result<Box<dyn RecordSnapshot>> {
        Err(unsupported())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn copy_answers_as_its_store_and_a_large_space_is_not_copied() {
        let key = |n: usize| Key::table(b'k').u64(n as u64).build();
        for number in [0, 7, MAX_SIZE.records - 1, MAX_SIZE.records] {
            let records = MemoryRecords::new();
            let mut batch = Batch::new();
            for n in 0..number {
                batch.put(key(n), n.to_string());
            }
            batch.change_structure();
            records.create_space(&Space::Unit).await.unwrap();
            records.commit(&Space::Unit, batch).await.unwrap();
            let copy = SpaceCopy::read(&records, &Space::Unit).await.unwrap();
            assert_eq!(copy.is_some(), number < MAX_SIZE.records);
            let Some(copy) = copy else { continue };
            let keys = [key(0), key(6), key(5_000)];
            assert_eq!(
                copy.get(&Space::Unit, &keys).await.unwrap(),
                records.get(&Space::Unit, &keys).await.unwrap()
            );
            let of = |start, end| KeyRange {
                start: key(start),
                end: Some(key(end)),
            };
            for range in [KeyRange::all(), of(2, 5), of(5, 2), of(6, 900)] {
                assert_eq!(
                    copy.count(&Space::Unit, &range).await.unwrap(),
                    records.count(&Space::Unit, &range).await.unwrap()
                );
                for order in [Direction::Up, Direction::Down] {
                    for limit in [Limit::records(3), Limit::records(9_999).or_bytes(4)] {
                        let wanted = records.scan(&Space::Unit, &range, order, limit).await;
                        let found = copy.scan(&Space::Unit, &range, order, limit).await;
                        assert_eq!(found.unwrap(), wanted.unwrap());
                    }
                }
            }
            let cell = Space::Cell(personium_types::CellId::from_bytes([1; 16]));
            assert!(copy.get(&cell, &keys).await.is_err());
        }
    }
}
