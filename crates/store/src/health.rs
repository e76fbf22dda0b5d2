//! The state of the storage of a unit, as its engines report it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::Space;

/// The largest number of spaces whose damage is remembered.
const MAX_DAMAGED_SPACES: usize = 1_000;

/// The state of the storage, shared by the engines that report it and those who show it or act on it.
#[derive(Debug, Default)]
pub struct StoreHealth {
    full: AtomicBool,
    bodies_low: AtomicBool,
    read_only: AtomicBool,
    damage_reports: AtomicU64,
    damaged: Mutex<BTreeMap<Space, String>>,
}

impl StoreHealth {
    /// Whether the storage has no space for new data. What is stored can be read and removed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Reports that the storage is full, or that it has space again. Returns whether that is a change.
    pub fn set_full(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::AcqRel) != full
    }

    /// Whether the disk of the file bodies is nearly full.
    #[must_use]
    pub fn is_low_for_bodies(&self) -> bool {
        self.bodies_low.load(Ordering::Acquire)
    }

    /// Sets whether the disk of the file bodies is nearly full: then what is removed frees its space at once.
    pub fn set_low_for_bodies(&self, low: bool) {
        self.bodies_low.store(low, Ordering::Release);
    }

    /// Whether the file system accepted no change at the last attempt.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// Reports whether the file system is read-only. Returns whether that is a change.
    pub fn set_read_only(&self, read_only: bool) -> bool {
        self.read_only.swap(read_only, Ordering::AcqRel) != read_only
    }

    /// Reports that data of a space is missing or damaged. Returns whether it is the first report about the space.
    pub fn report_damage(&self, space: &Space, what: &str) -> bool {
        self.damage_reports.fetch_add(1, Ordering::Relaxed);
        let mut damaged = self.damaged.lock();
        let is_new = !damaged.contains_key(space);
        if is_new && damaged.len() < MAX_DAMAGED_SPACES {
            damaged.insert(*space, what.to_owned());
        }
        is_new
    }

    /// Forgets the damage of a space that was removed.
    pub fn forget(&self, space: &Space) {
        self.damaged.lock().remove(space);
    }

    /// Returns the spaces with missing or damaged data, each with its first report.
    #[must_use]
    pub fn damaged_spaces(&self) -> Vec<(Space, String)> {
        let damaged = self.damaged.lock();
        damaged
            .iter()
            .map(|(space, what)| (*space, what.clone()))
            .collect()
    }

    /// Returns the number of reports of missing or damaged data.
    #[must_use]
    pub fn damage_reports(&self) -> u64 {
        self.damage_reports.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_reported_once_and_damage_is_counted_each_time() {
        let health = StoreHealth::default();
        assert!(health.set_full(true) && !health.set_full(true) && health.is_full());
        assert!(health.set_full(false) && !health.is_full());
        assert!(health.set_read_only(true) && health.is_read_only());
        assert!(health.report_damage(&Space::Unit, "first"));
        assert!(!health.report_damage(&Space::Unit, "second"));
        assert_eq!(health.damage_reports(), 2);
        assert_eq!(health.damaged_spaces(), [(Space::Unit, "first".to_owned())]);
        health.forget(&Space::Unit);
        assert!(health.damaged_spaces().is_empty());
    }
}
