//! Hints where the small bodies of files are.

use std::hash::{BuildHasher, RandomState};

use moka::sync::Cache;
use personium_store::Key;
use personium_types::BlobId;

/// The largest number of hints, of all cells together. Each takes less than 200 bytes.
const CAPACITY: u64 = 100_000;

/// The bodies that files had when they were last seen, by the keys of the files. So a file and its body can be read in one call.
///
/// A hint may be out of date, or that of another file: only the file itself says which body it has.
pub(crate) struct BodyHints {
    bodies: Cache<u64, BlobId>,
    hasher: RandomState,
}

impl Default for BodyHints {
    fn default() -> Self {
        Self {
            bodies: Cache::builder().max_capacity(CAPACITY).build(),
            hasher: RandomState::new(),
        }
    }
}

impl BodyHints {
    pub(crate) fn find(&self, file: &Key) -> Option<BlobId> {
        self.bodies.get(&self.hasher.hash_one(file))
    }

    pub(crate) fn remember(&self, file: &Key, body: BlobId) {
        let file = self.hasher.hash_one(file);
        if self.bodies.get(&file) != Some(body) {
            self.bodies.insert(file, body);
        }
    }
}
