//! Reads all records of a space, also past damaged ones.

use std::sync::Arc;

use personium_store::{
    Direction, Key, KeyRange, Limit, Record, RecordStore, Result, Space, StoreError,
};
use personium_types::error::chain;

/// The size of a page.
const PAGE: Limit = Limit {
    records: 512,
    bytes: 1 << 20,
};

/// The numbers of records that are read at once when a page has a damaged one.
const NARROW: [usize; 3] = [64, 8, 1];

/// The number of keys that are read at once.
const KEYS_AT_ONCE: usize = 400;

/// Some records in the order of their keys. A damaged one follows them.
#[derive(Debug, Default)]
pub(super) struct WalkedPage {
    pub(super) records: Vec<(Key, Record)>,
    pub(super) damaged: Option<(Key, String)>,
}

/// The state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    Absent,
    Present(Record),
    Damaged,
}

/// Reads from one space.
#[derive(Clone)]
pub(super) struct SpaceReader {
    pub(super) store: Arc<dyn RecordStore>,
    pub(super) space: Space,
}

impl SpaceReader {
    /// Returns the first records of the range. The next page begins after `rest`, which is changed; none is left when all were read.
    ///
    /// # Errors
    /// A failure of the store; [`StoreError::Corrupt`] if records may be hidden by damage.
    pub(super) async fn next_page(&self, rest: &mut KeyRange) -> Result<Option<WalkedPage>> {
        let mut found = self.scan(rest, PAGE).await;
        for records in NARROW {
            if matches!(found, Err(StoreError::Corrupt(_))) {
                found = self.scan(rest, Limit::records(records)).await;
            }
        }
        let records = match found {
            Ok(records) => records,
            Err(error @ StoreError::Corrupt(_)) => {
                let Some(key) = self.first_key(rest).await? else {
                    return Err(error);
                };
                *rest = rest.after(&key);
                return Ok(Some(WalkedPage {
                    records: Vec::new(),
                    damaged: Some((key, chain(&error))),
                }));
            }
            Err(error) => return Err(error),
        };
        let Some((last, _)) = records.last() else {
            return Ok(None);
        };
        *rest = rest.after(last);
        Ok(Some(WalkedPage {
            records,
            damaged: None,
        }))
    }

    async fn scan(&self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>> {
        let found = self.store.scan(&self.space, range, Direction::Up, limit);
        Ok(found.await?.value)
    }

    /// Returns the number of records in a range, whether they are damaged or not.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn count(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.store.count(&self.space, range).await?.value)
    }

    /// Finds the first key of a range by counting alone, since the record cannot be read.
    async fn first_key(&self, range: &KeyRange) -> Result<Option<Key>> {
        let start = range.start.as_bytes();
        let mut prefix = None;
        for len in (0..=start.len()).rev() {
            let begin = start.get(..len).unwrap_or_default().to_vec();
            let mut within = KeyRange::prefix(&Key::from_bytes(begin.clone()));
            within.start = range.start.clone();
            if let Some(end) = &range.end {
                let end = end.clone();
                within.end = Some(within.end.map_or(end.clone(), |own| own.min(end)));
            }
            if self.count(&within).await? > 0 {
                prefix = Some(begin);
                break;
            }
        }
        let Some(mut prefix) = prefix else {
            return Ok(None);
        };
        loop {
            let key = Key::from_bytes(prefix.clone());
            if key >= range.start {
                let mut end = prefix.clone();
                end.push(0);
                let only = KeyRange {
                    start: key.clone(),
                    end: Some(Key::from_bytes(end)),
                };
                if self.count(&only).await? > 0 {
                    return Ok(Some(key));
                }
            }
            let Some(byte) = self.next_byte(&range.start, &prefix).await? else {
                return Ok(None);
            };
            prefix.push(byte);
        }
    }

    /// The byte after a prefix in the first key that begins with it and is not before `start`.
    async fn next_byte(&self, start: &Key, prefix: &[u8]) -> Result<Option<u8>> {
        let (mut low, mut high) = (0_u16, 256_u16);
        while low < high {
            let middle = u16::midpoint(low, high);
            let mut end = prefix.to_vec();
            end.push(u8::try_from(middle).unwrap_or(u8::MAX));
            let end = Key::from_bytes(end).after_prefix();
            let mut begin = prefix.to_vec();
            begin.push(0);
            let range = KeyRange {
                start: Key::from_bytes(begin).max(start.clone()),
                end,
            };
            match self.count(&range).await? {
                0 => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(u8::try_from(low).ok())
    }

    /// Returns the states of keys, in their order. Those of up to [`KEYS_AT_ONCE`] keys are from one snapshot if none is damaged.
    ///
    /// # Errors
    /// A failure of the store, but not damage of records.
    pub(super) async fn get(&self, keys: &[Key]) -> Result<Vec<Slot>> {
        let mut slots = Vec::with_capacity(keys.len());
        let slot = |found: Option<Record>| found.map_or(Slot::Absent, Slot::Present);
        for keys in keys.chunks(KEYS_AT_ONCE) {
            match self.store.get(&self.space, keys).await {
                Ok(found) => slots.extend(found.value.into_iter().map(slot)),
                Err(StoreError::Corrupt(_)) => {
                    for key in keys {
                        let found = self.store.get(&self.space, std::slice::from_ref(key)).await;
                        match found {
                            Ok(found) => slots.extend(found.value.into_iter().map(slot)),
                            Err(StoreError::Corrupt(_)) => slots.push(Slot::Damaged),
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(slots)
    }

    /// Returns the state of a key.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn get_one(&self, key: &Key) -> Result<Slot> {
        let found = self.get(std::slice::from_ref(key)).await?;
        Ok(found.into_iter().next().unwrap_or(Slot::Absent))
    }
}

#[cfg(test)]
mod tests {
    use personium_store::Batch;
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn first_key_of_a_range_is_found_by_counting() {
        let store = Arc::new(MemoryRecords::new());
        let names: [&[u8]; 6] = [
            b"a",
            b"ab",
            b"ab\xff\xff",
            b"ab\xff\xff\0",
            b"b\0z",
            b"\xff\xff",
        ];
        let mut batch = Batch::new();
        for name in names {
            batch.put(Key::from_bytes(name.to_vec()), "");
        }
        store.commit(&Space::Unit, batch).await.unwrap();
        let reader = SpaceReader {
            store,
            space: Space::Unit,
        };
        let mut range = KeyRange::all();
        for name in names {
            let found = reader.first_key(&range).await.unwrap().unwrap();
            assert_eq!(found.as_bytes(), name);
            range = range.after(&found);
        }
        assert_eq!(reader.first_key(&range).await.unwrap(), None);
        let end = KeyRange {
            end: Some(Key::from_bytes(b"b".to_vec())),
            ..KeyRange::all().after(&Key::from_bytes(b"ab\xff\xff\0".to_vec()))
        };
        assert_eq!(reader.first_key(&end).await.unwrap(), None);
    }
}
