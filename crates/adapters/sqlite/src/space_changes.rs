//! The spaces that were changed since the store was opened, so that a back-up need not look at all.

use std::collections::HashMap;

use parking_lot::Mutex;
use personium_store::{ChangedSpaces, Space};

/// The number of spaces that are kept. When more have changed, all are forgotten, and whoever asks looks at all.
const SPACES_MAX: usize = 1 << 18;

/// The spaces that were changed, each with the number of its last change.
#[derive(Debug, Default)]
pub(crate) struct SpaceChanges(Mutex<NumberedSpaces>);

#[derive(Debug, Default)]
struct NumberedSpaces {
    /// The number of the last change.
    number: u64,
    /// The changes up to this one were forgotten.
    forgotten: u64,
    last: HashMap<Space, u64>,
}

impl SpaceChanges {
    /// Returns what notes a change of the space when it is dropped: so after the change can be read, also if its outcome is an error or a panic.
    pub(crate) const fn noting(&self, space: Space) -> ChangeNote<'_> {
        ChangeNote {
            changes: self,
            space,
        }
    }

    /// The spaces that were changed after this number, and the number of now.
    pub(crate) fn since(&self, number: Option<u64>) -> ChangedSpaces {
        let state = self.0.lock();
        let known = number.filter(|number| (state.forgotten..=state.number).contains(number));
        let changed = known.map(|known| {
            let later = state.last.iter().filter(|(_, last)| **last > known);
            later.map(|(space, _)| *space).collect()
        });
        ChangedSpaces {
            number: state.number,
            changed,
        }
    }

    fn note(&self, space: Space, max: usize) {
        let mut state = self.0.lock();
        state.number += 1;
        let number = state.number;
        state.last.insert(space, number);
        if state.last.len() > max {
            state.forgotten = number;
            state.last = HashMap::new();
        }
    }
}

/// Notes a change when it is dropped.
pub(crate) struct ChangeNote<'c> {
    changes: &'c SpaceChanges,
    space: Space,
}

impl Drop for ChangeNote<'_> {
    fn drop(&mut self) {
        self.changes.note(self.space, SPACES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use personium_types::CellId;

    use super::*;

    fn cell(n: u8) -> Space {
        Space::Cell(CellId::from_bytes([n; 16]))
    }

    fn sorted(found: ChangedSpaces) -> (u64, Option<Vec<Space>>) {
        let changed = found.changed.map(|mut changed| {
            changed.sort();
            changed
        });
        (found.number, changed)
    }

    #[test]
    fn spaces_after_a_number_are_known_and_numbers_of_others_are_not() {
        let changes = SpaceChanges::default();
        assert_eq!(sorted(changes.since(None)), (0, None));
        drop(changes.noting(cell(1)));
        drop(changes.noting(cell(2)));
        drop(changes.noting(cell(1)));
        let found = sorted(changes.since(Some(0)));
        assert_eq!(found, (3, Some(vec![cell(1), cell(2)])));
        assert_eq!(sorted(changes.since(Some(2))), (3, Some(vec![cell(1)])));
        assert_eq!(sorted(changes.since(Some(3))), (3, Some(Vec::new())));
        assert_eq!(sorted(changes.since(Some(4))), (3, None));
    }

    #[test]
    fn too_many_changes_are_forgotten_and_whoever_asks_for_one_of_them_looks_at_all() {
        let changes = SpaceChanges::default();
        for n in 0..4 {
            changes.note(cell(n), 3);
        }
        assert_eq!(sorted(changes.since(Some(3))), (4, None));
        assert_eq!(sorted(changes.since(Some(4))), (4, Some(Vec::new())));
        changes.note(cell(9), 3);
        assert_eq!(sorted(changes.since(Some(4))), (5, Some(vec![cell(9)])));
    }
}
