//! The folder of the database files. Files are created and removed atomically with respect to crashes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use personium_store::{ErrorDetail, Result, Space, StoreError};
use personium_types::CellId;
use rusqlite::{Connection, ErrorCode};

use crate::error::io_error;
use crate::settings::{CommitSync, SqliteSettings};
use crate::sql;

/// The folder of the engine: `unit.db`, `cells/ab/<id>.db`, `trash/` and `lock`.
///
/// A file is created in `trash/` and linked to its name when it is complete. It is removed by a move to `trash/`, which
/// is emptied when the folder is opened.
#[derive(Debug)]
pub(crate) struct DataFolder {
    root: PathBuf,
    page_size: u32,
    /// Whether the new file of a cell is synced to the disk.
    syncs_cells: bool,
    /// The bytes of an empty database file, made for the first new file.
    template: OnceLock<Vec<u8>>,
    /// The locked file that keeps other processes out of the folder.
    lock: Mutex<Option<File>>,
    /// The number of names made in `trash/`.
    trash_names: AtomicU64,
}

impl DataFolder {
    /// Locks the folder for this process and empties its trash.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process has locked it, [`StoreError::Down`] if it cannot be used.
    pub(crate) fn open(settings: &SqliteSettings) -> Result<Self> {
        let root = settings.folder.clone();
        let failed = |error: io::Error| {
            io_error(
                format!("failed to open the folder {}", root.display()),
                error,
            )
        };
        fs::create_dir_all(root.join("cells")).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(root.join("lock"))
            .map_err(failed)?;
        let lock = self::lock(&root, lock)?;
        empty_folder(&root.join("trash")).map_err(failed)?;
        Ok(Self::new(root, settings, lock))
    }

    /// Locks an existing folder for this process, and changes nothing in it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_existing(settings: &SqliteSettings) -> Result<Self> {
        let root = settings.folder.clone();
        let opened = File::open(root.join("lock"))
            .map_err(|e| io_error(format!("failed to open the folder {}", root.display()), e))?;
        let lock = lock(&root, opened)?;
        Ok(Self::new(root, settings, lock))
    }

    fn new(root: PathBuf, settings: &SqliteSettings, lock: File) -> Self {
        Self {
            root,
            page_size: settings.page_size,
            syncs_cells: settings.sync != CommitSync::ByCaller,
            template: OnceLock::new(),
            lock: Mutex::new(Some(lock)),
            trash_names: AtomicU64::new(0),
        }
    }

    /// Returns the ids of the cells that have a file.
    ///
    /// # Errors
    /// [`StoreError::Down`] if the folder cannot be read.
    pub(crate) fn list_cells(&self) -> Result<Vec<CellId>> {
        let cells = self.root.join("cells");
        let list = || -> io::Result<Vec<CellId>> {
            let mut found = Vec::new();
            for shelf in fs::read_dir(&cells)? {
                for entry in fs::read_dir(shelf?.path())? {
                    found.extend(cell_of_file(&entry?.file_name()));
                }
            }
            Ok(found)
        };
        list().map_err(|e| io_error(format!("failed to list {}", cells.display()), e))
    }

    /// Returns the first `limit` spaces after `after` that have a file, in their order.
    ///
    /// # Errors
    /// [`StoreError::Down`] if the folder cannot be read.
    pub(crate) fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        let cells = self.root.join("cells");
        let list = || -> io::Result<Vec<Space>> {
            let mut found = Vec::new();
            if after.is_none() && self.path(&Space::Unit).try_exists()? {
                found.push(Space::Unit);
            }
            let mut shelves = Vec::new();
            for shelf in fs::read_dir(&cells)? {
                shelves.push(shelf?.path());
            }
            // The names of shelves are the first digits of the ids, so both have the same order.
            shelves.sort_unstable();
            let first = after.map(|space| self.path(space));
            let first = first.as_deref().and_then(Path::parent);
            for shelf in shelves {
                let is_before = matches!(after, Some(Space::Cell(_)))
                    && first.is_some_and(|first| *shelf < *first);
                if found.len() >= limit {
                    break;
                }
                if is_before {
                    continue;
                }
                let mut of_shelf = Vec::new();
                for entry in fs::read_dir(&shelf)? {
                    of_shelf.extend(cell_of_file(&entry?.file_name()).map(Space::Cell));
                }
                of_shelf.retain(|space| after.is_none_or(|after| space > after));
                of_shelf.sort_unstable();
                found.append(&mut of_shelf);
            }
            found.truncate(limit);
            Ok(found)
        };
        list().map_err(|e| io_error(format!("failed to list {}", cells.display()), e))
    }

    /// Unlocks the folder for other processes.
    pub(crate) fn unlock(&self) {
        *self.lock.lock() = None;
    }

    /// Returns the path of the file of the space.
    pub(crate) fn path(&self, space: &Space) -> PathBuf {
        record_file(&self.root, space)
    }

    /// Creates an empty file unless the file exists.
    ///
    /// # Errors
    /// Also if the disk does not say whether the file exists: an empty file in its place would lose its content.
    pub(crate) fn create(&self, path: &Path) -> Result<()> {
        self.create_if_absent(path)
            .map_err(|e| io_error(format!("failed to create {}", path.display()), e))
    }

    fn create_if_absent(&self, path: &Path) -> io::Result<()> {
        if path.try_exists()? {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(&self.root);
        let is_synced = self.syncs_cells || parent == self.root;
        if !parent.try_exists()? {
            fs::create_dir_all(parent)?;
            if is_synced {
                sync_folder(parent.parent().unwrap_or(&self.root))?;
            }
        }
        remove_log_files(path)?;
        let new = self.trash_name();
        let mut file = File::create_new(&new)?;
        file.write_all(self.template()?)?;
        if is_synced {
            file.sync_all()?;
        }
        // A hard link, unlike a rename, never replaces an existing file.
        fs::hard_link(&new, path)?;
        fs::remove_file(&new)?;
        match is_synced {
            true => sync_folder(parent),
            false => Ok(()),
        }
    }

    /// Removes a file, which must have no open connection. Succeeds if there is none.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        self.remove_if_present(path)
            .map_err(|e| io_error(format!("failed to remove {}", path.display()), e))
    }

    fn remove_if_present(&self, path: &Path) -> io::Result<()> {
        let trash = self.trash_name();
        match fs::rename(path, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        sync_folder(path.parent().unwrap_or(&self.root))?;
        remove_log_files(path)?;
        fs::remove_file(&trash)
    }

    fn template(&self) -> io::Result<&[u8]> {
        if let Some(template) = self.template.get() {
            return Ok(template);
        }
        let path = self.trash_name();
        let template = template(&path, self.page_size);
        // After a failure, the disk may be full.
        let removed = fs::remove_file(&path).or_else(ignore_not_found);
        remove_log_files(&path)?;
        let template = template?;
        removed?;
        Ok(self.template.get_or_init(|| template))
    }

    /// Returns a name for a temporary file.
    pub(crate) fn trash_name(&self) -> PathBuf {
        let number = self.trash_names.fetch_add(1, Ordering::Relaxed);
        self.root.join("trash").join(number.to_string())
    }
}

