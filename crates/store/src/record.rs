//! Records: ordered keys with versioned values, changed by atomic batches.

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::CellId;

use crate::{Key, KeyRange, Result, WriteFence};

/// A namespace of records. Every call names the space, so that one cell can never read the data of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// The data of the unit: the catalogue of cells, jobs, settings.
    Unit,
    /// The data of one cell.
    Cell(CellId),
}

/// The sequence number of a commit in its space, ascending. It is the version of every record that the commit put.
pub type CommitSeq = u64;

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The bytes that were put.
    pub value: Bytes,
    /// The commit that put them.
    pub version: CommitSeq,
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key.
    Up,
    /// From the largest key.
    Down,
}

/// The maximum size of the result of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The number of records.
    pub records: usize,
    /// The total size of the values in bytes. The scan ends with the record that reaches it.
    pub bytes: usize,
}

impl Limit {
    /// A limit of `records` records of any size.
    #[must_use]
    pub const fn records(records: usize) -> Self {
        Self {
            records,
            bytes: usize::MAX,
        }
    }

    /// The same limit, or fewer records if their values reach `bytes` bytes.
    #[must_use]
    pub const fn or_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Whether a result of `records` records with `bytes` bytes of values has reached the limit.
    #[must_use]
    pub const fn is_reached(&self, records: usize, bytes: usize) -> bool {
        records >= self.records || bytes >= self.bytes
    }
}

/// The state of a key that an assertion expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is no record.
    Absent,
    /// There is a record of any version.
    Present,
    /// There is a record of exactly this version.
    Version(CommitSeq),
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Refuses the whole batch unless the key is in the expected state before the batch.
    Assert(Key, Expect),
    /// Refuses the whole batch if any record lies in the range before the batch.
    AssertEmpty(KeyRange),
    /// Creates or replaces a record.
    Put(Key, Bytes),
    /// Removes a record if it exists.
    Delete(Key),
    /// Adds to a counter: a record whose value is a little-endian `i64`; absent counts as 0. Never conflicts.
    Add(Key, i64),
}

/// Operations on one space that are applied together or not at all.
///
/// Assertions are checked against the state before the batch, wherever they stand in it. Of several operations that
/// put or delete one key, the last one takes effect. Several `Add` to one counter add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// Creates an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the assertion that the key is in this state.
    pub fn assert(&mut self, key: Key, expect: Expect) {
        self.ops.push(Op::Assert(key, expect));
    }

    /// Adds the assertion that the range holds no record.
    pub fn assert_empty(&mut self, range: KeyRange) {
        self.ops.push(Op::AssertEmpty(range));
    }

    /// Adds the creation or replacement of a record.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(key, value.into()));
    }

    /// Adds the removal of a record, which need not exist.
    pub fn delete(&mut self, key: Key) {
        self.ops.push(Op::Delete(key));
    }

    /// Adds `delta` to a counter.
    pub fn add(&mut self, key: Key, delta: i64) {
        self.ops.push(Op::Add(key, delta));
    }

    /// Appends all operations of another batch.
    pub fn append(&mut self, other: Self) {
        self.ops.extend(other.ops);
    }

    /// Returns the operations in order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether the batch has no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Returns the operations in order, by value.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}

/// A store of records.
///
/// A space exists as soon as something is put into it, or it is created, as the engine requires; see
/// [`create_space`](RecordStore::create_space). A commit that returned is durable. A reader that starts after a commit returned sees it.
///
/// ```
/// use personium_store::memory::MemoryRecords;
/// use personium_store::{
///     Batch, Direction, Expect, Key, KeyRange, Limit, RecordStore, Space, StoreError,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), StoreError> {
/// let store = MemoryRecords::new();
/// let key = |name: &str| Key::table(b'a').text(name).build();
///
/// let mut create = Batch::new();
/// create.assert(key("alice"), Expect::Absent);
/// create.put(key("alice"), "1");
/// create.put(key("bob"), "2");
/// let seq = store.commit(&Space::Unit, create.clone()).await?;
///
/// let again = store.commit(&Space::Unit, create).await;
/// assert!(matches!(again, Err(StoreError::Conflict)));
///
/// let range = KeyRange::prefix(&Key::table(b'a').build());
/// let found = store
///     .scan(&Space::Unit, &range, Direction::Up, Limit::records(10))
///     .await?;
/// assert_eq!(found.len(), 2);
/// assert_eq!(found[0].0, key("alice"));
/// assert_eq!((&found[0].1.value[..], found[0].1.version), (&b"1"[..], seq));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait RecordStore: Send + Sync + 'static {
    /// Returns the records of these keys, in the order of the keys, from one snapshot.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy), [`Down`](crate::StoreError::Down), or [`Corrupt`](crate::StoreError::Corrupt)
    /// or [`Unsupported`](crate::StoreError::Unsupported) if the stored data cannot be read.
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Vec<Option<Record>>>;

    /// Returns the first records of the range up to the limit, from one snapshot.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Vec<(Key, Record)>>;

    /// Returns the number of records in the range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn count(&self, space: &Space, range: &KeyRange) -> Result<u64>;

    /// Applies the whole batch durably, or nothing of it. Returns the last commit of the space, which is this one unless
    /// the batch changes nothing.
    ///
    /// # Errors
    /// [`Conflict`](crate::StoreError::Conflict) if an assertion did not hold or the space is fenced,
    /// [`SpaceDropped`](crate::StoreError::SpaceDropped) if the space was dropped since the store was opened,
    /// [`Unsupported`](crate::StoreError::Unsupported) if a record is too large, and those of [`get`](Self::get).
    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq>;

    /// Creates an empty space, durably, unless it exists.
    ///
    /// An engine may tell a space that was never created from one whose data was lost, and then refuses to read and to
    /// change a space that it does not have. Other engines create a space when something is put into it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    async fn create_space(&self, _space: &Space) -> Result<()> {
        Ok(())
    }

    /// Whether the storage is full: then it takes only small changes, which should remove data.
    fn is_full(&self) -> bool {
        false
    }

    /// Closes the space to commits if these ranges hold no record, until the fence is dropped or the store is closed.
    ///
    /// A fenced space can be read and dropped. A change elsewhere can thus depend on the ranges being empty.
    ///
    /// # Errors
    /// [`Conflict`](crate::StoreError::Conflict) if there is a record or the space is fenced already,
    /// [`SpaceDropped`](crate::StoreError::SpaceDropped) if the space was dropped since the store was opened, and those
    /// of [`get`](Self::get).
    async fn fence(&self, space: &Space, empty: &[KeyRange]) -> Result<WriteFence>;

    /// Removes the space with all its records permanently; later commits to it fail. Succeeds if there is none.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn drop_space(&self, space: &Space) -> Result<()>;

    /// Checks that the engine answers.
    ///
    /// # Errors
    /// As [`get`](Self::get), if it does not.
    async fn check(&self) -> Result<()>;

    /// Finishes the calls in flight and releases files and connections. Later calls fail with
    /// [`Down`](crate::StoreError::Down).
    ///
    /// # Errors
    /// [`Down`](crate::StoreError::Down) if the engine could not be closed.
    async fn close(&self) -> Result<()>;
}
