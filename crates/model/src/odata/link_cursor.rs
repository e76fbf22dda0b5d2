//! Reads the links of an entity.

use personium_store::{Batch, Direction, Key, KeyRange};
use personium_types::Result;

use super::association::{Association, Cardinality};
use super::load::Entity;
use super::root::ServiceRoot;
use crate::keys;

/// Reads the ids of the entities that an entity is linked to, in batches.
pub(super) enum LinkCursor {
    /// For an end with at most one link: its id, until it was read.
    One(Option<String>),
    /// For an end with any number of links: the range of the remaining ones, and the length of their keys before the id.
    Many(KeyRange, usize),
}

impl LinkCursor {
    pub fn new(association: &Association, source: &Entity) -> Self {
        let target = &association.target;
        if target.cardinality == Cardinality::One {
            return Self::One(source.stored.links.get(&target.field).cloned());
        }
        let range = keys::links(&association.source.set.key, &source.id, &target.tag);
        let prefix = range.start.as_bytes().len();
        Self::Many(range, prefix)
    }

    /// Returns the next ids in their order: fewer than `limit` only at the end.
    pub async fn next(&mut self, root: &ServiceRoot, limit: usize) -> Result<Vec<String>> {
        match self {
            Self::One(id) => Ok(id.take().into_iter().collect()),
            Self::Many(range, prefix) => {
                let found = root.records.list_keys(range, Direction::Up, limit).await?;
                if let Some(last) = found.last() {
                    *range = range.after(last);
                }
                let ids = found.iter().filter_map(|key| keys::last_text(key, *prefix));
                Ok(ids.collect())
            }
        }
    }
}

/// Returns the ids of the first `limit` entities that an entity is linked to, in their order.
pub(super) async fn linked_ids(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    limit: usize,
) -> Result<Vec<String>> {
    LinkCursor::new(association, source).next(root, limit).await
}

/// Returns the ids of all entities that an entity is linked to. Adds to a batch the assertion that there are no others.
pub(super) async fn list_links_exactly(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    batch: &mut Batch,
) -> Result<Vec<String>> {
    match LinkCursor::new(association, source) {
        // The link is part of the source's record, whose version the caller asserts.
        LinkCursor::One(id) => Ok(id.into_iter().collect()),
        LinkCursor::Many(range, prefix) => {
            let found = root.records.list_keys_exactly(&range, batch).await?;
            let ids = found.iter().filter_map(|key| keys::last_text(key, prefix));
            Ok(ids.collect())
        }
    }
}

/// The keys of a link: that of the source, and that of the target.
pub(super) fn link_keys(association: &Association, source_id: &str, target_id: &str) -> (Key, Key) {
    let (source, target) = (&association.source, &association.target);
    (
        keys::link(&source.set.key, source_id, &target.tag, target_id),
        keys::link(&target.set.key, target_id, &source.tag, source_id),
    )
}
