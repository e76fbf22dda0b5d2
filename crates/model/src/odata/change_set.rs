//! Several changes below a service root that are committed together or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use personium_store::{Key, StoreError};
use personium_types::{Code, Result};

use super::load;
use super::reporter::StagedEvents;
use super::root::{RootScope, ServiceRoot, SetRef};
use crate::PostCommit;
use crate::commit::Invalidation;
use crate::keys;
use crate::records::{self, Records};
use crate::staged_records::StagedRecords;

/// Changes of the data of a collection, or of the control objects of a cell, that are collected and committed by one batch.
///
/// The changes are made with the functions for single ones, below the root that [`ChangeSet::begin`] returns: they see what
/// those before them did, and check their permits, conditions and rules as usual.
pub struct ChangeSet {
    root: ServiceRoot,
    staged: Arc<StagedRecords>,
    /// The events of the changes.
    made: StagedEvents,
}

/// The result of the commit of a change set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeSetCommit {
    /// All changes are stored.
    Committed,
    /// Others changed meanwhile what the changes depend on. Nothing is stored; the changes can be made again.
    Conflict,
}

impl ChangeSet {
    /// Starts a change set. Returns it with the root below which its changes are made.
    ///
    /// # Errors
    /// [`Code::Unknown`] unless the root is that of the data of a collection, or of a cell.
    pub fn begin(root: &ServiceRoot) -> Result<(Self, ServiceRoot)> {
        let (RootScope::Data(_) | RootScope::Cell) = root.scope() else {
            return Err(Code::Unknown.into());
        };
        let (store, space) = (root.records.store(), *root.records.space());
        let staged = Arc::new(StagedRecords::new(Arc::clone(store), space));
        let records = Records::new(Arc::<StagedRecords>::clone(&staged), space);
        let change_set = Self {
            root: root.clone(),
            staged,
            made: StagedEvents::default(),
        };
        let mut over = root.over_staged(records);
        over.reporter = over.reporter.map(|it| it.staging(&change_set.made));
        Ok((change_set, over))
    }

    /// The size of the changed records so far, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.staged.size_bytes()
    }

    /// Reads at once whether the ids are taken of entities that will be created.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn read_ids(&self, ids: &[(SetRef, String)]) -> Result<()> {
        let keyed = ids.iter().filter(|(set, _)| load::is_keyed_by_id(set));
        let wanted: BTreeSet<Key> = keyed.map(|(set, id)| keys::entity(&set.key, id)).collect();
        let wanted: Vec<Key> = wanted.into_iter().collect();
        let read = self.staged.read_ahead(&wanted).await;
        read.map_err(records::store_error)
    }

    /// Commits all changes.
    ///
    /// # Errors
    /// Failures of the store: then whether the changes are stored is unknown, but never a part of them.
    pub async fn commit(self) -> Result<ChangeSetCommit> {
        let Self { root, staged, made } = self;
        let changes_structure = match root.scope() {
            RootScope::Data(collection) => staged.changes(&keys::schema_version(&collection)),
            _ => true,
        };
        let post_commit = match root.context() {
            Some(context) if changes_structure => {
                PostCommit::invalidating(context.cell(), Invalidation::Cell)
            }
            _ => PostCommit::none(),
        };
        let mut batch = staged.to_batch();
        let mut post_commit = post_commit;
        let events = made.take_events();
        if !events.is_empty() {
            let consequences = Box::pin(root.add_events(&mut batch, events)).await?;
            post_commit = post_commit.and(consequences);
        }
        // Each change was counted when it was staged.
        let records = root.records.without_counting();
        match root.unit.commit(&records, batch, post_commit).await {
            Ok(_) => Ok(ChangeSetCommit::Committed),
            Err(StoreError::Conflict | StoreError::Sealed) => Ok(ChangeSetCommit::Conflict),
            Err(other) => Err(records::store_error(other)),
        }
    }
}
