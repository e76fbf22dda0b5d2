//! The documents of a unit, collected from its search engine or an export of that, and sorted by cells.
//!
//! They are records of a store of their own, so that their number does not matter. What was migrated is noted there too.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use personium_archive::snapshot::{self, Document};
use personium_model::records::{self, Records, store_error};
use personium_store::{Batch, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_types::{CellId, Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::comparison_notes::ComparisonNotes;
use super::downloads::Downloads;
use crate::snapshot_package::invalid;

/// The kind of the documents of cells.
const CELL: &str = "Cell";
/// The tables of the store.
const DOCUMENT: u8 = b'D';
const CELL_DOCUMENT: u8 = b'C';
const STATE: u8 = b'S';
const OWNER: u8 = b'O';
/// The number and size of the documents of one commit.
const COMMIT_DOCUMENTS: usize = 1_000;
const COMMIT_BYTES: usize = 4 << 20;
/// The limits of one page.
const PAGE: Limit = Limit::records(200).or_bytes(1 << 20);
/// The largest length of an id.
const MAX_ID_CHARS: usize = 100;

/// The numbers of documents by their indexes.
pub type DocumentCounts = BTreeMap<String, u64>;

/// The collected documents.
#[derive(Clone)]
pub struct Documents {
    store: Arc<dyn RecordStore>,
    records: Records,
}

/// A cell of the unit.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedCell {
    /// Its id there.
    pub id: String,
    /// Its document.
    pub(crate) document: Document,
}

/// The state of a cell that was migrated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CellState {
    /// Its id here.
    pub cell: CellId,
    /// The checksum of what was migrated.
    pub fingerprint: String,
    /// The objects that were left out: kind or path, id, reason.
    pub refused: Vec<(String, String, String)>,
    /// The number of all that was left out.
    pub refusals: u64,
}

/// The members of a document that say where it belongs.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_version", default)]
    version: Option<u64>,
}

/// Collects documents.
pub struct DocumentCollector {
    records: Records,
    prefix: String,
    batch: Batch,
    documents: usize,
    bytes: usize,
    counts: DocumentCounts,
}

/// Reads the documents of one kind of a cell.
pub(crate) struct DocumentPages {
    store: Arc<dyn RecordStore>,
    rest: Option<KeyRange>,
    page: std::vec::IntoIter<(Key, Bytes)>,
}

