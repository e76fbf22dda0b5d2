//! Creates entities.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use personium_store::{Batch, Key};
use personium_types::{Code, Error, Result};

use super::creation::Creation;
use super::creation_batch::CreationBatch;
use super::load::{self, Entity};
use super::operations::{check_link, check_write};
use super::root::ServiceRoot;
use crate::commit::Invalidation;
use crate::keys::ControlSet;
use crate::{Permit, PostCommit};

/// Creates entities in one batch. Each has its own result: a refused one does not prevent the others. Later ones see
/// the keys and to-one links of earlier ones.
///
/// # Errors
/// [`Code::NoSuchResource`] or [`Code::NoSuchSet`] if the collection or an entity type was removed meanwhile;
/// [`Code::Unknown`] if the permit is not for these sets and links; failures of the store.
pub async fn create(
    root: &ServiceRoot,
    permit: &Permit,
    creations: &[Creation],
) -> Result<Vec<Result<Entity>>> {
    for creation in creations {
        check_write(root, permit, &creation.set)?;
        if let Some(source) = &creation.navigation {
            check_link(root, permit, &source.association)?;
        }
    }
    store_new(root, creations).await
}

/// Creates an entity; the same batch makes the changes that `also` adds for it.
///
/// # Errors
/// As [`create`], and the refusal of the entity.
pub async fn create_with(
    root: &ServiceRoot,
    permit: &Permit,
    creation: Creation,
    also: impl Fn(&Entity, &mut Batch) -> Result<()> + Sync,
) -> Result<Entity> {
    check_write(root, permit, &creation.set)?;
    let mut created = store_new_with(root, &[creation], &also).await?;
    created.pop().ok_or(Code::Unknown)?
}

/// As [`create`], for a caller that has checked its own permit.
///
/// # Errors
/// As [`create`].
pub(super) async fn store_new(
    root: &ServiceRoot,
    creations: &[Creation],
) -> Result<Vec<Result<Entity>>> {
    store_new_with(root, creations, &|_, _| Ok(())).await
}

async fn store_new_with(
    root: &ServiceRoot,
    creations: &[Creation],
    also: &(dyn Fn(&Entity, &mut Batch) -> Result<()> + Sync),
) -> Result<Vec<Result<Entity>>> {
    let registers = creations.iter().any(|c| !c.body.new_properties.is_empty());
    let is_message = |set: Option<ControlSet>| {
        matches!(
            set,
            Some(ControlSet::SentMessage | ControlSet::ReceivedMessage)
        )
    };
    let invalidation = if registers {
        Invalidation::Cell
    } else if creations.iter().all(|c| is_message(c.set.control)) {
        Invalidation::None
    } else {
        root.invalidation()
    };
    let (is_retry, assumes) = (AtomicBool::new(false), AtomicBool::new(false));
    let build = || async {
        let mut post_commit = PostCommit::none();
        let (guard, mut batch) = if is_retry.swap(true, Ordering::AcqRel) {
            check_types(root, creations).await?;
            (root.reload_collection().await?, CreationBatch::new(root))
        } else if creations.len() == 1 && root.unit.store().is_shared() && !root.is_staged() {
            assumes.store(true, Ordering::Release);
            (
                root.collection_guard(),
                CreationBatch::assuming_free_keys(root),
            )
        } else {
            (root.collection_guard(), CreationBatch::new(root))
        };
        batch.read_keys(creations).await?;
        let mut out = Vec::with_capacity(creations.len());
        for creation in creations {
            // Boxed, because the future is large and part of that of every request that may create entities.
            let mut created = Box::pin(batch.add(creation)).await;
            if created.is_err() && batch.assumes_free_keys {
                // Which refusal comes first depends on whether the key is taken.
                batch = CreationBatch::new(root);
                created = Box::pin(batch.add(creation)).await;
            }
            if let Err(error) = &created
                && error.code().is_server_error()
            {
                return Err(Error::new(error.code()));
            }
            if let Ok(entity) = &created {
                also(entity, &mut batch.batch)?;
                post_commit = post_commit.posting(root.creation_event(creation, entity));
            }
            out.push(created);
        }
        let mut batch = batch.batch;
        if let Some(guard) = guard.filter(|_| !batch.is_empty()) {
            guard.assert(&mut batch);
        }
        Ok((batch, post_commit, out))
    };
    match root.transact_with(invalidation, &build).await {
        // Without the assumption: if the key is taken, that is the refusal.
        Err(refusal) if refusal.code() == Code::OverQuota && assumes.load(Ordering::Acquire) => {
            root.transact_with(invalidation, &build).await
        }
        stored => stored,
    }
}

/// Checks that the entity types of user data still exist.
async fn check_types(root: &ServiceRoot, creations: &[Creation]) -> Result<()> {
    let ids = creations.iter().filter_map(|c| c.set.type_id.as_ref());
    let keys: BTreeSet<Key> = ids.map(|id| load::entity_type_key(root, id)).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    if root.records.are_present(&keys).await?.contains(&false) {
        return Err(Code::NoSuchSet.into());
    }
    Ok(())
}
