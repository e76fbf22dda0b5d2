//! Typed records of one space, and retries of batches after conflicts.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Expect, Key, KeyRange, Limit, Record, RecordStore,
    Snapshot, Space, StoreError,
};
use personium_types::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cell_deletion::{self, Undone};
use crate::structure_view::StructureView;
use crate::usage::{self, CountedKey, GrowthLimit};

/// The format of the stored values that this build writes. Older formats are upgraded when read.
const FORMAT: u8 = 1;

/// The number of times that a batch is built and committed before conflicts become an error.
const MAX_ATTEMPTS: usize = 50;
/// The attempts that are made without a pause.
const IMMEDIATE_ATTEMPTS: usize = 3;
/// The attempt after which a seal has stayed for long: about a quarter of a second, a deletion takes milliseconds.
const UNDO_ATTEMPT: usize = 22;
/// The longest pause before an attempt, in milliseconds.
const MAX_BACKOFF_MS: usize = 20;
/// The fault of a view whose structure was changed before the request began.
const STALE: &str = "the structure of the cell has changed";
/// The number of records that [`Records::remove_range`] removes in one batch.
const REMOVAL_BATCH: usize = 200;

/// A value with the version of the record that holds it.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// The decoded value.
    pub value: T,
    /// The version to assert when the value is changed.
    pub version: CommitSeq,
    /// The length of the stored value; 0 if there is none.
    pub bytes: usize,
}

/// The records of one space.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn RecordStore>,
    space: Space,
    view: Option<Arc<StructureView>>,
    limit: Option<Arc<dyn GrowthLimit>>,
    /// Whether the batches have their bytes counted already.
    is_counted: bool,
}

impl Records {
    /// The records of `space`.
    #[must_use]
    pub fn new(store: Arc<dyn RecordStore>, space: Space) -> Self {
        Self {
            store,
            space,
            view: None,
            limit: None,
            is_counted: false,
        }
    }

    /// The same records. A commit by which they would grow is judged by a limit.
    pub(crate) fn with_limit(self, limit: Option<Arc<dyn GrowthLimit>>) -> Self {
        Self { limit, ..self }
    }

    /// The same records, which may grow beyond their quotas: for what must be stored all the same.
    #[must_use]
    pub fn without_limit(&self) -> Self {
        self.clone().with_limit(None)
    }

    /// The same records, for batches that count the keys of links, index entries and nodes already, or whose counters are set afterwards.
    pub(crate) fn without_counting(&self) -> Self {
        Self {
            is_counted: true,
            ..self.clone()
        }
    }

