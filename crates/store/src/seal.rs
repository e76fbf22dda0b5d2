//! Keeping a space as it was found, while something elsewhere depends on it.

use std::fmt;

/// Keeps a space closed to commits. Dropping it opens the space again, unless that was dropped meanwhile.
#[must_use = "the space opens again when the seal is dropped"]
pub struct Seal(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Seal {
    /// A seal of a space that `open` opens again.
    pub fn new(open: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(open)))
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open();
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}
