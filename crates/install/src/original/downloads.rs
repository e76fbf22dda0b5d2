//! The documents that were read from the search engine of a unit, index by index, so that an interrupted run and a later pass read only
//! the rest.
//!
//! An index is read in windows, one after the other. Each is stored as chunks: compressed documents, a line each. Chunks of a window
//! count once the state of the index says that the window is whole.

use std::sync::Arc;

use bytes::Bytes;
use personium_model::records::{Records, store_error};
use personium_store::{Batch, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_types::Result;
use serde::{Deserialize, Serialize};

/// The tables of the store of documents, beside those of the documents.
const INDEX: u8 = b'I';
const CHUNK: u8 = b'L';
/// The number of states and of chunks that are read at once.
const PAGE: usize = 100;
const CHUNKS: Limit = Limit::records(4).or_bytes(1 << 20);

/// How far an index was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexState {
    /// The id of the index: another index with its name has another one.
    pub uuid: String,
    /// The changes that the index had when its first window was begun. As long as they are the same, nothing in it has changed.
    pub changes: String,
    /// The number of windows that were read.
    pub windows: u32,
    /// Where the next window begins: a time of creation, milliseconds since 1970.
    pub next: i64,
    /// The number of documents in these windows.
    pub documents: u64,
    /// Whether there are no more windows.
    pub is_whole: bool,
}

/// The indexes that were read.
#[derive(Clone)]
pub struct Downloads {
    store: Arc<dyn RecordStore>,
    records: Records,
}

/// The chunks of an index.
pub struct DownloadedChunks {
    store: Arc<dyn RecordStore>,
    rest: Option<KeyRange>,
    page: std::vec::IntoIter<(Key, Bytes)>,
}

fn chunks_of(index: &str) -> KeyRange {
    KeyRange::prefix(&Key::table(CHUNK).text(index).build())
}

impl Downloads {
    pub(super) fn new(store: Arc<dyn RecordStore>, records: Records) -> Self {
        Self { store, records }
    }

    /// How far an index was read, if it was begun.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn state(&self, index: &str) -> Result<Option<IndexState>> {
        let key = Key::table(INDEX).text(index).build();
        let found = self.records.find(&key).await?;
        Ok(found.map(|found| found.value))
    }

    /// Notes how far an index was read.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn set_state(&self, index: &str, state: &IndexState) -> Result<()> {
        let mut batch = Batch::new();
        let key = Key::table(INDEX).text(index).build();
        personium_model::records::put(&mut batch, key, state)?;
        let stored = self.records.commit(batch).await;
        stored.map_err(store_error).map(drop)
    }

    /// Up to 100 indexes after the one with this name, in the order of their names.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list(&self, after: Option<&str>) -> Result<Vec<(String, IndexState)>> {
        let table = Key::table(INDEX).build();
        let mut range = KeyRange::prefix(&table);
        if let Some(after) = after {
            range = range.after(&Key::table(INDEX).text(after).build());
        }
        let found = self.records.list::<IndexState>(&range, Direction::Up, PAGE);
        let name = |key: &Key| personium_model::keys::last_text(key, table.as_bytes().len());
        Ok(found
            .await?
            .into_iter()
            .filter_map(|(key, found)| Some((name(&key)?, found.value)))
            .collect())
    }

    /// Stores a chunk of a window.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn add(
        &self,
        index: &str,
        (window, number): (u32, u64),
        chunk: Vec<u8>,
    ) -> Result<()> {
        let key = Key::table(CHUNK).text(index).u64(window.into()).u64(number);
        let mut batch = Batch::new();
        batch.put(key.build(), chunk);
        let stored = self.records.commit(batch).await;
        stored.map_err(store_error).map(drop)
    }

    /// Removes the chunks of a window that was not read to its end.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn remove_window(&self, index: &str, window: u32) -> Result<()> {
        let window = Key::table(CHUNK).text(index).u64(window.into()).build();
        self.records.remove_range(&KeyRange::prefix(&window)).await
    }

    /// Removes an index.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn remove(&self, index: &str) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(Key::table(INDEX).text(index).build());
        self.records.commit(batch).await.map_err(store_error)?;
        self.records.remove_range(&chunks_of(index)).await
    }

    /// The chunks of an index, in the order in which they were read.
    #[must_use]
    pub fn chunks(&self, index: &str) -> DownloadedChunks {
        DownloadedChunks {
            store: Arc::clone(&self.store),
            rest: Some(chunks_of(index)),
            page: Vec::new().into_iter(),
        }
    }
}

impl DownloadedChunks {
    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some((_, chunk)) = self.page.next() {
                return Ok(Some(chunk));
            }
            let Some(range) = self.rest.take() else {
                return Ok(None);
            };
            let found = self.store.scan(&Space::Unit, &range, Direction::Up, CHUNKS);
            let found = found.await.map_err(store_error)?.value;
            let Some((last, _)) = found.last() else {
                return Ok(None);
            };
            self.rest = Some(range.after(last));
            let values = found.into_iter().map(|(key, record)| (key, record.value));
            self.page = values.collect::<Vec<_>>().into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryRecords;

    use super::*;

    async fn content(downloads: &Downloads, index: &str) -> Vec<Bytes> {
        let mut chunks = downloads.chunks(index);
        let mut out = Vec::new();
        while let Some(chunk) = chunks.next().await.unwrap() {
            out.push(chunk);
        }
        out
    }

    #[tokio::test]
    async fn indexes_are_kept_apart_and_unfinished_windows_removed() {
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new());
        store.create_space(&Space::Unit).await.unwrap();
        let records = Records::new(Arc::clone(&store), Space::Unit);
        let downloads = Downloads::new(store, records);
        let mut state = IndexState {
            uuid: "u".to_owned(),
            ..IndexState::default()
        };
        for index in ["a", "ab"] {
            for window in 0..3 {
                for number in 0..5 {
                    let chunk = format!("{index}{window}{number}").into_bytes();
                    let added = downloads.add(index, (window, number), chunk);
                    added.await.unwrap();
                }
            }
            state.windows += 1;
            downloads.set_state(index, &state).await.unwrap();
        }
        assert_eq!(content(&downloads, "a").await.len(), 15);
        downloads.remove_window("a", 2).await.unwrap();
        assert_eq!(content(&downloads, "a").await.last().unwrap(), "a14");
        let names = downloads.list(None).await.unwrap();
        assert_eq!(names.len(), 2);
        assert_eq!(
            downloads.list(Some("a")).await.unwrap(),
            [("ab".to_owned(), state)]
        );
        downloads.remove("a").await.unwrap();
        assert!(content(&downloads, "a").await.is_empty());
        assert_eq!(downloads.state("a").await.unwrap(), None);
        assert_eq!(content(&downloads, "ab").await.len(), 15);
    }
}
