//! Typed records of one space, and the retry of batches that met a conflict.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use personium_store::{
    Batch, CommitSeq, Direction, Expect, Key, KeyRange, Limit, RecordStore, Space, StoreError,
};
use personium_types::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of the stored values that this build writes. Older formats are upgraded when read.
const FORMAT: u8 = 1;

/// How often a batch is built anew after a conflict before the request is refused with 503.
const ATTEMPTS: usize = 50;

/// A value with the version of the record that holds it.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// The decoded value.
    pub value: T,
    /// The version to assert when the value is changed.
    pub version: CommitSeq,
}

/// The records of one space.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn RecordStore>,
    space: Space,
}

impl Records {
    /// The records of `space`.
    #[must_use]
    pub fn new(store: Arc<dyn RecordStore>, space: Space) -> Self {
        Self { store, space }
    }

    /// The space that is read and written.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The decoded value of a key.
    pub async fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Versioned<T>>> {
        let found = self
            .store
            .get(&self.space, std::slice::from_ref(key))
            .await
            .map_err(store_error)?;
        found
            .into_iter()
            .next()
            .flatten()
            .map(|record| {
                Ok(Versioned {
                    value: decode(&record.value)?,
                    version: record.version,
                })
            })
            .transpose()
    }

    /// The decoded values of several keys, in their order.
    pub async fn find_all<T: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Option<Versioned<T>>>> {
        let found = self
            .store
            .get(&self.space, keys)
            .await
            .map_err(store_error)?;
        found
            .into_iter()
            .map(|slot| {
                slot.map(|r| {
                    Ok(Versioned {
                        value: decode(&r.value)?,
                        version: r.version,
                    })
                })
                .transpose()
            })
            .collect()
    }

    /// The version of the record of a key; `None` if there is none.
    pub async fn find_version(&self, key: &Key) -> Result<Option<CommitSeq>> {
        let found = self
            .store
            .get(&self.space, std::slice::from_ref(key))
            .await
            .map_err(store_error)?;
        Ok(found.into_iter().next().flatten().map(|r| r.version))
    }

    /// Whether there is a record for each of these keys, in their order.
    pub async fn are_present(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let found = self
            .store
            .get(&self.space, keys)
            .await
            .map_err(store_error)?;
        Ok(found.iter().map(Option::is_some).collect())
    }

    /// The raw bytes of a key.
    pub async fn find_bytes(&self, key: &Key) -> Result<Option<Bytes>> {
        let found = self
            .store
            .get(&self.space, std::slice::from_ref(key))
            .await
            .map_err(store_error)?;
        Ok(found
            .into_iter()
            .next()
            .flatten()
            .map(|record| record.value))
    }

