//! Reads several entities by their ids.

use personium_store::Key;
use personium_types::Result;

use super::load::{self, Entity};
use super::page_collector::memory_bytes;
use super::root::{ServiceRoot, SetRef};
use crate::answer_memory::AnswerReservation;
use crate::entity::StoredEntity;
use crate::keys;

/// The number of entities that are read at once by their ids.
pub(super) const FETCH_BATCH: usize = 32;

/// The memory of the entities that are read at once by their ids, once their size is known. A larger one is read alone.
const FETCH_BATCH_BYTES: usize = 1 << 20;

/// Entities that were read by their ids.
pub(super) struct Fetched {
    pub entities: Vec<Entity>,
    pub memory_bytes: usize,
}

impl Fetched {
    /// The number of entities to read next, if they are as large as these.
    pub fn next_batch(&self) -> usize {
        let mean = self.memory_bytes / self.entities.len().max(1);
        (FETCH_BATCH_BYTES / mean.max(1)).clamp(1, FETCH_BATCH)
    }
}

/// Reads the entities with these ids, in their order. Entities that were deleted meanwhile are left out. `memory` holds the
/// result.
pub(super) async fn fetch(
    root: &ServiceRoot,
    set: &SetRef,
    ids: &[String],
    memory: &mut AnswerReservation,
) -> Result<Fetched> {
    let wanted: Vec<Key> = ids.iter().map(|id| keys::entity(&set.key, id)).collect();
    let found = root.records.find_all::<StoredEntity>(&wanted).await?;
    let mut out = Vec::with_capacity(ids.len());
    for (id, stored) in ids.iter().zip(found) {
        if let Some(stored) = stored {
            out.push(load::complete(root, set, id.clone(), stored).await?);
        }
    }
    let memory_bytes = memory_bytes(&out);
    memory.hold(memory_bytes)?;
    Ok(Fetched {
        entities: out,
        memory_bytes,
    })
}
