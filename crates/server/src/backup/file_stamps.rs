//! Stamps of the files of cells, by which a back-up sees that a cell has not changed without opening its file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use personium_sqlite::record_file;
use personium_store::Space;

use crate::config::{Config, RecordStoreKind};
use crate::data_folder::RECORDS_DIR;
use crate::system;

/// A file that was changed less than so long ago has no stamp: the next change could have the same time.
const MIN_AGE_MS: i64 = 2_000;

/// The files of the records of a unit.
pub(super) struct FileStamps {
    /// Their folder. `None` if the records are in a database.
    folder: Option<PathBuf>,
}

impl FileStamps {
    /// The files of the unit of these settings.
    pub(super) fn of(config: &Config) -> Self {
        let is_embedded = matches!(config.store.kind, RecordStoreKind::Sqlite);
        let folder = is_embedded.then(|| config.store.data_dir.join(RECORDS_DIR));
        Self { folder }
    }

    /// The stamp of a space: file number, length, and time of the last change in nanoseconds, as the file system keeps it, of its file and of
    /// its write-ahead log. Each commit changes it. It can change without a commit. `None` if there is no file, or the last change was too short
    /// a time ago.
    pub(super) fn stamp(&self, space: &Space) -> Option<String> {
        let file = record_file(self.folder.as_ref()?, space);
        stamp(&file, system::clock().now_ms())
    }
}

fn stamp(file: &Path, now_ms: i64) -> Option<String> {
    let main = part(file, now_ms)??;
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    match part(Path::new(&log), now_ms)? {
        None => Some(main),
        Some(log) => Some(format!("{main} {log}")),
    }
}

/// The part of a stamp of one file; nothing for an empty or missing one. `None` if it was changed a moment ago or cannot be looked at.
#[expect(
    clippy::option_option,
    reason = "no stamp, and a stamp of nothing, are different"
)]
fn part(file: &Path, now_ms: i64) -> Option<Option<String>> {
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(None),
        Err(_) => return None,
    };
    if metadata.len() == 0 {
        return Some(None);
    }
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    let changed_ms = seconds
        .checked_mul(1000)?
        .checked_add(nanoseconds / 1_000_000)?;
    if now_ms.checked_sub(changed_ms)? < MIN_AGE_MS {
        return None;
    }
    let (number, length) = (metadata.ino(), metadata.len());
    Some(Some(format!(
        "{number}-{length}-{seconds}.{nanoseconds:09}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_changes_with_each_change_of_file_and_log_and_a_new_file_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let log = folder.path().join("a.db-wal");
        let later = system::clock().now_ms() + 3_600_000;
        assert_eq!(stamp(&file, later), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(stamp(&file, later), None);
        std::fs::write(&file, "first").unwrap();
        assert_eq!(stamp(&file, system::clock().now_ms()), None);
        let first = stamp(&file, later).unwrap();
        // An empty log is as good as none.
        std::fs::write(&log, "").unwrap();
        assert_eq!(stamp(&file, later).unwrap(), first);
        std::fs::write(&log, "log").unwrap();
        let with_log = stamp(&file, later).unwrap();
        assert_ne!(with_log, first);
        assert_eq!(stamp(&file, system::clock().now_ms()), None);
        // Another file with the same content and the same time of modification, as a copy that was put back has.
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        let copy = folder.path().join("copy");
        std::fs::write(&copy, "first").unwrap();
        std::fs::File::open(&copy)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        std::fs::rename(&copy, &file).unwrap();
        std::fs::remove_file(&log).unwrap();
        assert_ne!(stamp(&file, later).unwrap(), first);
        // A clock that was set back.
        assert_eq!(stamp(&file, later - 86_400_000), None);
    }
}
