//! A cell of a unit that is migrated.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{Context, SHA256};
use personium_archive::snapshot::{self, NodeMeta};
use personium_types::{Result, Secret, hex};
use tokio::fs;

use super::body::{BodyEncryption, BodyReader};
use super::documents::{CollectedCell, DocumentPages, Documents};
use super::files::{CellFolders, OriginalFiles};
use super::tree::{TreeWalk, read_small};
use crate::snapshot_package::invalid;

/// The documents and files of a cell.
pub(crate) struct OriginalCell {
    documents: Documents,
    /// Its entry.
    pub cell: CollectedCell,
    /// Its folders.
    pub folders: CellFolders,
    secret: Option<Secret<String>>,
}

impl OriginalCell {
    /// Finds the folders of a cell.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if one cannot be used.
    pub async fn find(
        documents: &Documents,
        files: &OriginalFiles,
        cell: CollectedCell,
    ) -> Result<Self> {
        Ok(Self {
            folders: files.of_cell(&cell.document).await?,
            documents: documents.clone(),
            cell,
            secret: files.secret.clone(),
        })
    }

    /// The documents in an entry of [`snapshot::DOCUMENTS`].
    pub fn documents(&self, path: &str) -> DocumentPages {
        self.documents.of_cell(&self.cell.id, path)
    }

    /// The description of the cell as a resource; `None` if it has none.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is not valid.
    pub async fn cell_meta(&self) -> Result<Option<NodeMeta>> {
        match &self.folders.dav {
            Some(folder) => self.read_meta(snapshot::CELL_META, folder).await,
            None => Ok(None),
        }
    }

    /// The boxes, collections and files.
    pub fn walk(&self) -> TreeWalk {
        let main_box = (self.cell.id.clone(), snapshot::MAIN_BOX);
        TreeWalk::new(self.folders.dav.clone(), main_box)
    }

    /// The snapshots.
    pub fn walk_snapshots(&self) -> TreeWalk {
        TreeWalk::new(self.folders.snapshots.clone(), (String::new(), ""))
    }

    /// The description in a folder; `None` if it has none.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is not valid.
    pub async fn read_meta(&self, path: &str, folder: &Path) -> Result<Option<NodeMeta>> {
        match read_small(path, &folder.join(snapshot::META)).await? {
            None => Ok(None),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| invalid(path, error)),
        }
    }

    /// Opens the content of the file in a folder; `None` if it has none.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it cannot be read, or is encrypted in an unknown way.
    pub async fn open_content(
        &self,
        (path, folder): (&str, &Path),
        meta: &NodeMeta,
    ) -> Result<Option<BodyReader>> {
        let encryption = match (meta.encryption.as_deref(), &self.secret) {
            (None | Some("NONE"), _) => None,
            (Some("AES"), Some(secret)) => Some(BodyEncryption {
                secret,
                cell: &self.cell.id,
            }),
            (Some("AES"), None) => {
                return Err(invalid(
                    path,
                    "it is encrypted, and security.secret16 is not known",
                ));
            }
            (Some(_), _) => return Err(invalid(path, "it is encrypted in an unknown way")),
        };
        let content = folder.join(snapshot::CONTENT);
        BodyReader::open((path, &content), meta.length, encryption).await
    }

    /// A checksum that changes whenever the cell does: of its documents, and of the descriptions, lengths and times of its files.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn fingerprint(&self) -> Result<String> {
        let mut sum = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            sum.update(&(part.len() as u64).to_le_bytes());
            sum.update(part);
        };
        let document = serde_json::to_vec(&self.cell.document);
        add(&document.unwrap_or_default());
        let mut pages = self.documents.all_of_cell(&self.cell.id);
        while let Some((key, value)) = pages.next_record().await? {
            add(key.as_bytes());
            add(&value);
        }
        let mut files = FileSum::default();
        let CellFolders {
            dav,
            event_log,
            snapshots,
        } = &self.folders;
        for folder in [dav, event_log, snapshots].into_iter().flatten() {
            files.add_tree(folder.clone()).await;
        }
        add(&files.sum);
        let digest = sum.finish();
        Ok(hex::encode(digest.as_ref()))
    }
}

/// The sum of the checksums of files, which does not depend on their order.
#[derive(Default)]
struct FileSum {
    sum: [u8; 32],
}

impl FileSum {
    /// Adds all files below a folder. Those that cannot be read count as what they are called.
    async fn add_tree(&mut self, root: PathBuf) {
        let mut stack: Vec<fs::ReadDir> = fs::read_dir(&root).await.into_iter().collect();
        while let Some(folder) = stack.last_mut() {
            let Ok(Some(entry)) = folder.next_entry().await else {
                stack.pop();
                continue;
            };
            let path = entry.path();
            let Ok(found) = fs::symlink_metadata(&path).await else {
                continue;
            };
            if found.is_dir() {
                stack.extend(fs::read_dir(&path).await);
                continue;
            }
            self.add_file(&path, &found).await;
        }
    }

    async fn add_file(&mut self, path: &Path, found: &Metadata) {
        let mut sum = Context::new(&SHA256);
        sum.update(path.as_os_str().as_encoded_bytes());
        sum.update(&found.len().to_le_bytes());
        let changed = found.modified().ok();
        let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        sum.update(&changed.map_or(0, |at| at.as_nanos()).to_le_bytes());
        if path.file_name().is_some_and(|name| name == snapshot::META) {
            let meta = read_small(snapshot::META, path).await;
            sum.update(&meta.ok().flatten().unwrap_or_default());
        }
        for (total, byte) in self.sum.iter_mut().zip(sum.finish().as_ref()) {
            *total = total.wrapping_add(*byte);
        }
    }
}
