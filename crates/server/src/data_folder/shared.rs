//! The marks of a unit whose records are in a database, which other nodes of the unit may share.
//!
//! The mark in the database decides: of several nodes that start a new unit at once, one puts it. A node without a mark beside its
//! keys joins the unit if the folder of file bodies is that of the unit.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use personium_model::unit_mark;
use personium_store::Space;
use personium_types::Random;

use super::{
    ADMINISTRATOR_STARTED_FILE, Condition, DataFolder, DataFolderError, PartProblems, file_error,
    marks, records_error, unit_records,
};
use crate::record_engine::RecordEngine;

/// The number of looks at the marks while another node may be writing them.
const LOOKS: u32 = 10;

/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// The marks that were found.
#[derive(Debug, Default, Clone)]
struct SharedMarks {
    in_database: Option<String>,
    of_files: Option<String>,
    beside: Option<String>,
    started: Option<String>,
    has_files: bool,
    files_name: String,
    beside_path: PathBuf,
}

impl SharedMarks {
    /// Decides about the unit.
    ///
    /// # Errors
    /// If its parts do not belong together.
    fn decide(&self) -> Result<Condition, PartProblems> {
        let problem = |text: String| Err(PartProblems::one(text));
        let files = &self.files_name;
        let beside = self.beside_path.display();
        if let Some(started) = &self.started {
            let is_own = |mark: &Option<String>| mark.as_ref().is_none_or(|mark| mark == started);
            if is_own(&self.in_database) && is_own(&self.of_files) {
                return Ok(Condition::Started(started.clone()));
            }
        }
        let Some(unit) = &self.in_database else {
            return match (&self.of_files, &self.beside) {
                (None, None) if !self.has_files => Ok(Condition::New),
                (None, None) => {
                    problem("the database is new, but there are file bodies".to_owned())
                }
                (Some(other), _) => problem(format!(
                    "the database is new or of another unit, and {files} is of unit {other}"
                )),
                (_, Some(other)) => problem(format!(
                    "the database is new or of another unit, and {beside} is of unit {other}"
                )),
            };
        };
        match (&self.of_files, &self.beside) {
            (None, _) => problem(format!(
                "{files} is missing: the folder of file bodies is empty, not mounted, or another one"
            )),
            (Some(other), _) if other != unit => problem(format!(
                "the database is of unit {unit}, and {files} is of unit {other}"
            )),
            (_, Some(other)) if other != unit => problem(format!(
                "the database is of unit {unit}, and {beside} is of unit {other}"
            )),
            (_, None) => Ok(Condition::Joining(unit.clone())),
            _ => Ok(Condition::Whole(unit.clone())),
        }
    }
}

impl DataFolder {
    async fn shared_marks(&self, records: &RecordEngine) -> Result<SharedMarks, DataFolderError> {
        let read = |path: &PathBuf| marks::read(path).map_err(|source| file_error(path, source));
        let beside_path = marks::path(&self.root);
        let in_database = unit_mark::find(&unit_records(records)).await;
        Ok(SharedMarks {
            in_database: in_database.map_err(DataFolderError::Records)?,
            of_files: self.bodies.find_mark().await?,
            beside: read(&beside_path)?,
            started: read(&marks::started_path(&self.root))?,
            has_files: self.bodies.has_bodies().await?,
            files_name: self.bodies.mark_name(),
            beside_path,
        })
    }

    /// The condition of a unit whose records are in a database.
    ///
    /// # Errors
    /// [`DataFolderError`] if it is not whole, or cannot be read.
    pub(super) async fn shared_condition(
        &self,
        records: &RecordEngine,
    ) -> Result<Condition, DataFolderError> {
        self.check_no_copy(records).await?;
        let marks = self.shared_marks(records).await?;
        marks.decide().map_err(|problems| self.damaged(problems))
    }