    /// Checks that the content may grow by so many bytes.
    ///
    /// # Errors
    /// [`Code::OverQuota`]; a failure of the store.
    pub async fn check_growth(&self, bytes: usize) -> Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        match &self.limit {
            Some(limit) => limit.admit(bytes).await.map_err(store_error),
            None => Ok(()),
        }
    }

    /// The same records. Each read compares the version of the structure with that of a view.
    pub(crate) fn with_view(self, view: Arc<StructureView>) -> Self {
        Self {
            view: Some(view),
            ..self
        }
    }

    /// The value of a snapshot, unless the view of the cell is stale.
    fn checked<T>(&self, read: std::result::Result<Snapshot<T>, StoreError>) -> Result<T> {
        match (read, &self.view) {
            (Ok(found), Some(view)) if !view.observe(found.structure) => {
                Err(Error::new(Code::ServerBusy).with_source(STALE))
            }
            (Ok(found), _) => Ok(found.value),
            (Err(error), view) => {
                if let (StoreError::SpaceDropped, Some(view)) = (&error, view) {
                    view.observe_dropped();
                }
                Err(store_error(error))
            }
        }
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        self.checked(self.store.get(&self.space, keys).await)
    }

    async fn scan(
        &self,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Vec<(Key, Record)>> {
        self.checked(self.store.scan(&self.space, range, order, limit).await)
    }

    /// The space that is read and written.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The store that holds the space.
    pub(crate) fn store(&self) -> &Arc<dyn RecordStore> {
        &self.store
    }

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

    /// Commits one batch without retries. What was decided from a cached structure is committed only if the structure was current
    /// after the request began: unless a read has shown that, the batch asserts the version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if an assertion of the batch does not hold, [`StoreError::Busy`] if the cached structure is stale,
    /// [`StoreError::OverQuota`] if a quota does not permit it, or another failure of the store.
    pub async fn commit(&self, mut batch: Batch) -> std::result::Result<CommitSeq, StoreError> {
        if batch.is_empty() {
            return Ok(0);
        }
        if !self.is_counted && matches!(self.space, Space::Cell(_)) {
            usage::count_keys(&mut batch);
        }
        let Some(limit) = &self.limit else {
            return self.commit_unlimited(batch).await;
        };
        let growth = usage::growth(&batch);
        if growth > 0 {
            limit.admit(growth).await?;
        }
        let committed = self.commit_unlimited(batch).await;
        if committed.is_ok() && growth != 0 {
            limit.note(growth);
        }
        committed
    }

    async fn commit_unlimited(
        &self,
        mut batch: Batch,
    ) -> std::result::Result<CommitSeq, StoreError> {
        let Some(view) = &self.view else {
            return self.store.commit(&self.space, batch).await;
        };
        if view.is_stale() {
            return Err(StoreError::Busy(ErrorDetail::new(STALE)));
        }
        let asserted = view.to_check();
        if let Some(version) = asserted {
            batch.assert_structure(version);
        }
        let committed = self.store.commit(&self.space, batch).await;
        match (&committed, asserted) {
            (Ok(_), Some(version)) => drop(view.observe(version)),
            // The structure may be what has changed.
            (Err(StoreError::Conflict), Some(_)) => self.check_view().await?,
            (Err(StoreError::SpaceDropped), Some(_)) => view.observe_dropped(),
            _ => {}
        }
        committed
    }

    async fn check_view(&self) -> std::result::Result<(), StoreError> {
        let Some(view) = &self.view else {
            return Ok(());
        };
        if view.to_check().is_some() {
            match self.store.structure(&self.space).await {
                Ok(version) => drop(view.observe(version)),
                Err(error) => {
                    if let StoreError::SpaceDropped = error {
                        view.observe_dropped();
                    }
                    return Err(error);
                }
            }
        }
        match view.is_stale() {
            true => Err(StoreError::Busy(ErrorDetail::new(STALE))),
            false => Ok(()),
        }
    }

    /// Undoes the deletion of the cell, unless it was done.
    async fn undo_deletion(&self) -> Result<()> {
        let Space::Cell(cell) = &self.space else {
            return Ok(());
        };
        let undone = cell_deletion::undo(&self.store, cell).await;
        match undone.map_err(store_error)? {
            Undone::CellIsWritable => Ok(()),
            Undone::CellIsGone => Err(Code::NoSuchCell.into()),
        }
    }

    /// Removes all records of a range, in several small batches.
    ///
    /// # Errors
    /// A failure of the store; then some of the records may be left.
    pub async fn remove_range(&self, range: &KeyRange) -> Result<()> {
        loop {
            let found = self.list_keys(range, Direction::Up, REMOVAL_BATCH).await?;
            if found.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            for key in found {
                if CountedKey::of(&key).is_some() {
                    // Another server node may remove it too. It is counted once.
                    batch.assert(key.clone(), Expect::Present);
                }
                batch.delete(key);
            }
            match self.commit(batch).await {
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
    }

    /// Builds a batch and commits it; after a conflict builds it again from the records of then.
    ///
    /// `build` reads, decides and adds to the batch; it must have no other effect. Its result is returned after the
    /// commit.
    ///
    /// # Errors
    /// The error of `build`, [`Code::Conflict`] after 50 attempts, or a failure of the store.
    pub async fn transact<T, F, Fut>(&self, mut build: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        retry_on_conflict(self, || {
            let built = Box::pin(build());
            async move {
                let (batch, out) = built.await?;
                Ok((self.commit(batch).await, out))
            }
        })
        .await
    }
}

/// Repeats an attempt to build and commit a batch as long as the commit meets a conflict, or a sealed cell. A seal that stays
/// is one of a deletion that was given up, and is undone.
///
/// # Errors
/// The error of building, [`Code::Conflict`] after 50 attempts, or a failure of the store.
pub(crate) async fn retry_on_conflict<C, T, F, Fut>(records: &Records, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(std::result::Result<C, StoreError>, T)>>,
{
    for number in 0..MAX_ATTEMPTS {
        match attempt().await? {
            (Ok(_), out) => return Ok(out),
            (Err(StoreError::Sealed), _) if number == UNDO_ATTEMPT => {
                records.undo_deletion().await?;
            }
            (Err(StoreError::Conflict | StoreError::Sealed), _) => {}
            (Err(other), _) => return Err(store_error(other)),
        }
        if number >= IMMEDIATE_ATTEMPTS {
            let backoff = Duration::from_millis(number.min(MAX_BACKOFF_MS) as u64);
            tokio::time::sleep(backoff).await;
        }
    }
    Err(Code::Conflict.into())
}

/// The value of a counter by its record, and the state of the record.
pub(crate) fn counter_of(record: Option<&Record>) -> (i64, Expect) {
    match record {
        None => (0, Expect::Absent),
        Some(record) => (count_of(&record.value), Expect::Version(record.version)),
    }
}

/// The value of a counter, from its record.
#[must_use]
pub fn count_of(value: &[u8]) -> i64 {
    <[u8; 8]>::try_from(value).map_or(0, i64::from_le_bytes)
}

/// Adds an entity to a batch, with the assertion that its record is in the state that was read, and the bytes that it takes.
/// `read` is the version and the length of the record.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub(crate) fn put_entity_checked<T: Serialize>(
    batch: &mut Batch,
    key: Key,
    read: Option<(CommitSeq, usize)>,
    value: &T,
) -> Result<()> {
    let (version, before) = read.unzip();
    batch.assert(key.clone(), version.map_or(Expect::Absent, Expect::Version));
    let encoded = encode(value)?;
    usage::add_entity(batch, before.unwrap_or(0), encoded.len());
    batch.put(key, encoded);
    Ok(())
}

/// Adds a value to a batch, with the assertion that the record is in the state that was read.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
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
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub fn put<T: Serialize>(batch: &mut Batch, key: Key, value: &T) -> Result<()> {
    batch.put(key, encode(value)?);
    Ok(())
}

/// Encodes a value as it is stored: one byte for the format, then JSON.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the value cannot be encoded.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = vec![FORMAT];
    serde_json::to_writer(&mut out, value)
        .map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))?;
    Ok(out)
}

