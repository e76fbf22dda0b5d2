//! The data folder of a unit: whether it is new, whole or damaged.
//!
//! A unit is marked with a random id when its data folder is first used: in the records, in the folder of file bodies, and in the
//! file `unit.id` beside them. Where one of the three exists, all must exist and be equal: otherwise a part was lost, or is
//! that of another unit. A folder from before there were marks gets them when it is first used.

mod body_place;
mod copied;
mod evidence;
mod marks;
mod migration;
mod permissions;
mod shared;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_model::keys;
use personium_model::records::Records;
use personium_model::unit_mark;
use personium_sqlite::SqliteStore;
use personium_store::{KeyRange, RecordStore, Space, StoreError};
use personium_types::error::chain;
use personium_types::{CellId, Random};
use rustix::fs::Access;
use rustix::io::Errno;

pub use self::body_place::BodyPlace;
use self::evidence::Evidence;
pub use self::evidence::{Condition, PartProblems};
pub use self::marks::FILE as MARK_FILE;
pub(crate) use self::marks::rename_durably;
pub(crate) use self::migration::{StartedMigration, is_started as is_migration_started};
pub use self::permissions::restrict_new_files;
use crate::config::{Config, RecordStoreKind};
use crate::record_engine::RecordEngine;
use crate::system_user;

/// The folder of records in the data folder.
pub const RECORDS_DIR: &str = "records";
/// The file of the unit's own records, in the folder of records.
pub const UNIT_RECORDS_FILE: &str = "unit.db";
/// The file that names the administrator's cell once it is complete, in the data folder.
pub const ADMINISTRATOR_FILE: &str = "administrator";
/// The file that exists while the administrator's cell is being created, in the data folder.
pub const ADMINISTRATOR_STARTED_FILE: &str = "administrator.started";

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Parts of the unit are missing, or do not belong together.
    #[error(
        "{} is not a whole unit: {problems}. Restore the folder from a backup, all parts of the same time; \
         to go on with what is there, run: personium adopt --data {}",
        folder.display(),
        folder.display()
    )]
    Damaged {
        /// The data folder.
        folder: PathBuf,
        /// The problems.
        problems: PartProblems,
    },
    /// A unit is being copied to here, or that was interrupted.
    #[error("the copy of a unit to {} is not finished; run the same `personium {command}` again", folder.display())]
    UnfinishedCopy {
        /// The command that copies it.
        command: &'static str,
        /// The data folder.
        folder: PathBuf,
    },
    /// There is no part of a unit.
    #[error("there is no unit: {} has no part of one", folder.display())]
    NoUnit {
        /// The data folder.
        folder: PathBuf,
    },
    /// A file of the folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The records of the unit cannot be used.
    #[error("cannot use the records of the unit")]
    Records(#[source] personium_types::Error),
    /// The store of file bodies cannot be used.
    #[error("cannot use the file bodies in {place}")]
    Bodies {
        /// The folder or bucket.
        place: String,
        /// The cause.
        source: StoreError,
    },
}

/// The id of the unit whose mark is in a folder; `None` if there is none that can be read.
pub(crate) fn find_mark(folder: &Path) -> Option<String> {
    marks::read(&marks::path(folder)).ok().flatten()
}

/// The parts of the data folder of a unit.
#[derive(Debug, Clone)]
pub struct DataFolder {
    root: PathBuf,
    bodies: BodyPlace,
    /// Whether the records are in the data folder.
    owns_records: bool,
}

impl DataFolder {
    /// The data folder that the settings name, of a unit whose file bodies are in this place.
    #[must_use]
    pub fn new(config: &Config, bodies: BodyPlace) -> Self {
        Self {
            root: config.store.data_dir.clone(),
            bodies,
            owns_records: config.store.kind == RecordStoreKind::Sqlite,
        }
    }