/// Returns the bytes of a database file with empty tables.
fn template(path: &Path, page_size: u32) -> io::Result<Vec<u8>> {
    let create = || -> rusqlite::Result<()> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "page_size", page_size)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "application_id", sql::APPLICATION_ID)?;
        db.execute_batch(sql::TABLES)?;
        db.execute_batch(sql::BODIES)?;
        db.execute_batch(sql::SUMS)?;
        db.execute_batch(sql::STRUCTURE)?;
        db.pragma_update(None, "user_version", sql::FORMAT)?;
        db.close().map_err(|(_, error)| error)
    };
    create().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => io::Error::other(error),
    })?;
    fs::read(path)
}

/// The cell that a file belongs to; `None` if it is not the database of a cell.
fn cell_of_file(name: &OsStr) -> Option<CellId> {
    name.to_str()?.strip_suffix(".db")?.parse().ok()
}

fn lock(root: &Path, file: File) -> Result<File> {
    file.try_lock().map_err(|error| {
        let text = format!("the folder {} is in use by another process", root.display());
        StoreError::Busy(ErrorDetail::new(text).with_source(error))
    })?;
    Ok(file)
}

/// Removes what is in a folder, or creates it. The folder itself stays: on a full disk it could not be created again.
fn empty_folder(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::create_dir(path),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Removes the log files of a database file that was removed.
fn remove_log_files(path: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        fs::remove_file(name).or_else(ignore_not_found)?;
    }
    Ok(())
}

fn ignore_not_found(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
/// Returns the path of the file of a space in a folder of the engine. Its write-ahead log has the same name with `-wal` at the end.
#[must_use]
pub fn record_file(folder: &Path, space: &Space) -> PathBuf {
    match space {
        Space::Unit => folder.join("unit.db"),
        Space::Cell(id) => {
            let id = id.to_string();
            let shelf = id.get(..2).unwrap_or_default().to_owned();
            folder.join("cells").join(shelf).join(id + ".db")
        }
    }
}
