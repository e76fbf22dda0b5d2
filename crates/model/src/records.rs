//! Typed records of one space, and retries of batches after conflicts.

mod commits;
mod reads;
mod stored_value;

use std::sync::Arc;

use personium_store::{
    CommitSeq, Direction, Key, KeyRange, Limit, Record, RecordStore, Snapshot, Space, StoreError,
};
use personium_types::{Code, Error, Result};

pub(crate) use self::commits::retry_on_conflict;
pub use self::stored_value::{count_of, decode, encode, put, put_checked, store_error};
pub(crate) use self::stored_value::{counter_of, put_entity_checked};
use crate::structure_view::StructureView;
use crate::usage::GrowthLimit;

/// The fault of a view whose structure was changed before the request began.
const STALE: &str = "the structure of the cell has changed";

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
}
