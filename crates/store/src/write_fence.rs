//! The guard that closes a space to commits.

use std::fmt;

/// A guard that keeps a space closed to commits. Dropping it opens the space again, unless the space was dropped.
///
/// Made by [`RecordStore::fence`](crate::RecordStore::fence).
#[must_use = "the space opens again when the fence is dropped"]
pub struct WriteFence(Option<Box<dyn FnOnce() + Send + Sync>>);

impl WriteFence {
    /// A fence that calls `open` when it is dropped.
    pub fn new(open: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(open)))
    }
}

impl Drop for WriteFence {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open();
        }
    }
}

impl fmt::Debug for WriteFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteFence")
    }
}
