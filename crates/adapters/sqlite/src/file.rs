//! One database file: its connections and the batches that wait for it.

use std::collections::VecDeque;
use std::path::PathBuf;

use parking_lot::{Mutex, RwLock};
use personium_store::{Batch, KeyRange, Result, Seal, Space, Stamp, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use crate::error::{io_error, store_error};
use crate::{Settings, Sync, sql};

/// Statements that each connection keeps prepared.
const PREPARED: usize = 32;

/// Pages of the log after which a commit moves it into the file.
const CHECKPOINT_PAGES: u32 = 2000;

/// Bytes that the log file keeps after a checkpoint.
const LOG_KEPT: u32 = 16 << 20;

/// Uses of a connection after which its page cache is fitted to the size of the file again.
const FITTED_FOR: u32 = 256;

/// The page cache of the writer of a large file holds up to this part of it: new index entries go everywhere.
const WRITER_PART: u64 = 16;

/// The page cache of a reader of a large file holds up to this part of it: the upper pages of its tree.
const READER_PART: u64 = 64;

/// How long a connection waits for another that recovers or closes the file.
const BUSY: std::time::Duration = std::time::Duration::from_secs(10);

/// The SQLite file system that locks a file once for the whole process (<https://sqlite.org/vfs.html>): the folder is ours
/// alone anyway. The index of the log is then in memory, and a read needs no lock of the operating system.
const LOCKED_FOR_US: &str = "unix-excl";

/// A database file. It may be closed or not exist; connections are made when they are needed.
#[derive(Debug)]
pub(crate) struct DbFile {
    pub(crate) space: Space,
    pub(crate) path: PathBuf,
    /// Read by whoever uses a connection, written by whoever takes all of them away.
    pub(crate) gate: RwLock<()>,
    pub(crate) readers: Mutex<Vec<Reader>>,
    pub(crate) writer: Mutex<Option<Writer>>,
    pub(crate) queue: Mutex<Queue>,
}

/// A connection that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) db: Connection,
    until_fitted: u32,
}

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) db: Connection,
    /// The stamp of the last commit.
    pub(crate) stamp: Stamp,
    until_fitted: u32,
}

/// What waits for the writer of a file.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) jobs: VecDeque<Job>,
    /// Whether a writer thread has the file in hand or will come to it.
    pub(crate) scheduled: bool,
}

#[derive(Debug)]
pub(crate) enum Job {
    /// Commit a batch.
    Commit(Waiting),
    /// Close the file to commits if these ranges hold nothing.
    Seal(Vec<KeyRange>, oneshot::Sender<Result<Seal>>),
    /// Remove the file.
    Drop(oneshot::Sender<Result<()>>),
    /// Close the connections, since the file is not used.
    Retire,
}

/// A batch and who waits for it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<Stamp>>,
}

impl DbFile {
    pub(crate) fn new(space: Space, path: PathBuf) -> Self {
        Self {
            space,
            path,
            gate: RwLock::default(),
            readers: Mutex::default(),
            writer: Mutex::default(),
            queue: Mutex::default(),
        }
    }

    /// Opens a connection to the file, which must exist.
    fn connect(&self) -> Result<Connection> {
        self.connect_now()
            .map_err(|e| store_error(&e))
            .and_then(|db| {
                self.check_format(&db)?;
                Ok(db)
            })
    }

    fn connect_now(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(&self.path, flags, LOCKED_FOR_US)?;
        db.busy_timeout(BUSY)?;
        // One plan for each statement, whatever is bound: else most scans are parsed and planned at each use.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.set_prepared_statement_cache_capacity(PREPARED);
        Ok(db)
    }

    /// Refuses files of others and of newer programs; brings an older one to the format of this program.
    fn check_format(&self, db: &Connection) -> Result<()> {
        let path = self.path.display();
        if number(db, "application_id")? != sql::APPLICATION_ID {
            return Err(StoreError::Corrupt(format!(
                "{path} is not a file of this engine"
            )));
        }
        match number(db, FORMAT)? {
            sql::FORMAT => Ok(()),
            newer if newer > sql::FORMAT => {
                let ours = sql::FORMAT;
                Err(StoreError::Down(format!(
                    "{path} has format {newer}, this program reads up to {ours}: upgrade it"
                )))
            }
            1 => add_bodies(db),
            other => Err(StoreError::Corrupt(format!(
                "{path} has the unknown format {other}"
            ))),
        }
    }

