//! A snapshot that is imported, read on threads that may block.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_archive::snapshot::{self, Document, Snapshot, SnapshotManifest};
use personium_archive::{ArchiveLimits, BarEntry, BarError};
use personium_model::file::FileContent;
use personium_model::node::{Node, NodeKind};
use personium_model::records::{Records, store_error};
use personium_model::temp_file::{self, TempFile};
use personium_model::temp_folder::TempFolder;
use personium_model::{BlobReader, Unit, keys};
use personium_types::error::chain;
use personium_types::{Code, Error, Result};
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use crate::cell_export::{MAX_SNAPSHOT_ENTRIES, SNAPSHOT_SUFFIX};
use crate::export::open_current;

/// The size of the chunks of files.
const CHUNK_BYTES: usize = 256 << 10;
/// The largest size of all entries together, as a multiple of the size of the snapshot, and beyond that.
const MAX_EXPANSION_RATIO: u64 = 100;
const MIN_EXPANDED_BYTES: u64 = 64 << 20;
/// The largest entry that is read as a whole, and the largest line of a file of documents.
const MAX_WHOLE_BYTES: u64 = 16 << 20;

/// A snapshot that was opened. Its version and its required entries were checked.
pub(crate) struct SnapshotPackage {
    snapshot: Arc<Mutex<Snapshot<File>>>,
    entries: Vec<BarEntry>,
    folder: TempFolder,
    /// The manifest.
    pub manifest: SnapshotManifest,
    /// The document of the cell.
    pub cell: Document,
}

/// Reads the lines of an entry.
pub(crate) struct LineReader {
    file: TempFile,
    name: String,
    at: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl SnapshotPackage {
    /// Opens a snapshot of a cell.
    ///
    /// # Errors
    /// [`Code::NoSuchResource`] if there is none with this name; [`Code::SnapshotUnreadable`], [`Code::RequestJson`],
    /// [`Code::SnapshotVersion`] or [`Code::SnapshotEntry`] if it is not a valid one; failures of the store.
    pub async fn open(unit: &Unit, records: &Records, name: &str) -> Result<Self> {
        let file_name = format!("{name}{SNAPSHOT_SUFFIX}");
        let missing = || Error::new(Code::NoSuchResource).with(file_name.as_str());
        let key = keys::node(&keys::SNAPSHOT_FOLDER, &file_name);
        let found = records.find::<Node>(&key).await?.ok_or_else(missing)?;
        if found.value.kind != NodeKind::File {
            return Err(missing());
        }
        let opened = open_current(unit, records, (&key, found.value), |_| Ok(())).await?;
        let (_, _, content) = opened.ok_or_else(missing)?;
        let folder = unit.settings().archives.temp_dir.clone();
        let file = spool(&folder, content).await?.into_file()?;
        let opened = spawn_blocking(move || {
            let bytes = file.metadata().map_err(temp_file::failure)?.len();
            let expanded = bytes.saturating_mul(MAX_EXPANSION_RATIO);
            let limits = ArchiveLimits {
                max_entry_bytes: u64::MAX,
                max_entries: MAX_SNAPSHOT_ENTRIES,
                max_total_bytes: expanded.max(MIN_EXPANDED_BYTES),
            };
            Snapshot::open(file, limits).map_err(refusal)
        });
        let opened = opened.await.map_err(Error::internal)??;
        let mut package = Self {
            entries: opened.entries().to_vec(),
            snapshot: Arc::new(Mutex::new(opened)),
            folder,
            manifest: SnapshotManifest {
                export_version: snapshot::VERSION.into(),
                unit_url: None,
                create_date: None,
            },
            cell: Document::default(),
        };
        package.check_manifest().await?;
        package.check_described()?;
        package.cell = package.read_json(&package.get(snapshot::CELL)?).await?;
        Ok(package)
    }

    async fn check_manifest(&mut self) -> Result<()> {
        let bytes = self.read(&self.get(snapshot::MANIFEST)?).await?;
        let manifest: SnapshotManifest = serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(Code::RequestJson).with_source(error))?;
        if manifest.export_version.as_i64() != Some(snapshot::VERSION) {
            let actual = manifest.export_version.to_string();
            let actual: String = actual.chars().take(40).collect();
            let error = Error::new(Code::SnapshotVersion).with(snapshot::VERSION.to_string());
            return Err(error.with(actual));
        }
        self.manifest = manifest;
        for (_, path) in snapshot::DOCUMENTS {
            self.get(path)?;
        }
        Ok(())
    }

    /// Checks that the cell, its main box, and all folders that have something have a description: without it, their access control
    /// and properties would be lost.
    fn check_described(&self) -> Result<()> {
        let names: HashSet<&str> = self.entries.iter().map(BarEntry::name).collect();
        let main_box = format!(
            "{}/{}/{}",
            snapshot::TREE,
            snapshot::MAIN_BOX,
            snapshot::META
        );
        let mut wanted = BTreeSet::from([snapshot::CELL_META.to_owned(), main_box]);
        for name in &names {
            let mut path = *name;
            while let Some((folder, _)) = path.rsplit_once('/') {
                let below = folder.strip_prefix(snapshot::TREE);
                let is_in_tree = below.is_some_and(|it| it.is_empty() || it.starts_with('/'));
                if !is_in_tree || !wanted.insert(format!("{folder}/{}", snapshot::META)) {
                    break;
                }
                path = folder;
            }
        }
        match wanted
            .into_iter()
            .find(|name| !names.contains(name.as_str()))
        {
            Some(missing) => Err(Error::new(Code::SnapshotEntry).with(missing)),
            None => Ok(()),
        }
    }

