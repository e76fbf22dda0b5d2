//! A data folder that a unit is copied to.

use std::fs;

use personium_model::unfinished_copy::UnfinishedCopy;

use super::{DataFolder, DataFolderError, Evidence, file_error, marks, unit_records};
use crate::record_engine::RecordEngine;

impl DataFolder {
    /// Refuses records that a unit is being copied to.
    pub(super) async fn check_no_copy(
        &self,
        records: &RecordEngine,
    ) -> Result<(), DataFolderError> {
        match self.find_copy(records).await {
            Ok(None) => Ok(()),
            Ok(Some((copy, _))) => Err(DataFolderError::UnfinishedCopy {
                command: match copy.from == UnfinishedCopy::BACKUP {
                    true => "restore",
                    false => "copy",
                },
                folder: self.root.clone(),
            }),
            Err(DataFolderError::Records(error)) => Err(self.unreadable(error)),
            Err(error) => Err(error),
        }
    }

    /// Returns the record of the unit that is being copied to here, with its version; `None` if none is.
    ///
    /// # Errors
    /// [`DataFolderError`] if the records cannot be read.
    pub async fn find_copy(
        &self,
        records: &RecordEngine,
    ) -> Result<Option<(UnfinishedCopy, u64)>, DataFolderError> {
        if self.owns_records && !self.has_unit_records()? {
            return Ok(None);
        }
        let found = UnfinishedCopy::find(&unit_records(records)).await;
        let found = found.map_err(DataFolderError::Records)?;
        Ok(found.map(|found| (found.value, found.version)))
    }

    fn has_unit_records(&self) -> Result<bool, DataFolderError> {
        let path = self.unit_records();
        path.try_exists()
            .map_err(|source| file_error(&path, source))
    }

    /// Returns what is in the folder, or in the place of file bodies, of another unit than this one, and any part of this one but
    /// its file bodies. Records are not looked at.
    ///
    /// # Errors
    /// [`DataFolderError`] if a part cannot be read.
    pub async fn find_content(&self, unit: &str) -> Result<Option<&'static str>, DataFolderError> {
        let found = Evidence::of_parts(self).await?;
        let has_other_files = match &found.mark_of_files {
            Some(mark) => mark != unit,
            None => found.has_files,
        };
        let content = [
            (
                found.mark_beside.is_some() || found.mark_started.is_some(),
                "a unit",
            ),
            (found.has_administrator, "a unit"),
            (found.has_cells, "records of cells"),
            (has_other_files, "file bodies of another unit"),
        ];
        let content = content.into_iter().find(|(is_found, _)| *is_found);
        Ok(content.map(|(_, name)| name))
    }

    /// Marks the place of file bodies as that of a unit.
    ///
    /// # Errors
    /// [`DataFolderError`] if the mark cannot be written.
    pub async fn mark_bodies(&self, unit: &str) -> Result<(), DataFolderError> {
        if let Some(folder) = self.bodies.folder_path() {
            fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        }
        self.bodies.put_mark(unit).await
    }

    /// Marks the data folder as that of a unit.
    ///
    /// # Errors
    /// [`DataFolderError`] if the mark cannot be written.
    pub fn mark_beside(&self, unit: &str) -> Result<(), DataFolderError> {
        let path = marks::path(&self.root);
        marks::write(&path, unit).map_err(|source| file_error(&path, source))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use personium_sqlite::SqliteStore;
    use personium_store::{RecordStore, Space};

    use super::*;
    use crate::components::record_settings;
    use crate::config::{ConfigSources, LoadedConfig};
    use crate::data_folder::BodyPlace;

    #[tokio::test]
    async fn unfinished_copy_names_the_command_that_goes_on() {
        for (from, command) in [
            (UnfinishedCopy::BACKUP, "`personium restore`"),
            ("/old", "`personium copy`"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let data_dir = root.path().display().to_string();
            let loaded = LoadedConfig::load(&ConfigSources {
                options: vec![("data.dir".to_owned(), data_dir)],
                ..ConfigSources::default()
            });
            let config = loaded.unwrap().config;
            let store = Arc::new(SqliteStore::open(record_settings(&config)).unwrap());
            let unfinished = UnfinishedCopy {
                unit: "0a".to_owned(),
                from: from.to_owned(),
                last_cell: None,
            };
            store.create_space(&Space::Unit).await.unwrap();
            let begun = store.commit(&Space::Unit, unfinished.begin().unwrap());
            begun.await.unwrap();
            let engine = RecordEngine::Sqlite(store);
            let folder = DataFolder::new(&config, BodyPlace::folder(&config));
            let refused = folder.check_no_copy(&engine).await.unwrap_err();
            assert!(refused.to_string().contains(command), "{refused}");
        }
    }
}