    /// Creates the folder if it is missing. Takes all permissions of others from an existing one and from what is in it, or
    /// warns that they have some.
    ///
    /// # Errors
    /// [`DataFolderError::File`] if it cannot be created.
    pub fn prepare(&self) -> Result<(), DataFolderError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(|source| file_error(&self.root, source))?;
        permissions::tighten(&self.root);
        if let Some(folder) = self.bodies.foreign_folder() {
            permissions::warn_if_open(folder);
        }
        Ok(())
    }

    /// Checks that the unit is new or whole. Marks it unless it is marked.
    ///
    /// With `wants_administrator` a new unit is remembered as one whose administrator is to be created. Returns whether this start
    /// makes the unit.
    ///
    /// # Errors
    /// [`DataFolderError`] if the unit is not whole, or the folder cannot be read or written.
    pub async fn claim(
        &self,
        records: &RecordEngine,
        random: &dyn Random,
        wants_administrator: bool,
    ) -> Result<bool, DataFolderError> {
        let Some(records) = records.sqlite() else {
            return self
                .claim_shared(records, random, wants_administrator)
                .await;
        };
        let condition = self.condition(records).await?;
        let mark = match &condition {
            Condition::Whole(_) | Condition::Joining(_) => return Ok(false),
            Condition::Started(mark) => mark.clone(),
            Condition::New | Condition::Unmarked => random.uuid().to_string(),
        };
        if condition == Condition::New && wants_administrator {
            self.expect_administrator()?;
        }
        if condition == Condition::Unmarked {
            self.create_files_of_empty_cells(records).await?;
        }
        self.mark(records, &mark).await?;
        Ok(condition != Condition::Unmarked)
    }

    /// Marks whatever is in the folder as one whole unit. Cells that lost their files become empty.
    ///
    /// # Errors
    /// [`DataFolderError`] if the folder cannot be read or written.
    pub async fn adopt(
        &self,
        records: &RecordEngine,
        random: &dyn Random,
    ) -> Result<(), DataFolderError> {
        self.check_no_copy(records).await?;
        let Some(records) = records.sqlite() else {
            let mark = random.uuid().to_string();
            return self.adopt_shared(records, &mark).await;
        };
        if !self.unit_records().try_exists().unwrap_or(true) {
            self.expect_administrator()?;
        }
        let mark = random.uuid().to_string();
        self.bodies.replace_mark(&mark).await?;
        self.mark(records, &mark).await?;
        for cell in list_lost_cells(records).await? {
            let space = Space::Cell(cell);
            records.create_space(&space).await.map_err(records_error)?;
        }
        Ok(())
    }

    /// Checks that a part of a unit with its records in the folder is there, whole or not. Changes nothing.
    ///
    /// # Errors
    /// [`DataFolderError::NoUnit`]
    pub async fn expect_part_of_unit(&self) -> Result<(), DataFolderError> {
        match self.inspect(None).await {
            Ok(Condition::New) => Err(DataFolderError::NoUnit {
                folder: self.root.clone(),
            }),
            // Why it is not whole does not matter.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Finds out whether the unit is new, whole or damaged, without changing anything. Opens the file of each cell, so that
    /// the store reports lost and damaged ones.
    ///
    /// # Errors
    /// [`DataFolderError`] if the unit is not whole or the folder cannot be read.
    pub async fn inspect(
        &self,
        records: Option<&RecordEngine>,
    ) -> Result<Condition, DataFolderError> {
        let records = match records {
            None => return self.decide(Evidence::of_parts(self).await?),
            Some(RecordEngine::Sqlite(records)) => records,
            Some(shared) => return self.shared_condition(shared).await,
        };
        let condition = self.condition(records).await?;
        if matches!(condition, Condition::Whole(_)) {
            let cells = unit_mark::list_cells(&sqlite_records(records)).await;
            for cell in cells.map_err(DataFolderError::Records)? {
                let any = [keys::unit_mark()];
                // Failures are reported by the store.
                let _ = records.get(&Space::Cell(cell), &any).await;
            }
        }
        Ok(condition)
    }

    /// Whether the file bodies are in a folder, and not in an object store.
    pub(crate) const fn has_bodies_in_folder(&self) -> bool {
        matches!(self.bodies, BodyPlace::Folder { .. })
    }

    /// Returns why the folder of file bodies cannot be that of the unit in the data folder: it is missing, or has no mark
    /// although the data folder has one. A share that is not mounted looks like that.
    #[must_use]
    pub fn missing_files(&self) -> Option<String> {
        let exists = |path: &Path| path.try_exists().map_err(|error| error.to_string());
        let is_unit = exists(&marks::path(&self.root)).unwrap_or(false);
        let BodyPlace::Folder { path, .. } = &self.bodies else {
            return None;
        };
        let files = path.display();
        match (exists(path), exists(&marks::path(path))) {
            (Err(error), _) | (_, Err(error)) => Some(format!("{files}: {error}")),
            (Ok(false), _) if is_unit => Some(format!("{files} does not exist")),
            (Ok(true), Ok(false)) if is_unit => {
                Some(format!("{files} is empty, not mounted, or another one"))
            }
            _ => None,
        }
    }

    /// Returns a part of the unit that is missing now.
    #[must_use]
    pub fn missing_part(&self) -> Option<PathBuf> {
        let parts = [
            self.owns_records.then(|| self.unit_records()),
            self.bodies.mark_file(),
            Some(marks::path(&self.root)),
        ];
        parts
            .into_iter()
            .flatten()
            .find(|part| matches!(part.try_exists(), Ok(false)))
    }

    /// The file of the unit's own records.
    #[must_use]
    pub fn unit_records(&self) -> PathBuf {
        self.root.join(RECORDS_DIR).join(UNIT_RECORDS_FILE)
    }

    /// Checks that the file of the unit's own records is there and can be read.
    ///
    /// # Errors
    /// A text for the operator, which names the user of the unit if this one lacks a permission.
    pub(crate) fn expect_unit_records(&self) -> Result<(), String> {
        let path = self.unit_records();
        match rustix::fs::access(&path, Access::READ_OK) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(format!("there is no unit: {} is missing", path.display())),
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                let owner = fs::metadata(&self.root).map(|found| system_user::user(found.uid()));
                let owner = owner.map_or_else(|_| String::new(), |user| format!(", {user}"));
                Err(format!(
                    "cannot read {}: {error}; run the command as the user of the unit{owner}",
                    path.display()
                ))
            }
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    async fn condition(&self, records: &Arc<SqliteStore>) -> Result<Condition, DataFolderError> {
        let mut evidence = Evidence::of_parts(self).await?;
        if evidence.has_unit_records {
            self.check_no_copy(&RecordEngine::Sqlite(Arc::clone(records)))
                .await?;
            let records = sqlite_records(records);
            let mark = unit_mark::find(&records).await;
            evidence.mark_in_records = mark.map_err(|e| self.unreadable(e))?;
            // Fails if records may be hidden by damage.
            let counted = records.count(&KeyRange::prefix(&keys::unit_mark())).await;
            counted.map_err(|e| self.unreadable(e))?;
        }
        let condition = self.decide(evidence)?;
        if condition == Condition::Unmarked {
            self.check_catalogue(records).await?;
        }
        Ok(condition)
    }

    fn decide(&self, evidence: Evidence) -> Result<Condition, DataFolderError> {
        evidence.decide().map_err(|problems| self.damaged(problems))
    }

    fn damaged(&self, problems: PartProblems) -> DataFolderError {
        DataFolderError::Damaged {
            folder: self.root.clone(),
            problems,
        }
    }

    /// The error if the unit's own records cannot be read.
    fn unreadable(&self, error: personium_types::Error) -> DataFolderError {
        if error.code() != personium_types::Code::StoreCorrupt {
            return DataFolderError::Records(error);
        }
        let path = self.unit_records();
        let causes = std::error::Error::source(&error).map(chain);
        let causes = causes.unwrap_or_default();
        self.damaged(PartProblems::one(format!(
            "{} is damaged ({causes})",
            path.display()
        )))
    }

    /// Checks of a unit without marks that not all of its cells are unknown to its records.
    async fn check_catalogue(&self, records: &Arc<SqliteStore>) -> Result<(), DataFolderError> {
        let files = records.list_cells().map_err(records_error)?;
        let of_unit = sqlite_records(records);
        let listed = unit_mark::list_cells(&of_unit).await;
        let removed = unit_mark::list_removed_cells(&of_unit).await;
        let (listed, removed) = (
            listed.map_err(DataFolderError::Records)?,
            removed.map_err(DataFolderError::Records)?,
        );
        let unknown = files.iter().filter(|cell| !removed.contains(cell)).count();
        if unknown == 0 || !listed.is_empty() {
            return Ok(());
        }
        Err(self.damaged(PartProblems::one(format!(
            "{} names no cell, but there are files of {unknown} cells",
            self.unit_records().display()
        ))))
    }

    /// Creates the files of cells without one. Before there were marks, a cell got its file with its first change. A cell
    /// with file bodies has lost its file.
    async fn create_files_of_empty_cells(
        &self,
        records: &Arc<SqliteStore>,
    ) -> Result<(), DataFolderError> {
        for cell in list_lost_cells(records).await? {
            if !self.bodies.has_folder_of(&cell) {
                let space = Space::Cell(cell);
                records.create_space(&space).await.map_err(records_error)?;
            }
        }
        Ok(())
    }

    /// Remembers that the administrator of the unit is to be created.
    fn expect_administrator(&self) -> Result<(), DataFolderError> {
        let path = self.root.join(ADMINISTRATOR_STARTED_FILE);
        marks::write_durably(&path, "").map_err(|source| file_error(&path, source))
    }

    /// Writes all marks. A repetition after an interruption writes the same.
    async fn mark(&self, records: &Arc<SqliteStore>, mark: &str) -> Result<(), DataFolderError> {
        let started = marks::started_path(&self.root);
        marks::write(&started, mark).map_err(|source| file_error(&started, source))?;
        self.bodies.put_mark(mark).await?;
        let created = records.create_space(&Space::Unit).await;
        created.map_err(records_error)?;
        let put = unit_mark::put(&sqlite_records(records), mark).await;
        put.map_err(DataFolderError::Records)?;
        // Otherwise the last mark could be durable before that in the records.
        let log = self.unit_records().with_extension("db-wal");
        marks::sync_if_exists(&log).map_err(|source| file_error(&log, source))?;
        marks::rename_durably(&started, &marks::path(&self.root))
            .map_err(|source| file_error(&started, source))
    }
}

/// Returns the cells of the catalogue that have no file.
///
/// # Errors
/// [`DataFolderError`] if the records cannot be read.
pub async fn list_lost_cells(records: &Arc<SqliteStore>) -> Result<Vec<CellId>, DataFolderError> {
    let listed = unit_mark::list_cells(&sqlite_records(records)).await;
    let mut lost = Vec::new();
    for cell in listed.map_err(DataFolderError::Records)? {
        let exists = records.has_space(&Space::Cell(cell));
        if !exists.map_err(records_error)? {
            lost.push(cell);
        }
    }
    Ok(lost)
}

/// The path of the mark beside the keys of a node.
#[must_use]
pub fn mark_beside(data_dir: &Path) -> PathBuf {
    marks::path(data_dir)
}

fn unit_records(records: &RecordEngine) -> Records {
    Records::new(records.port(), Space::Unit)
}

fn sqlite_records(records: &Arc<SqliteStore>) -> Records {
    Records::new(Arc::clone(records) as Arc<dyn RecordStore>, Space::Unit)
}

/// Converts an error of the record store.
pub(crate) fn records_error(error: StoreError) -> DataFolderError {
    DataFolderError::Records(personium_model::records::store_error(error))
}

fn file_error(path: &Path, source: io::Error) -> DataFolderError {
    DataFolderError::File {
        path: path.to_owned(),
        source,
    }
}
