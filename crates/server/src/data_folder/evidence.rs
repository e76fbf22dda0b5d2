//! The evidence in the files of a data folder about the unit, and the decision.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use personium_types::CellId;

use super::{ADMINISTRATOR_FILE, DataFolder, DataFolderError, RECORDS_DIR, file_error, marks};

/// The condition of a data folder that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is no unit.
    New,
    /// The marking of the unit with this id was interrupted.
    Started(String),
    /// A unit from before there were marks.
    Unmarked,
    /// The unit with this id has all its parts.
    Whole(String),
    /// The database is that of the unit with this id, and this node has not been one of the unit.
    Joining(String),
}

/// The problems of the parts of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartProblems(Vec<String>);

impl PartProblems {
    pub(super) fn one(problem: String) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for PartProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// The parts of a unit that were found.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) paths: Paths,
    pub(super) mark_started: Option<String>,
    pub(super) mark_beside: Option<String>,
    pub(super) mark_of_files: Option<String>,
    pub(super) mark_in_records: Option<String>,
    pub(super) has_unit_records: bool,
    pub(super) has_cells: bool,
    pub(super) has_files: bool,
    pub(super) has_administrator: bool,
}

/// The paths of the parts, for messages.
#[derive(Debug, Default)]
pub(super) struct Paths {
    unit_records: PathBuf,
    mark_beside: PathBuf,
    mark_of_files: String,
}

impl Evidence {
    /// Looks at the parts of a unit. The mark in the records is not read.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub(super) async fn of_parts(folder: &DataFolder) -> Result<Self, DataFolderError> {
        let mark_of_files = folder.bodies.find_mark().await?;
        let has_files = folder.bodies.has_bodies().await?;
        let paths = Paths {
            unit_records: folder.unit_records(),
            mark_beside: marks::path(&folder.root),
            mark_of_files: folder.bodies.mark_name(),
        };
        let read = |path: &Path| marks::read(path).map_err(|source| file_error(path, source));
        let exists = |path: &Path| path.try_exists().map_err(|source| file_error(path, source));
        let any = |path: &Path, is_wanted: fn(&Path) -> bool| {
            has_entry(path, is_wanted).map_err(|source| file_error(path, source))
        };
        let cells = folder.root.join(RECORDS_DIR).join("cells");
        Ok(Self {
            mark_started: read(&marks::started_path(&folder.root))?,
            mark_beside: read(&paths.mark_beside)?,
            mark_of_files,
            mark_in_records: None,
            has_unit_records: exists(&paths.unit_records)?,
            has_cells: any(&cells, |shelf| {
                matches!(has_entry(shelf, |_| true), Ok(true))
            })?,
            has_files,
            has_administrator: exists(&folder.root.join(ADMINISTRATOR_FILE))?,
            paths,
        })
    }

    /// Decides about the unit.
    ///
    /// # Errors
    /// If it is not whole.
    pub(super) fn decide(self) -> Result<Condition, PartProblems> {
        if let Some(mark) = self.mark_started {
            return Ok(Condition::Started(mark));
        }
        let marks = [
            &self.mark_beside,
            &self.mark_of_files,
            &self.mark_in_records,
        ];
        let first = marks.iter().find_map(|mark| mark.as_ref());
        let Some(first) = first else {
            let is_lost = self.has_cells || self.has_files || self.has_administrator;
            return match (self.has_unit_records, is_lost) {
                (true, _) => Ok(Condition::Unmarked),
                (false, false) => Ok(Condition::New),
                (false, true) => Err(PartProblems::one(missing(&self.paths.unit_records))),
            };
        };
        let problems = self.missing_parts();
        if !problems.is_empty() {
            return Err(PartProblems(problems));
        }
        if marks.iter().all(|mark| mark.as_ref() == Some(first)) {
            return Ok(Condition::Whole(first.clone()));
        }
        let found = |part: &str, mark: &Option<String>| {
            let mark = mark.as_deref().unwrap_or_default();
            format!("{part} is of unit {mark}")
        };
        let shown = |path: &Path| path.display().to_string();
        Err(PartProblems(vec![
            found(&shown(&self.paths.unit_records), &self.mark_in_records),
            found(&self.paths.mark_of_files, &self.mark_of_files),
            found(&shown(&self.paths.mark_beside), &self.mark_beside),
        ]))
    }

    fn missing_parts(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.has_unit_records {
            problems.push(missing(&self.paths.unit_records));
        } else if self.mark_in_records.is_none() {
            let path = self.paths.unit_records.display();
            problems.push(format!("{path} is new or of another unit"));
        }
        if self.mark_of_files.is_none() {
            let mark = &self.paths.mark_of_files;
            problems.push(format!(
                "{mark} is missing: the place of file bodies is empty, not mounted, or another one"
            ));
        }
        if self.mark_beside.is_none() {
            problems.push(missing(&self.paths.mark_beside));
        }
        problems
    }
}

fn missing(path: &Path) -> String {
    format!("{} is missing", path.display())
}

/// Whether a folder, which need not exist, has an entry of this kind.
pub(super) fn has_entry(folder: &Path, is_wanted: fn(&Path) -> bool) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    for entry in entries {
        if is_wanted(&entry?.path()) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn is_folder_of_cell(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.parse::<CellId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    fn whole() -> Evidence {
        Evidence {
            mark_beside: mark("a"),
            mark_of_files: mark("a"),
            mark_in_records: mark("a"),
            has_unit_records: true,
            ..Evidence::default()
        }
    }

    #[test]
    fn unit_is_new_only_if_nothing_of_one_exists() {
        assert_eq!(Evidence::default().decide(), Ok(Condition::New));
        for found in [
            Evidence {
                has_cells: true,
                ..Evidence::default()
            },
            Evidence {
                has_files: true,
                ..Evidence::default()
            },
            Evidence {
                has_administrator: true,
                ..Evidence::default()
            },
            Evidence {
                has_unit_records: false,
                mark_in_records: None,
                ..whole()
            },
        ] {
            let text = format!("{found:?}");
            assert!(found.decide().is_err(), "{text}");
        }
    }

    #[test]
    fn unit_from_before_the_marks_is_taken_and_an_interrupted_marking_is_repeated() {
        let old = Evidence {
            has_unit_records: true,
            has_cells: true,
            ..Evidence::default()
        };
        assert_eq!(old.decide(), Ok(Condition::Unmarked));
        let interrupted = Evidence {
            mark_started: mark("a"),
            mark_of_files: mark("a"),
            ..Evidence::default()
        };
        assert_eq!(interrupted.decide(), Ok(Condition::Started("a".to_owned())));
    }

    #[test]
    fn each_missing_or_foreign_part_is_refused() {
        assert_eq!(whole().decide(), Ok(Condition::Whole("a".to_owned())));
        for (part, evidence) in [
            ("records", {
                let mark_in_records = None;
                Evidence {
                    mark_in_records,
                    ..whole()
                }
            }),
            ("files", {
                let mark_of_files = None;
                Evidence {
                    mark_of_files,
                    ..whole()
                }
            }),
            ("beside", {
                let mark_beside = None;
                Evidence {
                    mark_beside,
                    ..whole()
                }
            }),
            ("other files", {
                let mark_of_files = mark("b");
                Evidence {
                    mark_of_files,
                    ..whole()
                }
            }),
        ] {
            assert!(evidence.decide().is_err(), "{part}");
        }
    }
}
