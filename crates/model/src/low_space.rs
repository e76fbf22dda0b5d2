//! The disks of this process on which little space is left, or that are not where they were.

use std::sync::atomic::{AtomicBool, Ordering};

/// A kind of content that is stored on disks of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskContent {
    /// Records: without space for them, nothing can be changed but by removing.
    Records,
    /// File bodies that are too long for a record.
    Bodies,
    /// Temporary files of archives and request bodies.
    TemporaryFiles,
}

/// Whether little space is left for each kind of content. It is known to this process alone, and found anew by the next one.
#[derive(Debug, Default)]
pub struct LowSpace {
    records: AtomicBool,
    bodies: AtomicBool,
    temporary_files: AtomicBool,
    /// Whether the folder of each content is on another file system than at the start.
    displaced: [AtomicBool; 3],
}

impl DiskContent {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Records, Self::Bodies, Self::TemporaryFiles];

    /// The word for it in metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Bodies => "bodies",
            Self::TemporaryFiles => "temporary",
        }
    }
}

impl LowSpace {
    /// Whether little space is left for this content.
    #[must_use]
    pub fn is_low(&self, content: DiskContent) -> bool {
        self.flag(content).load(Ordering::Acquire)
    }

    /// Notes whether little space is left for this content. Returns whether that is a change.
    pub fn set(&self, content: DiskContent, is_low: bool) -> bool {
        self.flag(content).swap(is_low, Ordering::AcqRel) != is_low
    }

    /// The contents for which little space is left.
    #[must_use]
    pub fn contents(&self) -> Vec<DiskContent> {
        let mut contents = DiskContent::ALL.to_vec();
        contents.retain(|content| self.is_low(*content));
        contents
    }

    /// Whether the folder of this content is on another file system than at the start: another one was mounted there, or its own unmounted.
    pub fn is_displaced(&self, content: DiskContent) -> bool {
        self.displaced_flag(content).load(Ordering::Acquire)
    }

    /// Notes whether the folder of this content is on another file system. Returns whether that is a change.
    pub fn set_displaced(&self, content: DiskContent, is_displaced: bool) -> bool {
        let before = self
            .displaced_flag(content)
            .swap(is_displaced, Ordering::AcqRel);
        before != is_displaced
    }

    fn displaced_flag(&self, content: DiskContent) -> &AtomicBool {
        let [records, bodies, temporary_files] = &self.displaced;
        match content {
            DiskContent::Records => records,
            DiskContent::Bodies => bodies,
            DiskContent::TemporaryFiles => temporary_files,
        }
    }

    fn flag(&self, content: DiskContent) -> &AtomicBool {
        match content {
            DiskContent::Records => &self.records,
            DiskContent::Bodies => &self.bodies,
            DiskContent::TemporaryFiles => &self.temporary_files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_has_a_state_of_its_own() {
        let low = LowSpace::default();
        assert!(low.contents().is_empty());
        for content in DiskContent::ALL {
            assert!(low.set_displaced(content, true) && low.is_displaced(content));
            assert!(low.set_displaced(content, false) && !low.is_displaced(content));
            assert!(low.set(content, true) && !low.set(content, true));
            assert_eq!(low.contents(), [content]);
            assert!(low.is_low(content) && low.set(content, false));
        }
    }
}
