//! The cache of the contexts of cells.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;

use super::CellContext;
use crate::Cell;
use crate::records::Records;

/// The largest number of cached contexts.
const CONTEXT_CAPACITY: u64 = 2_000;
/// The number of generation counters. Names and cells share them by hash, which only costs a needless reload.
const GENERATION_COUNTERS: usize = 4_096;

/// The contexts of the cells that were used lately, by name.
///
/// Each name and each cell has a generation. A context is valid as long as both are those from when its loading began.
pub(crate) struct CellContextCache {
    contexts: Cache<String, Arc<CellContext>>,
    generations: Vec<AtomicU64>,
    hasher: RandomState,
}

/// The loading of a context: the generation of its name from before the first read.
pub(crate) struct PendingContext {
    name: String,
    generation: u64,
}

impl Default for CellContextCache {
    fn default() -> Self {
        Self {
            contexts: Cache::builder().max_capacity(CONTEXT_CAPACITY).build(),
            generations: std::iter::repeat_with(AtomicU64::default)
                .take(GENERATION_COUNTERS)
                .collect(),
            hasher: RandomState::new(),
        }
    }
}

impl CellContextCache {
    fn counter(&self, of: impl Hash) -> Option<&AtomicU64> {
        let slot = self.hasher.hash_one(of) % GENERATION_COUNTERS as u64;
        self.generations.get(usize::try_from(slot).unwrap_or(0))
    }

    fn generation(&self, of: impl Hash) -> u64 {
        self.counter(of).map_or(0, |g| g.load(Ordering::Acquire))
    }

    fn begin_generation(&self, of: impl Hash) {
        if let Some(counter) = self.counter(of) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<CellContext>> {
        self.contexts.get(name).filter(|context| {
            context.generations == [self.generation(name), self.generation(context.cell.id)]
        })
    }

    pub(crate) fn begin_load(&self, name: &str) -> PendingContext {
        PendingContext {
            name: name.to_owned(),
            generation: self.generation(name),
        }
    }

    pub(crate) fn insert(
        &self,
        pending: PendingContext,
        cell: Cell,
        records: Records,
    ) -> Arc<CellContext> {
        // Nothing of the cell itself was loaded yet.
        let generations = [pending.generation, self.generation(cell.id)];
        let context = Arc::new(CellContext::new(cell, records, generations));
        self.contexts.insert(pending.name, Arc::clone(&context));
        context
    }

    /// Invalidates the context of a cell, also after a change of its name.
    pub(crate) fn invalidate_cell(&self, cell: &Cell) {
        self.begin_generation(cell.id);
        self.contexts.invalidate(&cell.name);
    }

    /// Invalidates the cached cell of a name.
    pub(crate) fn invalidate_cell_name(&self, name: &str) {
        self.begin_generation(name);
        self.contexts.invalidate(name);
    }
}
