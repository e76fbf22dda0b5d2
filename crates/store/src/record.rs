//! Records: ordered keys with versioned values, changed by atomic batches.

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::CellId;

use crate::{JournalPage, JournalPosition, Key, KeyRange, Result};

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

/// The version of the structure of a space: the last commit of a batch with [`Op::ChangeStructure`]. 0: there was none.
pub type StructureVersion = u64;

/// The result of a read from a space, and the version of the structure of the space at that time.
///
/// The value holds all commits that were acknowledged before the read began, and so does the version. If a commit is
/// acknowledged while the space is read, the value may hold it although the version does not, but never the reverse: what is
/// derived from the value and kept with the version is found to be stale rather than taken for newer than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot<T> {
    /// The result.
    pub value: T,
    /// The version of the structure of the space.
    pub structure: StructureVersion,
}

impl<T> Snapshot<T> {
    /// The result of a function of the value, with the same version of the structure.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Snapshot<U> {
        Snapshot {
            value: f(self.value),
            structure: self.structure,
        }
    }
}

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
    /// Refuses the whole batch unless this is the version of the structure of the space before the batch.
    AssertStructure(StructureVersion),
    /// Creates or replaces a record.
    Put(Key, Bytes),
    /// Removes a record if it exists.
    Delete(Key),
    /// Creates a record whose key is this one, followed by the number of the commit and that of the record among those of the batch;
    /// see [`Key::sequenced`]. So the records with one prefix are in the order of their commits.
    PutSequenced(Key, Bytes),
    /// Tells other processes that there is something new in the space, as [`Op::PutSequenced`] does.
    TellNews,
    /// Adds to a counter: a record whose value is a little-endian `i64`; absent counts as 0. Never conflicts.
    Add(Key, i64),
    /// Makes this commit the version of the structure of the space.
    ChangeStructure,
    /// Seals the space, durably: every later batch without [`Op::Unseal`] is refused with
    /// [`StoreError::Sealed`](crate::StoreError::Sealed). A sealed space can be read and dropped.
    Seal,
    /// Opens a sealed space. The batch is accepted in any space.
    Unseal,
}

impl Op {
    /// Whether the operation only asserts something.
    #[must_use]
    pub const fn is_assertion(&self) -> bool {
        matches!(
            self,
            Self::Assert(..) | Self::AssertEmpty(_) | Self::AssertStructure(_)
        )
    }
}

