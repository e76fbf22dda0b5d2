//! The cache of the structures of cells.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;
use personium_store::StructureVersion;

use super::CellStructure;
use super::body_hints::BodyHints;
use crate::Cell;

/// The largest number of cached structures.
const STRUCTURE_CAPACITY: u64 = 2_000;
/// The number of generation counters. Names and cells share them by hash, which only costs a needless reload.
const GENERATION_COUNTERS: usize = 4_096;

/// The structures of the cells that were used lately, by name.
///
/// Each name and each cell has a generation, which changes of this process count up. A structure is not returned any more when
/// one of them is not that from when its loading began.
pub(crate) struct CellStructureCache {
    structures: Cache<String, Arc<CellStructure>>,
    body_hints: Arc<BodyHints>,
    generations: Vec<AtomicU64>,
    hasher: RandomState,
}

/// The loading of a structure: the generation of its name from before the first read.
pub(crate) struct PendingStructure {
    name: String,
    generation: u64,
}

impl Default for CellStructureCache {
    fn default() -> Self {
        Self {
            structures: Cache::builder().max_capacity(STRUCTURE_CAPACITY).build(),
            body_hints: Arc::default(),
            generations: std::iter::repeat_with(AtomicU64::default)
                .take(GENERATION_COUNTERS)
                .collect(),
            hasher: RandomState::new(),
        }
    }
}

impl CellStructureCache {
    /// A structure that is not cached.
    pub fn detached(&self, cell: Cell, version: StructureVersion) -> Arc<CellStructure> {
        let hints = Arc::clone(&self.body_hints);
        Arc::new(CellStructure::new(cell, version, [0; 2], hints))
    }

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

    pub(crate) fn find(&self, name: &str) -> Option<Arc<CellStructure>> {
        self.structures.get(name).filter(|structure| {
            structure.generations == [self.generation(name), self.generation(structure.cell.id)]
        })
    }

    pub(crate) fn begin_load(&self, name: &str) -> PendingStructure {
        PendingStructure {
            name: name.to_owned(),
            generation: self.generation(name),
        }
    }

    /// Caches the structure of a cell, of which nothing but its catalogue entry was loaded after this version of its structure.
    pub(crate) fn insert(
        &self,
        pending: PendingStructure,
        cell: Cell,
        version: StructureVersion,
    ) -> Arc<CellStructure> {
        // Nothing of the cell itself was loaded yet.
        let generations = [pending.generation, self.generation(cell.id)];
        let hints = Arc::clone(&self.body_hints);
        let structure = Arc::new(CellStructure::new(cell, version, generations, hints));
        self.structures.insert(pending.name, Arc::clone(&structure));
        structure
    }

    /// Removes a structure that another process has changed.
    pub(crate) fn remove(&self, stale: &Arc<CellStructure>) {
        let name = &stale.cell.name;
        let is_it = |found: &Arc<CellStructure>| Arc::ptr_eq(found, stale);
        if self.structures.get(name).as_ref().is_some_and(is_it) {
            self.structures.invalidate(name);
        }
    }

    /// Invalidates the structure of a cell, also after a change of its name.
    pub(crate) fn invalidate_cell(&self, cell: &Cell) {
        self.begin_generation(cell.id);
        self.structures.invalidate(&cell.name);
    }

    /// Invalidates the cached cell of a name.
    pub(crate) fn invalidate_cell_name(&self, name: &str) {
        self.begin_generation(name);
        self.structures.invalidate(name);
    }
}