    /// All files, in the order of the archive.
    pub fn entries(&self) -> &[BarEntry] {
        &self.entries
    }

    /// The entry with this name.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if there is none.
    pub fn get(&self, name: &str) -> Result<BarEntry> {
        let found = self.entries.iter().find(|entry| entry.name() == name);
        found
            .cloned()
            .ok_or_else(|| Error::new(Code::SnapshotEntry).with(name))
    }

    /// Reads and parses an entry of at most 16 MiB.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`]
    pub async fn read_json<T: DeserializeOwned>(&self, entry: &BarEntry) -> Result<T> {
        let bytes = self.read(entry).await?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(entry.name(), error))
    }

    async fn read(&self, entry: &BarEntry) -> Result<Vec<u8>> {
        if entry.size() > MAX_WHOLE_BYTES {
            return Err(invalid(entry.name(), "it is too large"));
        }
        let (snapshot, wanted) = (Arc::clone(&self.snapshot), entry.clone());
        let read = spawn_blocking(move || {
            let mut bytes = Vec::new();
            let copied = snapshot.lock().copy(&wanted, &mut bytes);
            copied.map(|()| bytes)
        });
        let read = read.await.map_err(Error::internal)?;
        read.map_err(|error| invalid(entry.name(), error))
    }

    /// Writes the content of an entry to a temporary file.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if it is damaged; [`Code::StorageFull`].
    pub async fn extract(&self, entry: &BarEntry) -> Result<TempFile> {
        let mut file = TempFile::create(&self.folder).await?.into_file()?;
        let (snapshot, wanted) = (Arc::clone(&self.snapshot), entry.clone());
        let copied = spawn_blocking(move || {
            use personium_archive::ReadError;
            match snapshot.lock().copy(&wanted, &mut file) {
                Ok(()) => TempFile::of_written(file),
                Err(ReadError::Io(error)) => Err(temp_file::failure(error)),
                Err(damaged) => Err(invalid(wanted.name(), damaged)),
            }
        });
        copied.await.map_err(Error::internal)?
    }

    /// The lines of an entry.
    ///
    /// # Errors
    /// As [`Self::extract`].
    pub async fn lines(&self, name: &str) -> Result<LineReader> {
        let entry = self.get(name)?;
        Ok(LineReader {
            file: self.extract(&entry).await?,
            name: name.to_owned(),
            at: 0,
            buffer: Vec::new(),
            start: 0,
        })
    }
}

impl LineReader {
    /// The document in the next line; `None` after the last. Empty lines are skipped.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if a line is no document or has more than 16 MiB.
    pub async fn next(&mut self) -> Result<Option<Document>> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let (line, next) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (rest.get(..end).unwrap_or_default(), self.start + end + 1),
                None if self.at >= self.file.length() => (rest, self.buffer.len()),
                None => {
                    self.fill().await?;
                    continue;
                }
            };
            if line.iter().all(u8::is_ascii_whitespace) {
                if next >= self.buffer.len() && self.at >= self.file.length() {
                    return Ok(None);
                }
                self.start = next;
                continue;
            }
            let document =
                serde_json::from_slice(line).map_err(|error| invalid(&self.name, error))?;
            self.start = next;
            return Ok(Some(document));
        }
    }

    /// Reads more of the file, and forgets the lines that were read.
    async fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.len() as u64 > MAX_WHOLE_BYTES {
            return Err(invalid(&self.name, "a line is too long"));
        }
        let read = self.file.read_at(self.at, CHUNK_BYTES).await;
        let chunk = read.map_err(store_error)?;
        if chunk.is_empty() {
            return Err(Error::internal("a temporary file has become shorter"));
        }
        self.at += chunk.len() as u64;
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }
}

/// Writes the content of a stored file to a temporary one.
async fn spool(folder: &TempFolder, mut content: FileContent) -> Result<TempFile> {
    let mut file = TempFile::create(folder).await?;
    let mut at = 0;
    while let Some(chunk) = content.chunk_at(at).await? {
        at += chunk.len() as u64;
        file.append(chunk).await?;
    }
    Ok(file)
}

/// The error for an entry that is not valid.
pub(crate) fn invalid(
    entry: &str,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new(Code::SnapshotEntry)
        .with(entry)
        .with_source(reason)
}

/// Why something is not valid, for people who know that it is of the kind or has the path `place`.
#[must_use]
pub fn reason_of(error: &Error, place: &str) -> String {
    let source = std::error::Error::source(error);
    match (error.code(), error.params().first(), source) {
        (Code::SnapshotEntry, Some(entry), Some(source)) => {
            let text = chain(source);
            match entry == place || entry.starts_with(snapshot::DOCUMENT_FOLDER) {
                true => text,
                false => format!("{entry}: {text}"),
            }
        }
        _ => chain(error),
    }
}

fn refusal(error: BarError) -> Error {
    match error {
        BarError::Io(error) => temp_file::failure(error),
        BarError::Missing(names) => {
            let first = names.first().cloned().unwrap_or_default();
            Error::new(Code::SnapshotEntry).with(first)
        }
        other => Error::new(Code::SnapshotUnreadable).with(other.to_string()),
    }
}
