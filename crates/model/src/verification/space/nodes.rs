//! Boxes, collections and files, and the bodies of files.

use personium_store::{Key, KeyRange, Record, Result};
use personium_token::at_rest::sealed_len;
use personium_types::{BlobId, NodeId};

use super::SpaceVerification;
use super::page_checks::{PageChecks, WantedRecord};
use crate::keys;
use crate::node::{FileBody, Node, NodeKind};
use crate::records::decode;
use crate::verification::names::{CollectionTree, id_at};
use crate::verification::walk::Slot;

/// A file whose body is outside of the records.
#[derive(Debug, Clone)]
pub(super) struct StoredFile {
    /// The record of the file.
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) parent: NodeId,
    pub(super) name: String,
    pub(super) blob: BlobId,
    /// The length of what is stored.
    pub(super) len: u64,
}

/// The length of the stored body of a file.
fn stored_len(file: &FileBody) -> u64 {
    match file.salt {
        Some(_) => sealed_len(file.length),
        None => file.length,
    }
}

impl SpaceVerification<'_> {
    /// Looks at a box, collection or file. Returns the file if it has a body outside of the records.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_node(
        &mut self,
        key: &Key,
        record: &Record,
        checks: &mut PageChecks,
    ) -> Result<Option<StoredFile>> {
        let parts = keys::parts_of_node(key).zip(decode::<Node>(&record.value).ok());
        let Some(((parent, name), node)) = parts else {
            self.has_damaged_nodes = true;
            self.undecodable(key).await?;
            return Ok(None);
        };
        if !self.names.tree.may_have(&parent) {
            self.lost_members.push(key.clone());
        }
        let mut want = |key_wanted: Key, problem| {
            checks.wanted.push(WantedRecord {
                source: key.clone(),
                version: record.version,
                key: key_wanted,
                value: None,
                problem,
                entity: None,
            });
        };
        if !keys::is_no_parent(&parent) && !self.has_garbage {
            want(
                keys::child_count(&parent),
                "the number of members of its folder is missing",
            );
        }
        let Some(file) = node.file.filter(|_| node.kind == NodeKind::File) else {
            return Ok(None);
        };
        let len = stored_len(&file);
        if file.inline {
            let body = keys::inline_body(&file.blob);
            want(body.clone(), "its body is missing");
            self.small_files.push(StoredFile {
                key: key.clone(),
                version: record.version,
                parent,
                name,
                blob: file.blob,
                len,
            });
            return Ok(None);
        }
        want(
            keys::blob_reference(&file.blob),
            "the reference to its body is missing",
        );
        Ok(Some(StoredFile {
            key: key.clone(),
            version: record.version,
            parent,
            name,
            blob: file.blob,
            len,
        }))
    }

    /// Compares the small bodies of the files of a page with their lengths.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn check_small_files(&mut self) -> Result<()> {
        let files = std::mem::take(&mut self.small_files);
        let bodies: Vec<Key> = files.iter().map(|f| keys::inline_body(&f.blob)).collect();
        let slots = self.names.reader.get(&bodies).await?;
        for (file, slot) in files.iter().zip(slots) {
            let problem = match slot {
                // It was reported above.
                Slot::Absent => continue,
                Slot::Present(record) if record.value.len() as u64 == file.len => continue,
                Slot::Present(_) => "its body has another length",
                Slot::Damaged => "its body is damaged",
            };
            if self.is_unchanged(file).await? {
                let name = self.names.member(&file.parent, &file.name).await;
                self.damage(name, problem.to_owned());
            }
        }
        Ok(())
    }

    /// Whether the record of a file is the one that was read before.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn is_unchanged(&self, file: &StoredFile) -> Result<bool> {
        let found = self.names.reader.get_one(&file.key).await?;
        Ok(matches!(found, Slot::Present(record) if record.version == file.version))
    }

    /// Looks at the number of members of a collection.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_child_count(&mut self, key: &Key, record: &Record) -> Result<()> {
        let Some(parent) = id_at(key, 1).filter(|_| record.value.len() == size_of::<i64>()) else {
            return self.undecodable(key).await;
        };
        if self.has_garbage {
            return Ok(());
        }
        let members: KeyRange = keys::children(&parent);
        self.check_number(key, &members).await
    }

    /// Reports members whose collection is missing, if that is so still.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn confirm_lost_members(&mut self) -> Result<()> {
        let lost = std::mem::take(&mut self.lost_members);
        if lost.is_empty() {
            return Ok(());
        }
        self.names.tree = CollectionTree::read(&self.names.reader).await?;
        if self.names.has_garbage().await? {
            return Ok(());
        }
        for key in lost {
            let is_there = matches!(self.names.reader.get_one(&key).await?, Slot::Present(_));
            let parent = keys::parts_of_node(&key).map(|(parent, _)| parent);
            if is_there && parent.is_some_and(|parent| !self.names.tree.may_have(&parent)) {
                let name = self.names.of_key(&key, &mut self.schemas).await;
                self.damage(name, "its folder is missing".to_owned());
            }
        }
        Ok(())
    }
}
