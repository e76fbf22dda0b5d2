//! Notes of the comparison of a cell in the store of documents, so that its size does not matter: ids, and links of the original.

use personium_model::records::{self, Records, store_error};
use personium_store::{Batch, Key, KeyRange};
use personium_types::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The table of the notes.
const NOTE: u8 = b'N';
/// The number of notes of one commit.
const COMMIT_NOTES: usize = 1_000;

/// A kind of note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteKind {
    /// Under the id of an object there: its set, its id here and its name.
    Object,
    /// Under the id of an entity there: its entity type and its id.
    Entity,
    /// Under the key of a link here: nothing.
    Link,
}

/// The notes of one comparison at a time.
pub(crate) struct ComparisonNotes {
    records: Records,
    batch: Batch,
    waiting: usize,
}

impl ComparisonNotes {
    /// No notes: those of an interrupted comparison are removed.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn begin(records: &Records) -> Result<Self> {
        let notes = Self {
            records: records.clone(),
            batch: Batch::new(),
            waiting: 0,
        };
        notes.clear().await?;
        Ok(notes)
    }

    /// Adds a note, which can be read after [`Self::flush`].
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn put<T: Serialize>(&mut self, kind: NoteKind, id: &[u8], note: &T) -> Result<()> {
        records::put(&mut self.batch, key(kind, id), note)?;
        self.waiting += 1;
        match self.waiting >= COMMIT_NOTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Stores the notes that wait.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn flush(&mut self) -> Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.waiting = 0;
        let batch = std::mem::take(&mut self.batch);
        let stored = self.records.commit(batch).await;
        stored.map_err(store_error).map(drop)
    }

    /// The note under an id.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find<T: DeserializeOwned>(&self, kind: NoteKind, id: &[u8]) -> Result<Option<T>> {
        let found = self.records.find::<T>(&key(kind, id)).await?;
        Ok(found.map(|found| found.value))
    }

    /// Whether there are notes under these ids.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn are_present(&self, kind: NoteKind, ids: &[&[u8]]) -> Result<Vec<bool>> {
        let keys: Vec<Key> = ids.iter().map(|id| key(kind, id)).collect();
        self.records.are_present(&keys).await
    }

    /// Removes all notes.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn clear(&self) -> Result<()> {
        let all = KeyRange::prefix(&Key::table(NOTE).build());
        self.records.remove_range(&all).await
    }
}

fn key(kind: NoteKind, id: &[u8]) -> Key {
    Key::table(NOTE).byte(kind as u8).bytes(id).build()
}
