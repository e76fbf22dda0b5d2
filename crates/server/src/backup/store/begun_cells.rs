//! The lists of the cells that a back-up has begun with.

use std::collections::HashSet;
use std::ops::Range;

use personium_types::CellId;

use super::{BackupStore, MAX_LIST_BYTES, UNFINISHED, path};
use crate::backup::BackupResult;
use crate::file_system;

/// The lists of the cells that a back-up has begun with.
pub(in crate::backup) struct BegunCells {
    name: String,
    /// The numbers of its parts.
    parts: Range<usize>,
}

impl BackupStore {
    /// Begins the lists of the cells that a back-up has begun with.
    ///
    /// # Errors
    /// A text for the operator.
    pub(in crate::backup) async fn begin_list(&self, name: &str) -> BackupResult<BegunCells> {
        let parts = self.list(UNFINISHED).await?;
        let parts = parts.iter().filter_map(|part| {
            let (of, number) = part.rsplit_once('.')?;
            number.parse::<usize>().ok().filter(|_| of == name)
        });
        // An interrupted one can have had the same name.
        let first = parts.max().map_or(0, |last| last.saturating_add(1));
        let mut begun = BegunCells {
            name: name.to_owned(),
            parts: first..first,
        };
        // So that the next one finds what is made for no cell.
        self.note(&mut begun, &[]).await?;
        Ok(begun)
    }

    /// Adds cells to the lists, before anything is written for them.
    ///
    /// # Errors
    /// A text for the operator.
    pub(in crate::backup) async fn note(
        &self,
        begun: &mut BegunCells,
        cells: &[CellId],
    ) -> BackupResult {
        self.check_lock()?;
        let text: String = cells.iter().map(|id| format!("{id}\n")).collect();
        let path = path(&format!("{}.{}", begun.name, begun.parts.end), UNFINISHED);
        begun.parts.end += 1;
        self.small_files.write(&path, text.into_bytes()).await
    }

    /// Returns the lists of back-ups that did not end: the names of the lists, and their contents. Those of the back-up `current` are left
    /// out.
    ///
    /// # Errors
    /// A text for the operator.
    pub(in crate::backup) async fn begun_lists(
        &self,
        current: &str,
    ) -> BackupResult<Vec<(String, String)>> {
        let mut found = Vec::new();
        for name in self.list(UNFINISHED).await? {
            let of = name.split_once('.').map_or(name.as_str(), |(of, _)| of);
            if of == current {
                continue;
            }
            let path = path(&name, UNFINISHED);
            let text = self.small_files.find(&path, MAX_LIST_BYTES).await?;
            if let Some(text) = text {
                found.push((name, String::from_utf8_lossy(&text).into_owned()));
            }
        }
        Ok(found)
    }

    /// Removes the lists of this back-up.
    ///
    /// # Errors
    /// A text for the operator.
    pub(in crate::backup) async fn end_lists(&self, begun: &BegunCells) -> BackupResult {
        for part in begun.parts.clone() {
            let list = format!("{}.{part}", begun.name);
            self.end_list(&list).await?;
        }
        Ok(())
    }

    /// Removes a list of cells.
    ///
    /// # Errors
    /// A text for the operator.
    pub(in crate::backup) async fn end_list(&self, name: &str) -> BackupResult {
        self.check_lock()?;
        self.small_files.remove(&path(name, UNFINISHED)).await
    }

    /// Returns the cells that back-ups which did not end have begun with, but for the back-up `current`. What those have written may not
    /// have reached the disk of a folder.
    ///
    /// # Errors
    /// A text for the operator.
    pub(in crate::backup) async fn interrupted_cells(
        &self,
        current: &str,
    ) -> BackupResult<HashSet<CellId>> {
        if self.is_remote() {
            return Ok(HashSet::new());
        }
        let lists = self.begun_lists(current).await?;
        let lines = lists.iter().flat_map(|(_, text)| text.lines());
        let cells: HashSet<CellId> = lines.filter_map(|line| line.parse().ok()).collect();
        if let Some(files) = &self.synced {
            // Else their checksums would be those of what is in memory.
            let folder = |id: &CellId| files.path.join(id.to_string());
            let folders: Vec<_> = cells.iter().map(folder).collect();
            let forget = move || {
                let forgotten = folders
                    .iter()
                    .map(|folder| file_system::forget_cached(folder));
                forgotten.collect::<std::io::Result<()>>()
            };
            let forgotten = tokio::task::spawn_blocking(forget).await;
            let forgotten = forgotten.map_err(|error| error.to_string())?;
            forgotten.map_err(|error| format!("{}: {error}", self.place))?;
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::place::BackupPlace;
    use crate::backup::scope::BackupScope;

    #[tokio::test]
    async fn lists_of_an_interrupted_backup_are_found_and_those_of_the_current_one_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = BackupPlace::Folder(folder.path().to_owned());
        let store = BackupStore::create(&place, ("unit", &BackupScope::Unit), None)
            .await
            .unwrap();
        let cell = CellId::from_bytes([7; 16]);
        let mut killed = store.begin_list("a").await.unwrap();
        store.note(&mut killed, &[cell]).await.unwrap();
        let current = store.begin_list("a+").await.unwrap();
        let again = store.begin_list("a").await.unwrap();
        assert_eq!(again.parts, 2..3);
        store.end_lists(&again).await.unwrap();
        let found = store.begun_lists("a+").await.unwrap();
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.0", "a.1"]);
        assert_eq!(found[1].1, format!("{cell}\n"));
        let interrupted = store.interrupted_cells("a+").await.unwrap();
        assert_eq!(interrupted, HashSet::from([cell]));
        store.end_lists(&current).await.unwrap();
        for (name, _) in &found {
            store.end_list(name).await.unwrap();
        }
        assert!(store.begun_lists("").await.unwrap().is_empty());
    }
}
