//! The knowledge of one request about the version of the structure of a cell.

use std::sync::atomic::{AtomicBool, Ordering};

use personium_store::StructureVersion;

/// The version of the cached structure that a request works with, compared with the versions that its reads return.
///
/// The first read decides: if it returns another version, the cached structure is stale, and every read fails, so that nothing
/// is decided from it. If it returns the same, the structure was current after the request began. Later reads may return newer
/// versions; what they find is used, but not cached.
#[derive(Debug)]
pub(crate) struct StructureView {
    expected: StructureVersion,
    is_validated: AtomicBool,
    is_stale: AtomicBool,
    /// Whether any read returned another version.
    is_outdated: AtomicBool,
}

impl StructureView {
    /// A view of a structure that may be stale.
    pub(crate) fn unchecked(expected: StructureVersion) -> Self {
        Self {
            expected,
            is_validated: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            is_outdated: AtomicBool::new(false),
        }
    }

    /// A view of a structure whose version was read after the request began.
    pub(crate) fn validated(expected: StructureVersion) -> Self {
        let view = Self::unchecked(expected);
        view.is_validated.store(true, Ordering::Release);
        view
    }

    /// The version of the cached structure, unless it was compared already.
    pub(crate) fn to_check(&self) -> Option<StructureVersion> {
        (!self.is_validated() && !self.is_stale()).then_some(self.expected)
    }

    /// Takes note of the version that a read returned. Returns whether its result may be used.
    pub(crate) fn observe(&self, found: StructureVersion) -> bool {
        if found == self.expected {
            self.is_validated.store(true, Ordering::Release);
        } else {
            self.is_outdated.store(true, Ordering::Release);
            if !self.is_validated() {
                self.is_stale.store(true, Ordering::Release);
            }
        }
        !self.is_stale()
    }

    /// Takes note that the space was dropped.
    pub(crate) fn observe_dropped(&self) {
        self.is_outdated.store(true, Ordering::Release);
        if !self.is_validated() {
            self.is_stale.store(true, Ordering::Release);
        }
    }

    /// Takes note that the version cannot be read, because the space is damaged. The structure is used, and not looked at again.
    pub(crate) fn accept_damaged(&self) {
        self.is_validated.store(true, Ordering::Release);
    }

    /// Whether the structure was current at some time since the request began.
    pub(crate) fn is_validated(&self) -> bool {
        self.is_validated.load(Ordering::Acquire)
    }

    /// Whether the structure was changed before the request began. Then the request must begin again with the current one.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    /// Whether the structure is known to have changed, so that nothing that was read can be cached in it.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_read_decides_whether_the_structure_is_stale() {
        let stale = StructureView::unchecked(3);
        assert!(!stale.observe(4));
        assert!(stale.is_stale() && stale.is_outdated() && !stale.is_validated());
        assert!(!stale.observe(3), "no later read helps");

        let current = StructureView::unchecked(3);
        assert!(current.observe(3));
        assert!(current.is_validated() && !current.is_outdated());
        assert!(current.observe(4));
        assert!(current.is_outdated() && !current.is_stale());

        let checked = StructureView::validated(3);
        assert!(checked.observe(4));
        assert!(checked.is_outdated() && !checked.is_stale());
    }

    #[test]
    fn dropped_space_makes_a_structure_stale_unless_it_was_validated() {
        let unchecked = StructureView::unchecked(3);
        unchecked.observe_dropped();
        assert!(unchecked.is_stale());
        let validated = StructureView::validated(3);
        validated.observe_dropped();
        assert!(!validated.is_stale() && validated.is_outdated());
        let damaged = StructureView::unchecked(3);
        damaged.accept_damaged();
        damaged.observe_dropped();
        assert!(!damaged.is_stale(), "the request has removed it itself");
    }
}