    /// A connection for reading; `None` if there is no file. The caller holds the gate.
    pub(crate) fn reader(&self, settings: &Settings) -> Result<Option<Reader>> {
        let idle = self.readers.lock().pop();
        let reader = match idle {
            Some(reader) => Some(reader),
            None => self.new_reader()?,
        };
        let Some(mut reader) = reader else {
            return Ok(None);
        };
        self.fit_cache(&reader.db, &mut reader.until_fitted, READER_PART, settings)?;
        Ok(Some(reader))
    }

    fn new_reader(&self) -> Result<Option<Reader>> {
        let path = self.path.try_exists();
        let is_there =
            path.map_err(|e| io_error(&format!("cannot look for {}", self.path.display()), &e))?;
        if !is_there {
            return Ok(None);
        }
        let db = self.connect()?;
        db.pragma_update(None, "query_only", true)
            .map_err(|e| store_error(&e))?;
        Ok(Some(Reader {
            db,
            until_fitted: 0,
        }))
    }

    /// Keeps a connection for the next reader. The caller holds the gate.
    pub(crate) fn give_back(&self, reader: Reader, settings: &Settings) {
        let mut idle = self.readers.lock();
        if idle.len() < settings.idle_readers {
            idle.push(reader);
        }
    }

    /// A connection for writing to the file, which must exist.
    pub(crate) fn open_writer(&self, settings: &Settings) -> Result<Writer> {
        let db = self.connect()?;
        let prepare = || -> rusqlite::Result<Stamp> {
            let sync = match settings.sync {
                Sync::Full => "FULL",
                Sync::Normal => "NORMAL",
            };
            db.pragma_update(None, "synchronous", sync)?;
            db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            db.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
            db.query_row(sql::STAMP, [], |row| row.get(0))
        };
        let stamp = prepare().map_err(|e| store_error(&e))?;
        Ok(Writer {
            db,
            stamp,
            until_fitted: 0,
        })
    }

    /// Fits the page cache of the writer to the size of the file, now and then.
    pub(crate) fn fit_writer(&self, writer: &mut Writer, settings: &Settings) -> Result<()> {
        self.fit_cache(&writer.db, &mut writer.until_fitted, WRITER_PART, settings)
    }

    fn fit_cache(
        &self,
        db: &Connection,
        until_fitted: &mut u32,
        part: u64,
        settings: &Settings,
    ) -> Result<()> {
        if *until_fitted > 0 {
            *until_fitted -= 1;
            return Ok(());
        }
        *until_fitted = FITTED_FOR;
        let size = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let fitting = i64::try_from(size / (part << 10)).unwrap_or(i64::MAX);
        let least = i64::from(settings.cache_kib);
        let kib = fitting.clamp(least, i64::from(settings.large_cache_kib).max(least));
        db.pragma_update(None, "cache_size", -kib)
            .map_err(|e| store_error(&e))
    }

    /// Whether no connection is open.
    pub(crate) fn is_closed(&self) -> bool {
        self.readers.lock().is_empty() && self.writer.lock().is_none()
    }

    /// Closes all connections, once nobody uses one. The last one moves the log into the file.
    pub(crate) fn close(&self) {
        let _gate = self.gate.write();
        self.readers.lock().clear();
        *self.writer.lock() = None;
    }
}

/// Where a file says its format.
const FORMAT: &str = "user_version";

fn number(db: &Connection, pragma: &str) -> Result<i64> {
    db.pragma_query_value(None, pragma, |row| row.get(0))
        .map_err(|e| store_error(&e))
}

/// Brings a file from format 1 to 2, unless another connection just did. No row changes: values move when they are
/// written again.
fn add_bodies(db: &Connection) -> Result<()> {
    let execute = |sql: &str| db.execute_batch(sql).map_err(|e| store_error(&e));
    execute(sql::BEGIN_WRITE)?;
    if number(db, FORMAT)? == 1 {
        execute(sql::BODIES)?;
        db.pragma_update(None, FORMAT, 2)
            .map_err(|e| store_error(&e))?;
    }
    execute(sql::COMMIT)
}
