//! Reads of the records of a space.

use bytes::Bytes;
use personium_store::{Batch, CommitSeq, Direction, Expect, Key, KeyRange, Limit, Record};
use personium_types::Result;
use serde::de::DeserializeOwned;

use super::{Records, Versioned, count_of, counter_of, decode};

impl Records {
    /// The decoded value of a key.
    ///
    /// # Errors
    /// A failure of the store; [`Code::StoreCorrupt`] if a value cannot be decoded.
    pub async fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Versioned<T>>> {
        let found = self.get(std::slice::from_ref(key)).await?;
        found
            .into_iter()
            .next()
            .flatten()
            .map(|record| {
                Ok(Versioned {
                    value: decode(&record.value)?,
                    version: record.version,
                    bytes: record.value.len(),
                })
            })
            .transpose()
    }

    /// The decoded values of several keys, in their order.
    ///
    /// # Errors
    /// A failure of the store; [`Code::StoreCorrupt`] if a value cannot be decoded.
    pub async fn find_all<T: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Option<Versioned<T>>>> {
        let found = self.get(keys).await?;
        found
            .into_iter()
            .map(|slot| {
                slot.map(|r| {
                    Ok(Versioned {
                        value: decode(&r.value)?,
                        version: r.version,
                        bytes: r.value.len(),
                    })
                })
                .transpose()
            })
            .collect()
    }

    /// The version of the record of a key; `None` if there is none.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_version(&self, key: &Key) -> Result<Option<CommitSeq>> {
        let found = self.get(std::slice::from_ref(key)).await?;
        Ok(found.into_iter().next().flatten().map(|r| r.version))
    }

    /// The records of several keys, in their order, from one snapshot.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_records(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        self.get(keys).await
    }

    /// The first records of a range up to the limit.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn list_records_within(
        &self,
        range: &KeyRange,
        limit: Limit,
    ) -> Result<Vec<(Key, Record)>> {
        self.scan(range, Direction::Up, limit).await
    }

    /// Up to `limit` records of a range, upwards.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_records(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Key, Record)>> {
        let limit = Limit::records(limit);
        self.scan(range, Direction::Up, limit).await
    }

    /// Whether there is a record for each of these keys, in their order.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn are_present(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let found = self.get(keys).await?;
        Ok(found.iter().map(Option::is_some).collect())
    }

    /// The raw bytes of a key.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_bytes(&self, key: &Key) -> Result<Option<Bytes>> {
        let found = self.get(std::slice::from_ref(key)).await?;
        Ok(found
            .into_iter()
            .next()
            .flatten()
            .map(|record| record.value))
    }

    /// Up to `limit` decoded values of a range.
    ///
    /// # Errors
    /// A failure of the store; [`Code::StoreCorrupt`] if a value cannot be decoded.
    pub async fn list<T: DeserializeOwned>(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned<T>)>> {
        let limit = Limit::records(limit);
        Ok(self.list_within(range, order, limit).await?.0)
    }

    /// The first decoded values of a range, and whether the limit ended them rather than the range.
    ///
    /// # Errors
    /// A failure of the store; [`Code::StoreCorrupt`] if a value cannot be decoded.
    pub async fn list_within<T: DeserializeOwned>(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<(Vec<(Key, Versioned<T>)>, bool)> {
        let found = self.scan(range, order, limit).await?;
        let bytes = found.iter().map(|(_, r)| r.value.len()).sum();
        let is_cut = limit.is_reached(found.len(), bytes);
        let decoded = found.into_iter().map(|(key, r)| {
            Ok((
                key,
                Versioned {
                    value: decode(&r.value)?,
                    version: r.version,
                    bytes: r.value.len(),
                },
            ))
        });
        Ok((decoded.collect::<Result<_>>()?, is_cut))
    }

    /// Up to `limit` raw values of a range, upwards.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_bytes(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Key, Bytes)>> {
        let found = self
            .scan(range, Direction::Up, Limit::records(limit))
            .await?;
        Ok(found.into_iter().map(|(key, r)| (key, r.value)).collect())
    }

    /// All keys of a range. Adds the assertion to a batch that the range has no other keys.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_keys_exactly(&self, range: &KeyRange, batch: &mut Batch) -> Result<Vec<Key>> {
        let found = self.list_keys(range, Direction::Up, usize::MAX).await?;
        let mut rest = range.clone();
        for key in &found {
            let after = rest.after(key);
            batch.assert_empty(KeyRange {
                start: rest.start,
                end: Some(key.clone()),
            });
            rest = after;
        }
        batch.assert_empty(rest);
        Ok(found)
    }

    /// Up to `limit` keys of a range.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_keys(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let found = self.scan(range, order, Limit::records(limit)).await?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// The keys of a range up to the limit.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn list_keys_within(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Vec<Key>> {
        let found = self.scan(range, order, limit).await?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// The number of records in a range.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn count(&self, range: &KeyRange) -> Result<u64> {
        self.checked(self.store.count(&self.space, range).await)
    }

    /// The value of a counter; 0 if it was never added to.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn counter(&self, key: &Key) -> Result<i64> {
        Ok(self.counter_state(key).await?.0)
    }

    /// The values of counters, in their order.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn counters(&self, keys: &[Key]) -> Result<Vec<i64>> {
        let found = self.get(keys).await?;
        Ok(found
            .iter()
            .map(|slot| slot.as_ref().map_or(0, |record| count_of(&record.value)))
            .collect())
    }

    /// The value of a counter, and the state of its record to assert in a batch that depends on the value.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn counter_state(&self, key: &Key) -> Result<(i64, Expect)> {
        let found = self.get(std::slice::from_ref(key)).await?;
        Ok(counter_of(found.into_iter().next().flatten().as_ref()))
    }

    /// Whether a range has no record.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn is_empty(&self, range: &KeyRange) -> Result<bool> {
        Ok(self.list_keys(range, Direction::Up, 1).await?.is_empty())
    }
}