/// Operations on one space that are applied together or not at all.
///
/// Assertions are checked against the state before the batch, wherever they stand in it. Of several operations that
/// put or delete one key, the last one takes effect. Several `Add` to one counter add up. Of `Seal` and `Unseal`, the last one
/// takes effect. A batch with any other operation than assertions is a commit with a number of its own.
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

    /// Adds the assertion that the structure of the space has this version.
    pub fn assert_structure(&mut self, version: StructureVersion) {
        self.ops.push(Op::AssertStructure(version));
    }

    /// Adds the creation or replacement of a record.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(key, value.into()));
    }

    /// Adds the replacement of a record that probably exists. The result is that of [`put`](Self::put), but an engine may take what
    /// is only put for new if the batch asserts that another record is absent, and is slower if it is not.
    pub fn replace(&mut self, key: Key, value: impl Into<Bytes>) {
        self.delete(key.clone());
        self.put(key, value);
    }

    /// Adds the creation of a record with this value, after all that were created with the same prefix before.
    pub fn put_sequenced(&mut self, prefix: Key, value: impl Into<Bytes>) {
        self.ops.push(Op::PutSequenced(prefix, value.into()));
    }

    /// The records of [`Op::PutSequenced`] if this is the number of the commit.
    pub fn sequenced(&self, seq: CommitSeq) -> impl Iterator<Item = (Key, &Bytes)> {
        let puts = self.ops.iter().filter_map(|op| match op {
            Op::PutSequenced(prefix, value) => Some((prefix, value)),
            _ => None,
        });
        let numbered = (0_u32..).zip(puts);
        numbered.map(move |(number, (prefix, value))| (prefix.sequenced(seq, number), value))
    }

    /// Adds that other processes are told that there is something new in the space.
    pub fn tell_news(&mut self) {
        self.ops.push(Op::TellNews);
    }

    /// Whether other processes are told of the batch: it has [`Op::PutSequenced`] or [`Op::TellNews`].
    #[must_use]
    pub fn is_news(&self) -> bool {
        let mut ops = self.ops.iter();
        ops.any(|op| matches!(op, Op::PutSequenced(..) | Op::TellNews))
    }

    /// Adds the removal of a record, which need not exist.
    pub fn delete(&mut self, key: Key) {
        self.ops.push(Op::Delete(key));
    }

    /// Adds `delta` to a counter.
    pub fn add(&mut self, key: Key, delta: i64) {
        self.ops.push(Op::Add(key, delta));
    }

    /// Adds `delta` to a counter, as one operation with what the batch adds to it already. If nothing is left to add, there is none.
    pub fn add_up(&mut self, key: Key, delta: i64) {
        let is_same = |op: &Op| matches!(op, Op::Add(known, _) if *known == key);
        let known = self.ops.iter().rposition(is_same);
        let before = match known.map(|at| self.ops.remove(at)) {
            Some(Op::Add(_, before)) => before,
            _ => 0,
        };
        let sum = before.wrapping_add(delta);
        if sum != 0 {
            self.add(key, sum);
        }
    }

    /// Adds that the batch changes the structure of the space.
    pub fn change_structure(&mut self) {
        self.ops.push(Op::ChangeStructure);
    }

    /// Adds that the space is sealed.
    pub fn seal(&mut self) {
        self.ops.push(Op::Seal);
    }

    /// Adds that the space is opened if it is sealed.
    pub fn unseal(&mut self) {
        self.ops.push(Op::Unseal);
    }

    /// Whether the batch may be committed in a sealed space.
    #[must_use]
    pub fn unseals(&self) -> bool {
        self.ops.contains(&Op::Unseal)
    }

    /// Whether the space is sealed after the batch. `None`: as before.
    #[must_use]
    pub fn sealed_after(&self) -> Option<bool> {
        self.ops.iter().rev().find_map(|op| match op {
            Op::Seal => Some(true),
            Op::Unseal => Some(false),
            _ => None,
        })
    }

    /// Whether the batch changes the structure of the space.
    #[must_use]
    pub fn changes_structure(&self) -> bool {
        self.ops.contains(&Op::ChangeStructure)
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

/// The state of a range of records. If it is that of an earlier snapshot of the same space, the records of the range are the same: what was
/// put since then would have a greater version, and what was removed would be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RangeState {
    /// The number of records.
    pub records: u64,
    /// The greatest version of a record; 0 if there is none.
    pub last_version: CommitSeq,
}

/// The records of a space as they were at one time.
#[async_trait]
pub trait RecordSnapshot: Send {
    /// The last commit that it has. 0 if nothing was ever put into the space.
    fn last_commit(&self) -> CommitSeq;

    /// Returns the first records of the range in ascending order, up to the limit.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    async fn scan(&mut self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>>;

    /// Returns the state of a range. `None` if the engine cannot tell without reading the values.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    async fn state(&mut self, _range: &KeyRange) -> Result<Option<RangeState>> {
        Ok(None)
    }
}

/// All records of a space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmallSpace {
    /// The last commit that they have. 0 if nothing was ever put into the space.
    pub last_commit: CommitSeq,
    /// The records in the order of their keys.
    pub records: Vec<(Key, Record)>,
}

/// The spaces that were changed since a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSpaces {
    /// The number of the time at which they were found out.
    pub number: u64,
    /// The spaces; `None` if the store does not know those since the time that was asked for.
    pub changed: Option<Vec<Space>>,
}