    /// As [`DataFolder::claim`], for records in a database.
    pub(super) async fn claim_shared(
        &self,
        records: &RecordEngine,
        random: &dyn Random,
        wants_administrator: bool,
    ) -> Result<bool, DataFolderError> {
        let mut looks = 0;
        loop {
            looks += 1;
            let mark = match self.shared_condition(records).await {
                Ok(Condition::Joining(mark)) => return self.join(&mark).map(|()| false),
                Ok(Condition::New) => {
                    if wants_administrator {
                        self.expect_administrator()?;
                    }
                    random.uuid().to_string()
                }
                Ok(Condition::Started(mark)) => mark,
                Ok(_) => return Ok(false),
                Err(error @ DataFolderError::Damaged { .. }) if looks == LOOKS => {
                    return Err(error);
                }
                Err(DataFolderError::Damaged { .. }) => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if self.start_unit(records, &mark).await? {
                return Ok(true);
            }
        }
    }

    /// Writes all marks of a new unit. Returns whether this is the node that made the unit.
    async fn start_unit(
        &self,
        records: &RecordEngine,
        mark: &str,
    ) -> Result<bool, DataFolderError> {
        let started = marks::started_path(&self.root);
        marks::write(&started, mark).map_err(|source| file_error(&started, source))?;
        let created = records.port().create_space(&Space::Unit).await;
        created.map_err(records_error)?;
        let is_first = unit_mark::create(&unit_records(records), mark).await;
        if !is_first.map_err(DataFolderError::Records)? {
            // Another node makes the unit and its administrator.
            for path in [started, self.root.join(ADMINISTRATOR_STARTED_FILE)] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(file_error(&path, error));
                    }
                    _ => {}
                }
            }
            return Ok(false);
        }
        self.write_file_marks(mark).await?;
        Ok(true)
    }

    /// Makes this node one of an existing unit.
    fn join(&self, mark: &str) -> Result<(), DataFolderError> {
        tracing::info!(unit = mark, "this node joins the unit");
        let beside = marks::path(&self.root);
        marks::write(&beside, mark).map_err(|source| file_error(&beside, source))
    }

    /// Marks database, folders and this node as one unit, whatever they were.
    pub(super) async fn adopt_shared(
        &self,
        records: &RecordEngine,
        mark: &str,
    ) -> Result<(), DataFolderError> {
        let started = marks::started_path(&self.root);
        marks::write(&started, mark).map_err(|source| file_error(&started, source))?;
        let created = records.port().create_space(&Space::Unit).await;
        created.map_err(records_error)?;
        let put = unit_mark::put(&unit_records(records), mark).await;
        put.map_err(DataFolderError::Records)?;
        self.bodies.replace_mark(mark).await?;
        self.write_file_marks(mark).await
    }

    /// Writes the mark in the folder of file bodies, then the one beside the keys.
    async fn write_file_marks(&self, mark: &str) -> Result<(), DataFolderError> {
        self.bodies.put_mark(mark).await?;
        let started = marks::started_path(&self.root);
        marks::rename_durably(&started, &marks::path(&self.root))
            .map_err(|source| file_error(&started, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    fn whole() -> SharedMarks {
        SharedMarks {
            in_database: mark("a"),
            of_files: mark("a"),
            beside: mark("a"),
            ..SharedMarks::default()
        }
    }

    #[test]
    fn node_joins_only_the_unit_of_its_file_bodies() {
        assert_eq!(whole().decide(), Ok(Condition::Whole("a".to_owned())));
        let beside = None;
        let joining = SharedMarks { beside, ..whole() };
        assert_eq!(joining.decide(), Ok(Condition::Joining("a".to_owned())));
        assert_eq!(SharedMarks::default().decide(), Ok(Condition::New));
    }

    #[test]
    fn interrupted_start_is_repeated_unless_another_node_made_the_unit() {
        let interrupted = SharedMarks {
            started: mark("b"),
            ..SharedMarks::default()
        };
        assert_eq!(interrupted.decide(), Ok(Condition::Started("b".to_owned())));
        let overtaken = SharedMarks {
            started: mark("b"),
            beside: None,
            ..whole()
        };
        assert_eq!(overtaken.decide(), Ok(Condition::Joining("a".to_owned())));
    }

    #[test]
    fn parts_of_different_units_are_refused() {
        let lost_database = None;
        for found in [
            SharedMarks {
                in_database: lost_database,
                ..whole()
            },
            SharedMarks {
                beside: mark("a"),
                ..SharedMarks::default()
            },
            SharedMarks {
                has_files: true,
                ..SharedMarks::default()
            },
            SharedMarks {
                of_files: None,
                ..whole()
            },
            SharedMarks {
                of_files: mark("b"),
                ..whole()
            },
            SharedMarks {
                beside: mark("b"),
                ..whole()
            },
            SharedMarks {
                of_files: None,
                beside: None,
                ..whole()
            },
        ] {
            assert!(found.decide().is_err(), "{found:?}");
        }
    }
}
