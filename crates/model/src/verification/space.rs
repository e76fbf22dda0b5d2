//! The verification of one cell, or of the unit's own records.

mod bodies;
mod byte_counts;
mod entities;
mod nodes;
mod page_checks;
mod repairs;

use std::sync::Arc;

use personium_store::{BlobStore, Key, KeyRange, Record, Result, Space, StoreError};
use personium_types::error::chain;

use self::nodes::StoredFile;
use self::page_checks::PageChecks;
use super::names::{CollectionTree, ResourceNames};
use super::space_copy::SpaceCopy;
use super::walk::{SpaceReader, WalkedPage};
use super::{Finding, FindingKind, FindingSink, VerifiedCounts, VerifiedSpace, VerifiedStores};
use crate::cell_usage::ByteCounts;
use crate::keys::SetKey;
use crate::odata::derived_records::SetSchemas;
use crate::records::Records;

/// The verification of a space.
struct SpaceVerification<'a> {
    space: Space,
    name: Option<String>,
    names: ResourceNames,
    schemas: SetSchemas,
    bodies: Arc<dyn BlobStore>,
    counts: VerifiedCounts,
    /// The set of the last entity.
    last_set: Option<SetKey>,
    /// Whether there are unlinked collections whose content is not removed yet.
    has_garbage: bool,
    has_damaged_nodes: bool,
    /// Whether an entity, a message, a link or an index entry cannot be read, so that the bytes that are counted differ from what is found.
    has_damaged_entities: bool,
    /// The bytes of what was found.
    bytes: ByteCounts,
    /// The members whose collection was not found. They are looked for again.
    lost_members: Vec<Key>,
    /// The files of the page whose bodies are records.
    small_files: Vec<StoredFile>,
    /// Whether records that follow from others are repaired.
    repairs: bool,
    findings: &'a mut dyn FindingSink,
}

/// Verifies a cell, or the unit's own records. What is wrong is passed to `findings`. A cell that is removed meanwhile is left out.
pub async fn verify_space(
    stores: &VerifiedStores,
    verified: &VerifiedSpace,
    findings: &mut dyn FindingSink,
) -> VerifiedCounts {
    match verify_copy(stores, verified).await {
        Some(found) => found,
        None => look_through(stores, verified, findings, false).await,
    }
}

/// Verifies the records of a small space in memory, as they were at one time: so they are read by one call instead of some for each page.
/// `None` if the space is too large, or anything seems to be wrong, which is then looked at in the store.
async fn verify_copy(stores: &VerifiedStores, verified: &VerifiedSpace) -> Option<VerifiedCounts> {
    let space = &verified.space;
    if !matches!(stores.records.find_damage(space).await, Ok(None)) {
        return None;
    }
    let copy = SpaceCopy::read(&*stores.records, space).await.ok()??;
    let stores = VerifiedStores {
        records: Arc::new(copy),
        bodies: Arc::clone(&stores.bodies),
    };
    let (mut findings, mut found) = (Vec::new(), VerifiedCounts::default());
    let verifying = verify(&stores, verified, (&mut findings, false), &mut found);
    Box::pin(verifying).await.ok()?;
    findings.is_empty().then_some(found)
}

/// Verifies as [`verify_space`] does, and repairs unique keys, index entries, links back, references and numbers: they are written as they
/// follow from the other records. A change meanwhile is never undone. What was repaired is passed to `findings` too. File bodies, of which
/// nothing is repaired, are not read.
pub async fn repair_space(
    stores: &VerifiedStores,
    verified: &VerifiedSpace,
    findings: &mut dyn FindingSink,
) -> VerifiedCounts {
    look_through(stores, verified, findings, true).await
}

async fn look_through(
    stores: &VerifiedStores,
    verified: &VerifiedSpace,
    findings: &mut dyn FindingSink,
    repairs: bool,
) -> VerifiedCounts {
    let mut found = VerifiedCounts::default();
    let (kind, problem) = match verify(stores, verified, (findings, repairs), &mut found).await {
        Ok(()) | Err(StoreError::SpaceDropped) => return found,
        Err(error @ StoreError::Corrupt(_)) => (FindingKind::Damage, chain(&error)),
        Err(error) => (FindingKind::Unverified, chain(&error)),
    };
    findings.add(Finding {
        kind,
        space: verified.space,
        cell: verified.name.clone(),
        resource: "the records".to_owned(),
        problem,
    });
    found
}

