//! Where the files lie, and how they come and go so that a crash at any moment leaves all or nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use personium_store::{Result, Space, StoreError};
use personium_types::BlobId;
use rusqlite::Connection;

use crate::error::{io_error, store_error};
use crate::{Settings, sql};

/// The folder of the engine: `unit.db`, `cells/ab/<id>.db`, `trash/` and `lock`.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// The bytes of an empty file.
    template: Vec<u8>,
    /// Held as long as the engine is open, so that no second process writes here.
    lock: Mutex<Option<File>>,
}

impl Folder {
    /// Takes the folder for this process and removes what a crash has left in the trash.
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let root = settings.folder.clone();
        let failed = |error: io::Error| {
            io_error(&format!("cannot use the folder {}", root.display()), &error)
        };
        fs::create_dir_all(root.join("cells")).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(root.join("lock"))
            .map_err(failed)?;
        lock.try_lock()
            .map_err(|_| StoreError::Busy(format!("another process uses {}", root.display())))?;
        let trash = root.join("trash");
        fs::remove_dir_all(&trash)
            .or_else(absent_is_fine)
            .map_err(failed)?;
        fs::create_dir(&trash).map_err(failed)?;
        let template = template(&trash.join("template.db"), settings.page_size)?;
        Ok(Self {
            root,
            template,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Lets other processes use the folder.
    pub(crate) fn release(&self) {
        *self.lock.lock() = None;
    }

    /// The file of the space.
    pub(crate) fn path(&self, space: &Space) -> PathBuf {
        match space {
            Space::Unit => self.root.join("unit.db"),
            Space::Cell(id) => {
                let id = id.to_string();
                let shelf = id.get(..2).unwrap_or_default().to_owned();
                self.root.join("cells").join(shelf).join(id + ".db")
            }
        }
    }

    /// Makes an empty file unless there is one. Where the disk does not tell whether there is one, nothing is made: an empty
    /// file in its place would be the loss of everything in it.
    pub(crate) fn create(&self, path: &Path) -> Result<()> {
        self.create_if_absent(path)
            .map_err(|e| io_error(&format!("cannot create {}", path.display()), &e))
    }

    fn create_if_absent(&self, path: &Path) -> io::Result<()> {
        if path.try_exists()? {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(&self.root);
        if !parent.try_exists()? {
            fs::create_dir_all(parent)?;
            sync_folder(parent.parent().unwrap_or(&self.root))?;
        }
        remove_companions(path)?;
        let new = self.trash_name();
        let mut file = File::create_new(&new)?;
        file.write_all(&self.template)?;
        file.sync_all()?;
        // Unlike a renaming, a link never takes the place of a file.
        fs::hard_link(&new, path)?;
        fs::remove_file(&new)?;
        sync_folder(parent)
    }

    /// Removes a file that no connection has open.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        self.remove_now(path)
            .map_err(|e| io_error(&format!("cannot remove {}", path.display()), &e))
    }

    fn remove_now(&self, path: &Path) -> io::Result<()> {
        let trash = self.trash_name();
        match fs::rename(path, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        sync_folder(path.parent().unwrap_or(&self.root))?;
        remove_companions(path)?;
        fs::remove_file(&trash)
    }

    fn trash_name(&self) -> PathBuf {
        self.root.join("trash").join(BlobId::random().to_string())
    }
}

/// The bytes of a file with empty tables.
fn template(path: &Path, page_size: u32) -> Result<Vec<u8>> {
    let make = || -> rusqlite::Result<()> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "page_size", page_size)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "application_id", sql::APPLICATION_ID)?;
        db.execute_batch(sql::TABLES)?;
        db.execute_batch(sql::BODIES)?;
        db.pragma_update(None, "user_version", sql::FORMAT)?;
        db.close().map_err(|(_, error)| error)
    };
    make().map_err(|e| store_error(&e))?;
    let bytes = fs::read(path).and_then(|bytes| fs::remove_file(path).map(|()| bytes));
    bytes.map_err(|e| io_error("cannot read the template", &e))
}

/// Removes the log files beside a database that is gone.
fn remove_companions(path: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        fs::remove_file(name).or_else(absent_is_fine)?;
    }
    Ok(())
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
