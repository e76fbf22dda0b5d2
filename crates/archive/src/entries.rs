//! The names of an archive, and what is found among them.

use std::sync::Arc;

use crate::error::{BarError, EntryError};

/// One file in a bar file. A clone is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarEntry {
    name: Arc<str>,
    inner_at: usize,
    size: u64,
    position: usize,
}

impl BarEntry {
    /// The inner path: the name without the folder `bar/` of version 1.
    pub fn path(&self) -> &str {
        self.name.get(self.inner_at..).unwrap_or_default()
    }

    /// The full name in the archive.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The declared number of bytes, uncompressed. Reading fails if it is another.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The place among all entries of the archive, folders included.
    pub(crate) fn position(&self) -> usize {
        self.position
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Folder,
    /// With its place in the list of files.
    File(usize),
}

/// The names of an archive; no two are the same and no file is a folder.
#[derive(Debug, Default)]
pub(crate) struct EntryList {
    files: Vec<BarEntry>,
    /// Every name without `/` at the end; sorted once [`Listing::finish`] passed.
    names: Vec<(Arc<str>, EntryKind)>,
}

impl EntryList {
    pub(crate) fn add_folder(&mut self, name: &str) {
        let name = name.strip_suffix('/').unwrap_or(name);
        self.names.push((name.into(), EntryKind::Folder));
    }

    pub(crate) fn add_file(&mut self, name: &str, size: u64, position: usize) {
        let name: Arc<str> = name.into();
        self.names
            .push((name.clone(), EntryKind::File(self.files.len())));
        self.files.push(BarEntry {
            name,
            inner_at: 0,
            size,
            position,
        });
    }

    /// Checks the names against each other.
    ///
    /// # Errors
    /// Fails if a name is there twice or is that of a file and of a folder, also of a folder that only holds entries.
    pub(crate) fn check_names(&mut self) -> Result<(), BarError> {
        self.names.sort_by(|(a, _), (b, _)| a.cmp(b));
        for ((a, a_kind), (b, b_kind)) in self.names.iter().zip(self.names.iter().skip(1)) {
            if a == b {
                let both_files =
                    matches!((a_kind, b_kind), (EntryKind::File(_), EntryKind::File(_)));
                let same = a_kind == b_kind || both_files;
                let reason = if same {
                    EntryError::Duplicate
                } else {
                    EntryError::FileAndFolder
                };
                return Err(BarError::invalid_entry(a, reason));
            }
        }
        match self
            .files
            .iter()
            .find(|file| self.has_entries_below(&file.name))
        {
            Some(file) => Err(BarError::invalid_entry(
                &file.name,
                EntryError::FileAndFolder,
            )),
            None => Ok(()),
        }
    }

    /// Makes the inner paths: the names without `prefix`.
    ///
    /// # Errors
    /// Fails if a name does not have the prefix and is not its folder.
    pub(crate) fn set_prefix(&mut self, prefix: &str) -> Result<(), BarError> {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_outside = |name: &str| !name.starts_with(prefix) && name != folder;
        if let Some((name, _)) = self.names.iter().find(|(name, _)| is_outside(name)) {
            return Err(BarError::invalid_entry(name, EntryError::OutsideFolder));
        }
        for file in &mut self.files {
            file.inner_at = prefix.len();
        }
        Ok(())
    }

    /// The files, in the order of the archive.
    pub(crate) fn files(&self) -> &[BarEntry] {
        &self.files
    }

    pub(crate) fn find(&self, name: &str) -> Option<&BarEntry> {
        match self.find_kind(name)? {
            EntryKind::File(at) => self.files.get(at),
            EntryKind::Folder => None,
        }
    }

    /// Whether there is a folder of this name, given without `/` at the end, or an entry in it.
    pub(crate) fn has_folder(&self, name: &str) -> bool {
        self.find_kind(name) == Some(EntryKind::Folder) || self.has_entries_below(name)
    }

    fn find_kind(&self, name: &str) -> Option<EntryKind> {
        let at = self
            .names
            .binary_search_by(|(other, _)| other.as_ref().cmp(name))
            .ok()?;
        self.names.get(at).map(|(_, kind)| *kind)
    }

    fn has_entries_below(&self, name: &str) -> bool {
        let inside = format!("{name}/");
        let at = self
            .names
            .partition_point(|(other, _)| other.as_ref() < inside.as_str());
        self.names
            .get(at)
            .is_some_and(|(other, _)| other.starts_with(&inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Result<EntryList, BarError> {
        let mut listing = EntryList::default();
        for (position, name) in names.iter().enumerate() {
            if name.ends_with('/') {
                listing.add_folder(name);
            } else {
                listing.add_file(name, 0, position);
            }
        }
        listing.check_names()?;
        Ok(listing)
    }

    #[test]
    fn folders_are_found_whether_named_or_implied() {
        let listing = listing(&["a/", "b/c/d", "b-c", "b.c/e"]).unwrap();
        for folder in ["a", "b", "b/c", "b.c"] {
            assert!(listing.has_folder(folder), "{folder}");
        }
        for other in ["", "a/", "b/", "b/c/d", "b-c", "b.", "c"] {
            assert!(!listing.has_folder(other), "{other}");
        }
        assert_eq!(listing.find("b/c/d").map(BarEntry::position), Some(1));
        assert!(
            listing.find("a").is_none()
                && listing.find("b/c").is_none()
                && listing.find("x").is_none()
        );
    }

    #[test]
    fn a_name_stands_for_one_thing() {
        let reason = |names: &[&str]| match listing(names) {
            Err(BarError::InvalidEntry { reason, .. }) => Some(reason),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(reason(&["a", "b", "a"]), Some(EntryError::Duplicate));
        assert_eq!(reason(&["a/", "a/"]), Some(EntryError::Duplicate));
        assert_eq!(reason(&["a", "a/"]), Some(EntryError::FileAndFolder));
        assert_eq!(
            reason(&["a/b", "a-b", "a"]),
            Some(EntryError::FileAndFolder)
        );
        assert_eq!(reason(&["a/b/c/d", "a/b"]), Some(EntryError::FileAndFolder));
        assert_eq!(reason(&["a/b", "a/", "A", "ab", "a-"]), None);
    }

    #[test]
    fn the_prefix_is_taken_from_every_path() {
        let mut inside = listing(&["bar/", "bar/a/b"]).unwrap();
        inside.set_prefix("bar/").unwrap();
        assert_eq!(inside.files().first().map(BarEntry::path), Some("a/b"));
        assert_eq!(inside.files().first().map(BarEntry::name), Some("bar/a/b"));
        for outside in ["ba", "barn/a", "x/bar/a"] {
            let mut listing = listing(&["bar/a", outside]).unwrap();
            assert!(listing.set_prefix("bar/").is_err(), "{outside}");
        }
    }
}
