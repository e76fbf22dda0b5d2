//! The entries of an archive, and look-ups by name.

use std::sync::Arc;

use crate::error::{BarError, EntryError};

/// A file in a bar file. A clone is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarEntry {
    name: Arc<str>,
    prefix_bytes: usize,
    size: u64,
    position: usize,
}

impl BarEntry {
    /// The inner path: the name without the folder `bar/` of version 1.
    pub fn path(&self) -> &str {
        self.name.get(self.prefix_bytes..).unwrap_or_default()
    }

    /// The full name in the archive.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The declared uncompressed size in bytes. Reading fails if the content has another size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The index among all entries of the archive, including folders.
    pub(crate) fn position(&self) -> usize {
        self.position
    }
}

/// The kind of a named entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Folder,
    /// A file with its index in the list of files.
    File(usize),
}

/// The files and names of an archive. Names are unique, and no file is also a folder.
#[derive(Debug, Default)]
pub(crate) struct EntryList {
    files: Vec<BarEntry>,
    /// All names without trailing `/`, sorted by [`EntryList::check_names`].
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
            prefix_bytes: 0,
            size,
            position,
        });
    }

    /// Sorts and checks the names.
    ///
    /// # Errors
    /// [`BarError::InvalidEntry`] if a name is not unique, or is the name of a file and of a folder, including folders without
    /// their own entry.
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

    /// Sets the prefix that inner paths do not contain. Entries outside of it are no part of the application: they are left
    /// out.
    pub(crate) fn set_prefix(&mut self, prefix: &str) {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_inside = |name: &str| name.starts_with(prefix) || name == folder;
        let mut kept = 0;
        let mut positions = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let inside = is_inside(&file.name);
            positions.push(inside.then_some(kept));
            kept += usize::from(inside);
        }
        self.files.retain(|file| is_inside(&file.name));
        for file in &mut self.files {
            file.prefix_bytes = prefix.len();
        }
        self.names.retain_mut(|(name, kind)| {
            if let EntryKind::File(at) = kind
                && let Some(Some(position)) = positions.get(*at)
            {
                *at = *position;
            }
            is_inside(name)
        });
    }

    /// The files, in the order of the archive.
    pub(crate) fn files(&self) -> &[BarEntry] {
        &self.files
    }

    /// The names of the folders that have their own entries, without trailing `/`.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        let is_folder = |kind: &EntryKind| *kind == EntryKind::Folder;
        let folders = self.names.iter().filter(move |(_, kind)| is_folder(kind));
        folders.map(|(name, _)| name.as_ref())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&BarEntry> {
        match self.find_kind(name)? {
            EntryKind::File(at) => self.files.get(at),
            EntryKind::Folder => None,
        }
    }

    /// Whether a folder with this name (without trailing `/`) exists, or an entry in it.
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

    fn entry_list(names: &[&str]) -> Result<EntryList, BarError> {
        let mut list = EntryList::default();
        for (position, name) in names.iter().enumerate() {
            if name.ends_with('/') {
                list.add_folder(name);
            } else {
                list.add_file(name, 0, position);
            }
        }
        list.check_names()?;
        Ok(list)
    }

    #[test]
    fn folders_with_and_without_entry_are_found() {
        let list = entry_list(&["a/", "b/c/d", "b-c", "b.c/e"]).unwrap();
        for folder in ["a", "b", "b/c", "b.c"] {
            assert!(list.has_folder(folder), "{folder}");
        }
        for other in ["", "a/", "b/", "b/c/d", "b-c", "b.", "c"] {
            assert!(!list.has_folder(other), "{other}");
        }
        assert_eq!(list.find("b/c/d").map(BarEntry::position), Some(1));
        assert!(list.find("a").is_none() && list.find("b/c").is_none() && list.find("x").is_none());
    }

    #[test]
    fn duplicate_and_conflicting_names_are_refused() {
        let reason = |names: &[&str]| match entry_list(names) {
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
    fn prefix_is_removed_from_every_path() {
        let mut inside = entry_list(&["bar/", "bar/a/b"]).unwrap();
        inside.set_prefix("bar/");
        assert_eq!(inside.files().first().map(BarEntry::path), Some("a/b"));
        assert_eq!(inside.files().first().map(BarEntry::name), Some("bar/a/b"));
        for outside in ["ba", "barn/a", "x/bar/a"] {
            let mut list = entry_list(&[outside, "bar/b", "bar/a"]).unwrap();
            list.set_prefix("bar/");
            assert!(list.find(outside).is_none(), "{outside}");
            assert_eq!(list.find("bar/a").map(BarEntry::path), Some("a"));
            assert_eq!(list.files().len(), 2, "{outside}");
        }
    }
}