impl Documents {
    /// The documents in a store of their own.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn open(store: Arc<dyn RecordStore>) -> Result<Self> {
        store
            .create_space(&Space::Unit)
            .await
            .map_err(store_error)?;
        Ok(Self {
            records: Records::new(Arc::clone(&store), Space::Unit),
            store,
        })
    }

    /// Forgets the documents that were collected before, and begins to collect those of the indexes whose names begin with
    /// `{prefix}_`.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn collect(&self, prefix: &str) -> Result<DocumentCollector> {
        for table in [DOCUMENT, CELL_DOCUMENT] {
            let range = KeyRange::prefix(&Key::table(table).build());
            self.records.remove_range(&range).await?;
        }
        Ok(DocumentCollector {
            records: self.records.clone(),
            prefix: format!("{prefix}_"),
            batch: Batch::new(),
            documents: 0,
            bytes: 0,
            counts: DocumentCounts::new(),
        })
    }

    /// The indexes that were read from the search engine, in the same store.
    #[must_use]
    pub fn downloads(&self) -> Downloads {
        Downloads::new(Arc::clone(&self.store), self.records.clone())
    }

    /// Up to 200 cells after the one with this id, in the order of their ids.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_cells(&self, after: Option<&str>) -> Result<Vec<CollectedCell>> {
        let mut range = KeyRange::prefix(&Key::table(CELL_DOCUMENT).build());
        if let Some(after) = after {
            range = range.after(&Key::table(CELL_DOCUMENT).text(after).build());
        }
        let found = scan(&*self.store, &range).await?;
        found
            .into_iter()
            .map(|(_, value)| {
                let document = decode(&value)?;
                Ok(CollectedCell {
                    id: document.id.clone(),
                    document,
                })
            })
            .collect()
    }

    /// The number of cells.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn count_cells(&self) -> Result<u64> {
        let range = KeyRange::prefix(&Key::table(CELL_DOCUMENT).build());
        self.records.count(&range).await
    }

    /// Whether there is a cell with this id.
    pub(crate) async fn has_cell(&self, id: &str) -> Result<bool> {
        let key = Key::table(CELL_DOCUMENT).text(id).build();
        Ok(self.records.find_bytes(&key).await?.is_some())
    }

    /// The documents of a cell that are in an entry of [`snapshot::DOCUMENTS`], in the order of their collections and times.
    pub(crate) fn of_cell(&self, cell: &str, path: &str) -> DocumentPages {
        let kind = snapshot::DOCUMENTS
            .iter()
            .position(|(_, known)| *known == path);
        let kind = kind.and_then(|kind| u8::try_from(kind).ok());
        self.pages(kind.map(|kind| Key::table(DOCUMENT).text(cell).byte(kind).build()))
    }

    fn pages(&self, prefix: Option<Key>) -> DocumentPages {
        DocumentPages {
            store: Arc::clone(&self.store),
            rest: prefix.map(|prefix| KeyRange::prefix(&prefix)),
            page: Vec::new().into_iter(),
        }
    }

    /// All records of a cell, for its checksum.
    pub(crate) fn all_of_cell(&self, cell: &str) -> DocumentPages {
        self.pages(Some(Key::table(DOCUMENT).text(cell).build()))
    }

    /// The notes of a comparison, of which one runs at a time.
    pub(crate) async fn notes(&self) -> Result<ComparisonNotes> {
        ComparisonNotes::begin(&self.records).await
    }

    /// The state of a cell, if it was migrated.
    pub(crate) async fn state(&self, cell: &str) -> Result<Option<CellState>> {
        let key = Key::table(STATE).text(cell).build();
        let found = self.records.find(&key).await?;
        Ok(found.map(|found| found.value))
    }

    /// Notes what was migrated of a cell.
    pub(crate) async fn set_state(&self, cell: &str, state: &CellState) -> Result<()> {
        let mut batch = Batch::new();
        records::put(&mut batch, Key::table(STATE).text(cell).build(), state)?;
        batch.put(owner_key(&state.cell), cell.as_bytes().to_vec());
        self.records
            .commit(batch)
            .await
            .map_err(store_error)
            .map(drop)
    }

    /// The cell there that a cell here was migrated from.
    pub(crate) async fn origin(&self, cell: &CellId) -> Result<Option<String>> {
        let found = self.records.find_bytes(&owner_key(cell)).await?;
        Ok(found.and_then(|found| String::from_utf8(found.to_vec()).ok()))
    }

    /// Forgets a cell.
    pub(crate) async fn remove_state(&self, cell: &str, here: &CellId) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(Key::table(STATE).text(cell).build());
        batch.delete(owner_key(here));
        self.records
            .commit(batch)
            .await
            .map_err(store_error)
            .map(drop)
    }

    /// Up to 200 cells of which something was migrated, after the one with this id.
    pub(crate) async fn list_states(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<(String, CellState)>> {
        let table = Key::table(STATE).build();
        let mut range = KeyRange::prefix(&table);
        if let Some(after) = after {
            range = range.after(&Key::table(STATE).text(after).build());
        }
        let found = self
            .records
            .list::<CellState>(&range, Direction::Up, PAGE.records)
            .await?;
        let id = |key: &Key| personium_model::keys::last_text(key, table.as_bytes().len());
        Ok(found
            .into_iter()
            .filter_map(|(key, found)| Some((id(&key)?, found.value)))
            .collect())
    }
}

/// The first records of a range: 200, or those of 1 MiB.
async fn scan(store: &dyn RecordStore, range: &KeyRange) -> Result<Vec<(Key, Bytes)>> {
    let found = store.scan(&Space::Unit, range, Direction::Up, PAGE).await;
    let found = found.map_err(store_error)?.value.into_iter();
    Ok(found.map(|(key, record)| (key, record.value)).collect())
}

fn owner_key(cell: &CellId) -> Key {
    Key::table(OWNER).fixed(cell.as_bytes()).build()
}