    /// Up to `limit` decoded values of a range.
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
    pub async fn list_within<T: DeserializeOwned>(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<(Vec<(Key, Versioned<T>)>, bool)> {
        let found = self
            .store
            .scan(&self.space, range, order, limit)
            .await
            .map_err(store_error)?;
        let bytes = found.iter().map(|(_, r)| r.value.len()).sum();
        let is_cut = limit.is_reached(found.len(), bytes);
        let decoded = found.into_iter().map(|(key, r)| {
            Ok((
                key,
                Versioned {
                    value: decode(&r.value)?,
                    version: r.version,
                },
            ))
        });
        Ok((decoded.collect::<Result<_>>()?, is_cut))
    }

    /// Up to `limit` raw values of a range, upwards.
    pub async fn list_bytes(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Key, Bytes)>> {
        let found = self
            .store
            .scan(&self.space, range, Direction::Up, Limit::records(limit))
            .await
            .map_err(store_error)?;
        Ok(found.into_iter().map(|(key, r)| (key, r.value)).collect())
    }

    /// All keys of a range. Adds to a batch that the range holds no others.
    pub async fn hold_keys(&self, range: &KeyRange, batch: &mut Batch) -> Result<Vec<Key>> {
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
    pub async fn list_keys(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let found = self
            .store
            .scan(&self.space, range, order, Limit::records(limit))
            .await
            .map_err(store_error)?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// How many records lie in a range.
    pub async fn count(&self, range: &KeyRange) -> Result<u64> {
        self.store
            .count(&self.space, range)
            .await
            .map_err(store_error)
    }

    /// The value of a counter; 0 if it was never added to.
    pub async fn counter(&self, key: &Key) -> Result<i64> {
        Ok(self.counter_state(key).await?.0)
    }

    /// The values of counters, in their order.
    pub async fn counters(&self, keys: &[Key]) -> Result<Vec<i64>> {
        let found = self
            .store
            .get(&self.space, keys)
            .await
            .map_err(store_error)?;
        Ok(found
            .iter()
            .map(|slot| slot.as_ref().map_or(0, |record| count_of(&record.value)))
            .collect())
    }

    /// The value of a counter with what to expect of its record in a batch that depends on the value.
    pub async fn counter_state(&self, key: &Key) -> Result<(i64, Expect)> {
        let found = self
            .store
            .get(&self.space, std::slice::from_ref(key))
            .await
            .map_err(store_error)?;
        Ok(match found.into_iter().next().flatten() {
            None => (0, Expect::Absent),
            Some(record) => (count_of(&record.value), Expect::Version(record.version)),
        })
    }

    /// Whether a range holds no record.
    pub async fn is_empty(&self, range: &KeyRange) -> Result<bool> {
        Ok(self.list_keys(range, Direction::Up, 1).await?.is_empty())
    }

    /// Commits one batch without retry; a conflict is an error of the store.
    pub async fn commit(&self, batch: Batch) -> std::result::Result<CommitSeq, StoreError> {
        if batch.is_empty() {
            return Ok(0);
        }
        self.store.commit(&self.space, batch).await
    }

    /// Builds a batch and commits it; on a conflict builds it anew from what is stored then.
    ///
    /// `build` reads, decides and adds to the batch; it must have no other effect. Its result is returned after the
    /// commit.
    ///
    /// # Errors
    /// What `build` refuses with, [`Code::Conflict`] after 50 attempts, or a failure of the store.
    pub async fn transact<T, F, Fut>(&self, mut build: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        retry(|| {
            let built = build();
            async move {
                let (batch, out) = built.await?;
                Ok((self.commit(batch).await, out))
            }
        })
        .await
    }
}

/// Builds and commits until the commit meets no conflict.
///
/// # Errors
/// What building refuses with, [`Code::Conflict`] after 50 attempts, or a failure of the store.
pub(crate) async fn retry<C, T, F, Fut>(mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(std::result::Result<C, StoreError>, T)>>,
{
    for number in 0..ATTEMPTS {
        match attempt().await? {
            (Ok(_), out) => return Ok(out),
            (Err(StoreError::Conflict), _) => {}
            (Err(other), _) => return Err(store_error(other)),
        }
        if number > 2 {
            let pause = std::time::Duration::from_millis(number.min(20) as u64);
            tokio::time::sleep(pause).await;
        }
    }
    Err(Code::Conflict.into())
}

fn count_of(value: &[u8]) -> i64 {
    <[u8; 8]>::try_from(value).map_or(0, i64::from_le_bytes)
}

/// Adds a value to a batch, expecting the record to be in the state that was read.
pub fn put_checked<T: Serialize>(
    batch: &mut Batch,
    key: Key,
    read: Option<CommitSeq>,
    value: &T,
) -> Result<()> {
    batch.assert(key.clone(), read.map_or(Expect::Absent, Expect::Version));
    put(batch, key, value)
}

/// Adds a value to a batch.
pub fn put<T: Serialize>(batch: &mut Batch, key: Key, value: &T) -> Result<()> {
    batch.put(key, encode(value)?);
    Ok(())
}

/// A value as it is stored: a byte that tells the format, then JSON.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = vec![FORMAT];
    serde_json::to_writer(&mut out, value)
        .map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))?;
    Ok(out)
}

/// Reads a stored value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&FORMAT, json)) => {
            serde_json::from_slice(json).map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))
        }
        _ => Err(Error::new(Code::StoreCorrupt).with_source("a record of an unknown format")),
    }
}

/// Converts an error of the engine, which becomes the source.
#[must_use]
pub fn store_error(error: StoreError) -> Error {
    let code = match &error {
        StoreError::Conflict => Code::Conflict,
        StoreError::SpaceDropped => Code::NoSuchCell,
        StoreError::Busy(_) => Code::ServerBusy,
        StoreError::Corrupt(_) => Code::StoreCorrupt,
        StoreError::Down(_) | StoreError::Unsupported(_) => Code::StoreDown,
    };
    Error::new(code).with_source(error)
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn only_a_conflict_of_the_commit_is_tried_again() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let key = Key::table(b'k').u64(1).build();
        let mut builds = 0;
        let outdated = records.transact(|| {
            builds += 1;
            std::future::ready(Result::<(Batch, ())>::Err(Code::Conflict.into()))
        });
        assert!(outdated.await.is_err());
        assert_eq!(builds, 1);
        let met = records.transact(|| {
            builds += 1;
            let mut batch = Batch::new();
            if builds < 4 {
                batch.assert(key.clone(), Expect::Present);
            }
            std::future::ready(Ok((batch, ())))
        });
        met.await.unwrap();
        assert_eq!(builds, 4);
    }
}
