//! File bodies outside of the records.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use personium_store::{BlobStore, Key, KeyRange, Result, Space, StoreError};
use personium_types::BlobId;
use personium_types::error::chain;

use super::SpaceVerification;
use super::nodes::StoredFile;
use crate::keys;
use crate::node::Node;
use crate::records::decode;
use crate::verification::walk::Slot;

/// The number of bodies that are read at the same time.
const BODIES_AT_ONCE: usize = 4;

/// The bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The number of bodies that are listed at once.
const IDS_AT_ONCE: usize = 1_000;

/// The number of references that are compared with the files of a cell at once.
const REFERENCES_AT_ONCE: usize = 200_000;

/// The state of a body, as it is read.
enum BodyState {
    Whole,
    Wrong(String),
    Failed(StoreError),
}

impl SpaceVerification<'_> {
    /// Reads the bodies of files.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn check_bodies(&mut self, files: Vec<StoredFile>) -> Result<()> {
        let (bodies, space) = (std::sync::Arc::clone(&self.bodies), self.space);
        let reads = files.into_iter().map(|file| {
            let bodies = std::sync::Arc::clone(&bodies);
            async move {
                let state = read(&*bodies, &space, &file).await;
                (file, state)
            }
        });
        let mut reads = stream::iter(reads).buffer_unordered(BODIES_AT_ONCE);
        while let Some((file, state)) = reads.next().await {
            self.counts.bodies += 1;
            self.counts.body_bytes += file.len;
            let problem = match state {
                BodyState::Whole => continue,
                BodyState::Failed(error) => return Err(error),
                BodyState::Wrong(problem) => problem,
            };
            if self.is_unchanged(&file).await? {
                let name = self.names.member(&file.parent, &file.name).await;
                self.damage(name, format!("{problem} (file body {})", file.blob));
            }
        }
        Ok(())
    }

    /// Reports references to bodies, and small bodies, that belong to no file.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn check_references(&mut self) -> Result<()> {
        // A damaged file, or one that is being removed, may be the one they belong to.
        if self.has_damaged_nodes || self.names.has_garbage().await? {
            return Ok(());
        }
        for table in [b'B', b'R'] {
            let mut rest = KeyRange::prefix(&Key::table(table).build());
            while let Some(window) = self.next_references(&mut rest).await? {
                for blob in self.unnamed(window).await? {
                    let key = match table {
                        b'B' => keys::inline_body(&blob),
                        _ => keys::blob_reference(&blob),
                    };
                    // A file that was replaced meanwhile is gone together with it.
                    let is_there =
                        matches!(self.names.reader.get_one(&key).await?, Slot::Present(_));
                    if is_there && !self.unnamed(HashSet::from([blob])).await?.is_empty() {
                        let name = self.names.of_key(&key, &mut self.schemas).await;
                        self.orphan(name, "it belongs to no file".to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    async fn next_references(&self, rest: &mut KeyRange) -> Result<Option<HashSet<BlobId>>> {
        let mut window = HashSet::new();
        while window.len() < REFERENCES_AT_ONCE {
            let Some(page) = self.names.reader.next_page(rest).await? else {
                break;
            };
            let ids = page.records.iter().filter_map(|(key, _)| {
                let id = key.as_bytes().get(1..)?;
                id.try_into().ok().map(BlobId::from_bytes)
            });
            window.extend(ids);
        }
        Ok((!window.is_empty()).then_some(window))
    }

    /// Returns those of these bodies that no file names.
    async fn unnamed(&self, mut window: HashSet<BlobId>) -> Result<HashSet<BlobId>> {
        let mut rest = keys::all_nodes();
        while let Some(page) = self.names.reader.next_page(&mut rest).await? {
            for (_, record) in page.records {
                let node = decode::<Node>(&record.value).ok();
                if let Some(file) = node.and_then(|node| node.file) {
                    window.remove(&file.blob);
                }
            }
            if window.is_empty() {
                break;
            }
        }
        Ok(window)
    }

    /// Reports stored bodies that no record names.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn check_orphans(&mut self) -> Result<()> {
        let mut after: Option<BlobId> = None;
        loop {
            let space = &self.space;
            let listed = self
                .bodies
                .list(space, after.as_ref(), Duration::ZERO, IDS_AT_ONCE);
            let listed = listed.await?;
            let references: Vec<Key> = listed.iter().map(keys::blob_reference).collect();
            let slots = self.names.reader.get(&references).await?;
            for (id, slot) in listed.iter().zip(slots) {
                if slot == Slot::Absent {
                    self.orphan(format!("file body {id}"), "no record names it".to_owned());
                }
            }
            match listed.last() {
                Some(last) if listed.len() == IDS_AT_ONCE => after = Some(*last),
                _ => return Ok(()),
            }
        }
    }
}

/// Reads a body to its end.
async fn read(bodies: &dyn BlobStore, space: &Space, file: &StoredFile) -> BodyState {
    let wrong = |text: &str| BodyState::Wrong(text.to_owned());
    let failed = |error: StoreError| match error {
        StoreError::Corrupt(_) => {
            BodyState::Wrong(format!("its body is damaged: {}", chain(&error)))
        }
        error => BodyState::Failed(error),
    };
    let mut reader = match bodies.open(space, &file.blob).await {
        Ok(Some(reader)) => reader,
        Ok(None) => return wrong("its body is missing"),
        Err(error) => return failed(error),
    };
    if reader.len() != file.len {
        return wrong("its body has another length");
    }
    let mut offset = 0;
    while offset < file.len {
        match reader.read_at(offset, CHUNK_BYTES).await {
            Ok(chunk) if chunk.is_empty() => return wrong("its body ends too early"),
            Ok(chunk) => offset += chunk.len() as u64,
            Err(error) => return failed(error),
        }
    }
    BodyState::Whole
}
