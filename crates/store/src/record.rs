//! Records: ordered keys with versioned values, changed by batches that happen whole or not at all.

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::CellId;

use crate::{Key, KeyRange, Result, Seal};

/// Where a record lives. Every call names the space, so that one cell can never read another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// What belongs to the unit: the catalogue of cells, jobs, settings.
    Unit,
    /// What belongs to one cell.
    Cell(CellId),
}

/// Counts the commits of a space, upwards. The stamp of a commit is the version of every record it put.
pub type Stamp = u64;

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The bytes that were put.
    pub value: Bytes,
    /// The stamp of the commit that put them.
    pub version: Stamp,
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key.
    Up,
    /// From the largest key.
    Down,
}

/// How much a scan gives at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Records.
    pub records: usize,
    /// Bytes of their values: the scan ends with the record that reaches it.
    pub bytes: usize,
}

impl Limit {
    /// So many records, of any size.
    #[must_use]
    pub const fn records(records: usize) -> Self {
        Self {
            records,
            bytes: usize::MAX,
        }
    }

    /// The same, but no record more once their values have so many bytes.
    #[must_use]
    pub const fn or_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Whether records whose values have so many bytes are as much as this.
    #[must_use]
    pub const fn is_reached(&self, records: usize, bytes: usize) -> bool {
        records >= self.records || bytes >= self.bytes
    }
}

/// What an assertion expects of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is no record.
    Absent,
    /// There is a record of any version.
    Present,
    /// There is a record of exactly this version.
    Version(Stamp),
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Refuses the whole batch unless the key is as expected before the batch.
    Assert(Key, Expect),
    /// Refuses the whole batch if any record lies in the range before the batch.
    AssertEmpty(KeyRange),
    /// Creates or replaces a record.
    Put(Key, Bytes),
    /// Removes a record if it is there.
    Delete(Key),
    /// Adds to a counter: a record whose value is a little-endian `i64`; absent counts as 0. Never conflicts.
    Add(Key, i64),
}

/// Steps that happen together or not at all, in one space.
///
/// Assertions are judged against the state before the batch, wherever they stand in it. Of several steps that
/// change one key, the last one decides; several `Add` to one counter add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses the batch unless the key is as expected.
    pub fn assert(&mut self, key: Key, expect: Expect) {
        self.ops.push(Op::Assert(key, expect));
    }

    /// Refuses the batch if the range holds a record.
    pub fn assert_empty(&mut self, range: KeyRange) {
        self.ops.push(Op::AssertEmpty(range));
    }

    /// Creates or replaces a record.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(key, value.into()));
    }

    /// Removes a record if it is there.
    pub fn delete(&mut self, key: Key) {
        self.ops.push(Op::Delete(key));
    }

    /// Adds to a counter.
    pub fn add(&mut self, key: Key, delta: i64) {
        self.ops.push(Op::Add(key, delta));
    }

    /// Appends all steps of another batch.
    pub fn append(&mut self, other: Self) {
        self.ops.extend(other.ops);
    }

    /// The steps in order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The steps in order, by value.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}

/// An engine for records.
///
/// A space exists as soon as something is put into it; reading one that does not exist finds nothing. A commit that
/// returned is durable. A reader that starts after a commit returned sees it.
#[async_trait]
pub trait RecordStore: Send + Sync + 'static {
    /// The records of these keys, in the order of the keys, from one snapshot.
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Vec<Option<Record>>>;

    /// The first records of the range, as many as the limit allows, from one snapshot.
    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Vec<(Key, Record)>>;

    /// How many records the range holds.
    async fn count(&self, space: &Space, range: &KeyRange) -> Result<u64>;

    /// Does the whole batch, durably, or nothing.
    ///
    /// # Errors
    /// [`crate::StoreError::Conflict`] if an assertion did not hold or the space is sealed, [`crate::StoreError::Gone`] if
    /// the space was dropped since the store was opened.
    async fn commit(&self, space: &Space, batch: Batch) -> Result<Stamp>;

    /// Closes the space to commits if these ranges hold no record, until the seal is dropped or the store closed. It can be
    /// read and dropped as ever. So what is decided elsewhere can depend on what the space does not hold.
    ///
    /// # Errors
    /// [`crate::StoreError::Conflict`] if there is a record or the space is sealed already, [`crate::StoreError::Gone`] if
    /// the space was dropped since the store was opened.
    async fn seal(&self, space: &Space, empty: &[KeyRange]) -> Result<Seal>;

    /// Removes the space with everything in it, for good: a batch that was on its way does not bring it back. Succeeds if
    /// there is none.
    async fn drop_space(&self, space: &Space) -> Result<()>;

    /// Whether the engine answers.
    async fn check(&self) -> Result<()>;

    /// Finishes what is in hand and releases files and connections. Later calls fail.
    async fn close(&self) -> Result<()>;
}
