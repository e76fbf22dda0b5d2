//! Sources of the content of a cell: a snapshot, or a cell of a unit that is migrated.

use std::collections::BTreeMap;

use bytes::Bytes;
use personium_archive::BarEntry;
use personium_archive::snapshot::{self, Document, NodeMeta};
use personium_model::BlobReader;
use personium_model::records::store_error;
use personium_model::temp_file::TempFile;
use personium_types::Result;

use crate::original::{BodyReader, DocumentPages, OriginalCell, TreeWalk};
use crate::snapshot_package::{LineReader, SnapshotPackage, invalid};

/// The size of the chunks of files.
const CHUNK_BYTES: usize = 256 << 10;

/// The content of a cell.
pub(crate) enum CellSource {
    /// A snapshot.
    Snapshot(SnapshotPackage),
    /// A cell of a unit that is migrated.
    Original(OriginalCell),
}

/// Reads documents.
pub(crate) enum DocumentReader {
    /// The lines of an entry of a snapshot.
    Lines(LineReader),
    /// Documents that were collected.
    Pages(DocumentPages),
}

/// Reads the folders of a tree, each after the one that it is in.
pub(crate) enum Folders {
    /// Those of a snapshot.
    Snapshot(std::collections::btree_map::IntoIter<(usize, String), SnapshotFolder>),
    /// Those of a folder.
    Walk(TreeWalk),
}

/// The entries of a folder of a snapshot.
#[derive(Default)]
pub(crate) struct SnapshotFolder {
    meta: Option<BarEntry>,
    content: Option<BarEntry>,
}

/// A box, collection or file.
pub(crate) struct SourceFolder {
    /// Its path: the id of its box, or that of the main box of snapshots, and the names below.
    pub path: String,
    place: FolderPlace,
}

enum FolderPlace {
    Snapshot(SnapshotFolder),
    Path(std::path::PathBuf),
}

/// Reads the content of a file.
pub(crate) enum Content {
    /// A file that was extracted, and how much of it was read.
    Extracted(TempFile, u64),
    /// A file of the unit that is migrated.
    Body(BodyReader),
}

impl CellSource {
    /// The documents of an entry of [`snapshot::DOCUMENTS`].
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is damaged; failures of the store.
    pub async fn lines(&self, path: &str) -> Result<DocumentReader> {
        match self {
            Self::Snapshot(package) => package.lines(path).await.map(DocumentReader::Lines),
            Self::Original(cell) => Ok(DocumentReader::Pages(cell.documents(path))),
        }
    }

    /// The description of the cell as a resource; `None` if it has none.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is not valid.
    pub async fn cell_meta(&self) -> Result<Option<NodeMeta>> {
        match self {
            Self::Snapshot(package) => match package.get(snapshot::CELL_META) {
                Ok(entry) => package.read_json(&entry).await.map(Some),
                Err(_) => Ok(None),
            },
            Self::Original(cell) => cell.cell_meta().await,
        }
    }

    /// The boxes, collections and files.
    pub fn folders(&self) -> Folders {
        match self {
            Self::Snapshot(package) => Folders::Snapshot(snapshot_folders(package).into_iter()),
            Self::Original(cell) => Folders::Walk(cell.walk()),
        }
    }

    /// The description of a box, collection or file.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is missing or not valid.
    pub async fn read_meta(&self, folder: &SourceFolder) -> Result<NodeMeta> {
        let missing = || invalid(&folder.path, "it has no description");
        match (self, &folder.place) {
            (Self::Snapshot(package), FolderPlace::Snapshot(found)) => {
                package
                    .read_json(found.meta.as_ref().ok_or_else(missing)?)
                    .await
            }
            (Self::Original(cell), FolderPlace::Path(path)) => {
                let found = cell.read_meta(&folder.path, path).await?;
                found.ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    /// Opens the content of a file.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is missing, damaged or encrypted in an unknown way;
    /// [`Code::StorageFull`](personium_types::Code::StorageFull).
    pub async fn open_content(&self, folder: &SourceFolder, meta: &NodeMeta) -> Result<Content> {
        let missing = || invalid(&folder.path, "it has no content");
        match (self, &folder.place) {
            (Self::Snapshot(package), FolderPlace::Snapshot(found)) => {
                let content = found.content.as_ref().ok_or_else(missing)?;
                if !matches!(meta.encryption.as_deref(), None | Some("NONE")) {
                    return Err(invalid(content.name(), "it is encrypted"));
                }
                let extracted = package.extract(content).await?;
                Ok(Content::Extracted(extracted, 0))
            }
            (Self::Original(cell), FolderPlace::Path(path)) => {
                let opened = cell.open_content((&folder.path, path), meta).await?;
                opened.map(Content::Body).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }
}

impl DocumentReader {
    /// The next document; `None` after the last.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is none; failures of the store.
    pub async fn next(&mut self) -> Result<Option<Document>> {
        match self {
            Self::Lines(lines) => lines.next().await,
            Self::Pages(pages) => pages.next().await,
        }
    }
}

impl Folders {
    /// The next folder; `None` after the last.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) for a folder that cannot be read; it is left out.
    pub async fn next(&mut self) -> Result<Option<SourceFolder>> {
        match self {
            Self::Snapshot(folders) => Ok(folders.next().map(|((_, path), found)| SourceFolder {
                path,
                place: FolderPlace::Snapshot(found),
            })),
            Self::Walk(walk) => {
                let found = walk.next().await?;
                Ok(found.map(|(path, found)| SourceFolder {
                    path,
                    place: FolderPlace::Path(found),
                }))
            }
        }
    }
}

impl Content {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if the content is damaged; failures of the store.
    pub async fn next_chunk(&mut self) -> Result<Bytes> {
        match self {
            Self::Extracted(file, at) => {
                if *at >= file.length() {
                    return Ok(Bytes::new());
                }
                let chunk = file.read_at(*at, CHUNK_BYTES).await.map_err(store_error)?;
                if chunk.is_empty() {
                    return Err(invalid(snapshot::CONTENT, "it has become shorter"));
                }
                *at += chunk.len() as u64;
                Ok(chunk)
            }
            Self::Body(body) => body.next_chunk().await,
        }
    }
}

/// The folders below that of the tree, by their depth and path.
fn snapshot_folders(package: &SnapshotPackage) -> BTreeMap<(usize, String), SnapshotFolder> {
    let mut folders: BTreeMap<(usize, String), SnapshotFolder> = BTreeMap::new();
    for entry in package.entries() {
        let below = entry.name().strip_prefix(snapshot::TREE);
        let Some(below) = below.and_then(|below| below.strip_prefix('/')) else {
            continue;
        };
        let Some((path, name)) = below.rsplit_once('/') else {
            continue;
        };
        let depth = path.matches('/').count();
        let folder = folders.entry((depth, path.to_owned())).or_default();
        match name {
            snapshot::META => folder.meta = Some(entry.clone()),
            snapshot::CONTENT => folder.content = Some(entry.clone()),
            _ => {}
        }
    }
    folders
}