impl DocumentCollector {
    /// Adds a document: a JSON object with `_index`, `_id`, `_version` and `_source`. Those of other indexes are ignored.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if it is no document of a unit; failures of the store.
    pub async fn add(&mut self, line: &[u8]) -> Result<()> {
        const PLACE: &str = "documents";
        let envelope: Envelope =
            serde_json::from_slice(line).map_err(|error| invalid(PLACE, error))?;
        if !envelope.index.starts_with(&self.prefix) {
            return Ok(());
        }
        let document: Document =
            serde_json::from_slice(line).map_err(|error| invalid(PLACE, error))?;
        let key = key(&document)?;
        *self.counts.entry(envelope.index).or_default() += 1;
        let version = envelope.version.unwrap_or(1);
        let mut value = version.to_le_bytes().to_vec();
        value.extend_from_slice(line.trim_ascii());
        self.bytes += value.len();
        self.documents += 1;
        self.batch.put(key, value);
        match self.documents >= COMMIT_DOCUMENTS || self.bytes >= COMMIT_BYTES {
            true => self.commit().await,
            false => Ok(()),
        }
    }

    async fn commit(&mut self) -> Result<()> {
        (self.documents, self.bytes) = (0, 0);
        let batch = std::mem::take(&mut self.batch);
        self.records
            .commit(batch)
            .await
            .map_err(store_error)
            .map(drop)
    }

    /// Ends the collection. Returns how many documents each index had.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn finish(mut self) -> Result<DocumentCounts> {
        self.commit().await?;
        Ok(self.counts)
    }
}

/// The key of a document.
fn key(document: &Document) -> Result<Key> {
    let source = &document.source;
    let refused = |reason: String| Err(invalid(&document.index, reason));
    if document.id.is_empty() || document.id.len() > MAX_ID_CHARS {
        return refused("the id of a document is too long".to_owned());
    }
    let kind = match source.kind.as_str() {
        "" => document.kind.as_str(),
        kind => kind,
    };
    if kind == CELL {
        return match is_id(&document.id) {
            true => Ok(Key::table(CELL_DOCUMENT).text(&document.id).build()),
            false => refused(format!("{:?} is no id of a cell", document.id)),
        };
    }
    let Some(cell) = source.cell.as_deref().filter(|cell| is_id(cell)) else {
        return refused(format!("document {} belongs to no cell", document.id));
    };
    let known = snapshot::DOCUMENTS
        .iter()
        .position(|(known, _)| *known == kind);
    let Some(kind) = known.and_then(|kind| u8::try_from(kind).ok()) else {
        return refused(format!(
            "document {} has the unknown kind {kind:?}",
            document.id
        ));
    };
    let collection = source.collection.as_deref().unwrap_or_default();
    if collection.len() > MAX_ID_CHARS {
        return refused(format!("document {} has no valid collection", document.id));
    }
    let key = Key::table(DOCUMENT).text(cell).byte(kind).text(collection);
    Ok(key.i64(source.published).text(&document.id).build())
}

/// Whether a text can be an id: what the name of a folder is made of.
fn is_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.len() <= MAX_ID_CHARS && text.chars().all(is_plain)
}

fn decode(value: &[u8]) -> Result<Document> {
    let corrupt = || Error::new(Code::StoreCorrupt);
    let (version, line) = value.split_first_chunk::<8>().ok_or_else(corrupt)?;
    let document: Document =
        serde_json::from_slice(line).map_err(|error| corrupt().with_source(error))?;
    Ok(Document {
        version: Some(u64::from_le_bytes(*version)),
        ..document
    })
}

impl DocumentPages {
    /// The next document; `None` after the last.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next(&mut self) -> Result<Option<Document>> {
        match self.next_record().await? {
            Some((_, value)) => decode(&value).map(Some),
            None => Ok(None),
        }
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next_record(&mut self) -> Result<Option<(Key, Bytes)>> {
        loop {
            if let Some(found) = self.page.next() {
                return Ok(Some(found));
            }
            let Some(range) = self.rest.take() else {
                return Ok(None);
            };
            let found = scan(&*self.store, &range).await?;
            self.rest = match found.last() {
                Some((last, _)) => Some(range.after(last)),
                None => return Ok(None),
            };
            self.page = found.into_iter();
        }
    }
}