async fn verify(
    stores: &VerifiedStores,
    VerifiedSpace { space, name }: &VerifiedSpace,
    (findings, repairs): (&mut dyn FindingSink, bool),
    counts: &mut VerifiedCounts,
) -> Result<()> {
    if let Some(problem) = stores.records.find_damage(space).await? {
        findings.add(Finding {
            kind: FindingKind::Damage,
            space: *space,
            cell: name.clone(),
            resource: "the records".to_owned(),
            problem,
        });
        // What cannot be found would be reported as missing.
        return Ok(());
    }
    let reader = SpaceReader {
        store: Arc::clone(&stores.records),
        space: *space,
    };
    let tree = CollectionTree::read(&reader).await?;
    let names = ResourceNames { reader, tree };
    let mut verification = SpaceVerification {
        space: *space,
        name: name.clone(),
        has_garbage: names.has_garbage().await?,
        names,
        schemas: SetSchemas::new(Records::new(Arc::clone(&stores.records), *space)),
        bodies: Arc::clone(&stores.bodies),
        counts: VerifiedCounts::default(),
        last_set: None,
        has_damaged_nodes: false,
        has_damaged_entities: false,
        bytes: ByteCounts::default(),
        lost_members: Vec::new(),
        small_files: Vec::new(),
        repairs,
        findings,
    };
    let done = verification.all().await;
    *counts = verification.counts;
    done
}

impl SpaceVerification<'_> {
    async fn all(&mut self) -> Result<()> {
        let mut rest = KeyRange::all();
        while let Some(page) = self.names.reader.next_page(&mut rest).await? {
            Box::pin(self.look_at_page(page)).await?;
        }
        if self.repairs {
            return Ok(());
        }
        self.confirm_lost_members().await?;
        if matches!(self.space, Space::Cell(_)) {
            self.check_references().await?;
            self.check_orphans().await?;
            self.check_byte_counts().await?;
        }
        Ok(())
    }

    async fn look_at_page(&mut self, page: WalkedPage) -> Result<()> {
        let mut checks = PageChecks::default();
        let mut files = Vec::new();
        for (key, record) in &page.records {
            self.counts.records += 1;
            self.bytes.add(key, record);
            let file = Box::pin(self.look_at(key, record, &mut checks)).await?;
            files.extend(file);
        }
        if let Some((key, problem)) = page.damaged {
            self.counts.records += 1;
            self.has_damaged_nodes |= key.as_bytes().first() == Some(&b'N');
            self.has_damaged_entities |= matches!(
                key.as_bytes().first(),
                Some(b'E' | b'A' | b'W' | b'L' | b'I')
            );
            let name = self.names.of_key(&key, &mut self.schemas).await;
            self.damage(name, problem);
        }
        self.finish_page(checks).await?;
        if self.repairs {
            return Ok(());
        }
        self.check_small_files().await?;
        self.check_bodies(files).await
    }

    async fn look_at(
        &mut self,
        key: &Key,
        record: &Record,
        checks: &mut PageChecks,
    ) -> Result<Option<StoredFile>> {
        match key.as_bytes().first() {
            Some(b'N') => return self.look_at_node(key, record, checks).await,
            Some(b'E') => self.look_at_entity(key, record, checks).await?,
            Some(b'I') => self.look_at_index_entry(key, record, checks).await?,
            Some(b'K') => self.look_at_unique_key(key, record, checks).await?,
            Some(b'L') => self.look_at_link(key, record, checks).await?,
            Some(b'C') => self.look_at_entity_count(key, record).await?,
            Some(b'D') => self.look_at_child_count(key, record).await?,
            _ => {}
        }
        Ok(None)
    }

    /// Reports a record whose content is not that of its kind.
    ///
    /// # Errors
    /// None; the result is that of its callers.
    async fn undecodable(&mut self, key: &Key) -> Result<()> {
        let name = self.names.of_key(key, &mut self.schemas).await;
        self.damage(name, "its record cannot be decoded".to_owned());
        Ok(())
    }

    /// Reports damage.
    fn damage(&mut self, resource: String, problem: String) {
        self.add(FindingKind::Damage, resource, problem);
    }

    /// Reports something that nothing refers to.
    fn orphan(&mut self, resource: String, problem: String) {
        self.add(FindingKind::Orphan, resource, problem);
    }

    fn add(&mut self, kind: FindingKind, resource: String, problem: String) {
        self.findings.add(Finding {
            kind,
            space: self.space,
            cell: self.name.clone(),
            resource,
            problem,
        });
    }
}