/// Decodes a stored value.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the format is unknown or the value cannot be decoded.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&FORMAT, json)) => {
            // Checked once as a whole: otherwise each string of it would be.
            let text = simdutf8::basic::from_utf8(json)
                .map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))?;
            serde_json::from_str(text).map_err(|e| Error::new(Code::StoreCorrupt).with_source(e))
        }
        _ => Err(Error::new(Code::StoreCorrupt).with_source("unknown format of a record")),
    }
}

/// Converts an error of the engine, which becomes the source.
#[must_use]
pub fn store_error(error: StoreError) -> Error {
    let code = match &error {
        StoreError::Conflict | StoreError::Sealed => Code::Conflict,
        StoreError::SpaceDropped => Code::NoSuchCell,
        StoreError::Busy(_) => Code::ServerBusy,
        StoreError::Full(_) => Code::StorageFull,
        StoreError::OverQuota(detail) => {
            return Error::new(Code::OverQuota)
                .with(detail.to_string())
                .with_source(error);
        }
        StoreError::ReadOnly(_) => Code::StorageReadOnly,
        StoreError::Corrupt(_) => Code::StoreCorrupt,
        StoreError::TooLarge(detail) => {
            return Error::new(Code::RecordTooLarge)
                .with(detail.to_string())
                .with_source(error);
        }
        StoreError::Down(_) | StoreError::Unsupported(_) => Code::StoreDown,
    };
    Error::new(code).with_source(error)
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn key_that_no_engine_takes_is_refused_with_a_code_of_its_own() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let mut batch = Batch::new();
        batch.put(Key::table(b'k').text(&"x".repeat(2_700)).build(), "");
        let error = records.commit(batch).await.map_err(store_error);
        assert_eq!(error.unwrap_err().code(), Code::RecordTooLarge);
    }

    #[tokio::test]
    async fn only_conflicts_of_the_commit_are_retried() {
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        let key = Key::table(b'k').u64(1).build();
        let mut builds = 0;
        let failed_build = records.transact(|| {
            builds += 1;
            std::future::ready(Result::<(Batch, ())>::Err(Code::Conflict.into()))
        });
        assert!(failed_build.await.is_err());
        assert_eq!(builds, 1);
        let failed_commits = records.transact(|| {
            builds += 1;
            let mut batch = Batch::new();
            if builds < 4 {
                batch.assert(key.clone(), Expect::Present);
            }
            std::future::ready(Ok((batch, ())))
        });
        failed_commits.await.unwrap();
        assert_eq!(builds, 4);
    }
}
