//! The file that is in a data folder from the begin of a migration on until its records say that one has begun. Without it, a folder whose
//! migration was killed in between would start as a new unit.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{RECORDS_DIR, UNIT_RECORDS_FILE, marks};

/// The name of the file.
const FILE: &str = "migration.started";

/// The file of a migration of which the records say nothing yet. Dropping it removes the file if there is no part of a unit either.
pub(crate) struct StartedMigration {
    data_dir: PathBuf,
}

impl StartedMigration {
    /// Marks a data folder. Returns nothing if it is that of a unit already, whose records say whether they are filled.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn mark(data_dir: &Path, from: &str) -> io::Result<Option<Self>> {
        if !is_started(data_dir)? {
            if has_unit(data_dir)? {
                return Ok(None);
            }
            let mut folder = DirBuilder::new();
            folder.recursive(true).mode(0o700).create(data_dir)?;
            marks::write_durably(&data_dir.join(FILE), &format!("{from}\n"))?;
        }
        Ok(Some(Self {
            data_dir: data_dir.to_owned(),
        }))
    }

    /// Removes the file: the records say what is to be known, or the migration was refused.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(self.data_dir.join(FILE))
    }
}

impl Drop for StartedMigration {
    fn drop(&mut self) {
        if matches!(has_unit(&self.data_dir), Ok(false)) {
            // It may be removed already.
            let _ = fs::remove_file(self.data_dir.join(FILE));
        }
    }
}

/// Whether a migration was begun of which the records may say nothing.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn is_started(data_dir: &Path) -> io::Result<bool> {
    data_dir.join(FILE).try_exists()
}

fn has_unit(data_dir: &Path) -> io::Result<bool> {
    let records = data_dir.join(RECORDS_DIR).join(UNIT_RECORDS_FILE);
    for part in [
        marks::path(data_dir),
        marks::started_path(data_dir),
        records,
    ] {
        if part.try_exists()? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_a_refused_migration_goes_and_that_of_an_interrupted_one_stays() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        assert!(!is_started(&data).unwrap());
        let started = StartedMigration::mark(&data, "there").unwrap().unwrap();
        assert!(is_started(&data).unwrap());
        drop(started);
        assert!(!is_started(&data).unwrap());

        let started = StartedMigration::mark(&data, "there").unwrap().unwrap();
        marks::write(&marks::started_path(&data), "0a").unwrap();
        drop(started);
        assert!(is_started(&data).unwrap());
        let again = StartedMigration::mark(&data, "there").unwrap().unwrap();
        again.remove().unwrap();
        assert!(!is_started(&data).unwrap());
        let of_unit = StartedMigration::mark(&data, "there").unwrap();
        assert!(of_unit.is_none() && !is_started(&data).unwrap());
    }
}