/// A store of records.
///
/// A space exists as soon as something is put into it, or it is created, as the engine requires; see
/// [`create_space`](RecordStore::create_space). A commit that returned is durable. A reader that starts after a commit returned sees it,
/// also through another store over the same data. A space that was dropped can neither be read nor changed, by any of them.
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
/// let found = found.value;
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
    /// [`SpaceDropped`](crate::StoreError::SpaceDropped) if the space was dropped, [`Busy`](crate::StoreError::Busy),
    /// [`Down`](crate::StoreError::Down), or [`Corrupt`](crate::StoreError::Corrupt) or
    /// [`Unsupported`](crate::StoreError::Unsupported) if the stored data cannot be read.
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>>;

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
    ) -> Result<Snapshot<Vec<(Key, Record)>>>;

    /// Returns the number of records in the range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>>;

    /// Returns the version of the structure of the space. 0 if nothing was ever put into it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn structure(&self, space: &Space) -> Result<StructureVersion>;

    /// Applies the whole batch durably, or nothing of it. Returns the last commit of the space, which is this one unless
    /// the batch has nothing but assertions.
    ///
    /// # Errors
    /// [`Conflict`](crate::StoreError::Conflict) if an assertion did not hold,
    /// [`Sealed`](crate::StoreError::Sealed) if the space is sealed and the batch does not open it,
    /// [`TooLarge`](crate::StoreError::TooLarge) if a record is larger than [`check_sizes`](crate::check_sizes) permits, and
    /// those of [`get`](Self::get).
    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq>;

    /// Creates an empty space, durably, unless it exists.
    ///
    /// An engine may tell a space that was never created from one whose data was lost, and then refuses to read and to
    /// change a space that it does not have. Other engines create a space when something is put into it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    async fn create_space(&self, space: &Space) -> Result<()>;

    /// Returns the first `limit` spaces after `after` that exist, in their order: the unit, then the cells by their ids.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>>;

    /// Returns the first entries of the journal of the space after a place, up to the limit, but at least one if there is any. `None`: the store
    /// keeps no journal.
    ///
    /// A journal holds each commit since some time with all that it has changed; a commit and its entries are durable together.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn journal(
        &self,
        _space: &Space,
        _after: JournalPosition,
        _limit: Limit,
    ) -> Result<Option<JournalPage>> {
        Ok(None)
    }

    /// Removes the entries of the journal of the space that need not be kept any more. Commits do so too, but a space may have none for long.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    async fn prune_journal(&self, _space: &Space) -> Result<()> {
        Ok(())
    }

    /// Whether other processes may use the same records at the same time. A store that is not shared belongs to this process
    /// alone from when it is opened until it is closed.
    fn is_shared(&self) -> bool {
        false
    }

    /// Waits for the news that another process may have put sequenced records, or told of something new, and returns the space; `None`:
    /// in any space. The news may come late, or never, or be wrong: whoever needs the records looks for them from time to time as well. One
    /// caller waits at a time. An engine without such news never returns.
    async fn next_sequenced(&self) -> Option<Space> {
        std::future::pending().await
    }

    /// Whether [`next_sequenced`](Self::next_sequenced) brings news at present.
    fn has_news(&self) -> bool {
        false
    }

    /// Returns the spaces that were changed after a time, which is a number that the same store has given since it was opened. `None`: the
    /// store does not know what changes, for instance because others may change it. Commits that were acknowledged before the time can be read
    /// from then on; a space may be named although nothing in it has changed, but never the reverse.
    fn changed_spaces(&self, _since: Option<u64>) -> Option<ChangedSpaces> {
        None
    }

    /// Whether the storage is full: then it takes only small changes, which should remove data.
    fn is_full(&self) -> bool {
        false
    }

    /// Removes the space with all its records permanently; later reads and commits fail. Succeeds if there is none.
    ///
    /// # Errors
    /// [`Busy`](crate::StoreError::Busy) or [`Down`](crate::StoreError::Down).
    async fn drop_space(&self, space: &Space) -> Result<()>;

    /// Begins a snapshot of a space: its records as they are now. Engines keep what it needs until it is dropped, so that should be soon.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Unsupported`](crate::StoreError::Unsupported) if the store has no snapshots.
    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        let _ = space;
        let text = "this store has no snapshots";
        Err(crate::StoreError::Unsupported(crate::ErrorDetail::new(
            text,
        )))
    }

    /// Returns all records of a space in the order of their keys, and its last commit, as of one time, if they do not reach the limit. `None`: they do,
    /// or the engine has no faster way than a [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn small_space(&self, _space: &Space, _limit: Limit) -> Result<Option<SmallSpace>> {
        Ok(None)
    }

    /// Looks for damage of a space that may hide records, which reads of single records do not find. Returns what was found, for
    /// people. Reads all that is stored of the space, where the engine has such damage.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn find_damage(&self, space: &Space) -> Result<Option<String>> {
        let _ = space;
        Ok(None)
    }

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
