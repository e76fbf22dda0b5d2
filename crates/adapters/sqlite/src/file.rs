//! A database file and its connections.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use personium_store::{CommitSeq, ErrorDetail, Result, Space, StoreError, StructureVersion};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{io_error, sqlite_error};
use crate::journal::{self, JournalState};
use crate::log_damage;
use crate::settings::{CommitSync, SqliteSettings};
use crate::sql;
use crate::storage_limits::FileLimits;
use crate::write_queue::WriteQueue;

/// The number of prepared statements cached by each connection.
const STATEMENT_CACHE_CAPACITY: usize = 32;

/// The maximum size of the log file after a checkpoint.
const MAX_IDLE_LOG_BYTES: u32 = 16 << 20;

/// The number of uses of a connection after which its page cache is fitted to the size of the file again.
const CACHE_FIT_INTERVAL: u32 = 256;

/// The size of a large file divided by the page cache of its writer: new index entries go to all parts of the file.
const WRITER_CACHE_DIVISOR: u64 = 16;

/// The size of a large file divided by the page cache of a reader, which needs the upper pages of the tree.
const READER_CACHE_DIVISOR: u64 = 64;

/// The time that a connection waits for another that recovers or closes the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The SQLite file system that locks a file once for the whole process (<https://sqlite.org/vfs.html>).
///
/// The folder belongs to this process alone. The index of the log is then in memory, and a read needs no lock of the
/// operating system.
pub(crate) const EXCLUSIVE_VFS: &str = "unix-excl";

/// The pragma that holds the format of a file.
const FORMAT_PRAGMA: &str = "user_version";

/// A database file, which need not exist. Connections are opened on demand.
#[derive(Debug)]
pub(crate) struct DbFile {
    pub(crate) space: Space,
    pub(crate) path: PathBuf,
    /// Locked shared while a connection is in use, and exclusively to close all of them.
    pub(crate) connections_lock: RwLock<()>,
    /// The idle read connections.
    readers: Mutex<Vec<ReadConnection>>,
    /// The connection of the writer, unless it was closed or an error made it unusable.
    pub(crate) writer: Mutex<Option<WriteConnection>>,
    pub(crate) queue: Mutex<WriteQueue>,
    /// Whether the verification of the file was begun or is not needed.
    pub(crate) is_verified: AtomicBool,
    /// The log from before the first connection.
    earlier_log: Mutex<EarlierLog>,
    structure: KnownStructure,
}

/// The knowledge about the log that a former process has left.
#[derive(Debug, Default)]
enum EarlierLog {
    #[default]
    Unread,
    Whole,
    /// Its damage.
    Damaged(String),
}

/// The version of the structure of an open file, so that a read needs no statement for it.
///
/// It is set after a commit and before that is acknowledged, and loaded before a snapshot is taken.
#[derive(Debug, Default)]
struct KnownStructure {
    version: AtomicU64,
    /// Whether it was read from the file, which is not dropped.
    is_known: AtomicBool,
}

/// A connection for reading.
#[derive(Debug)]
pub(crate) struct ReadConnection {
    pub(crate) db: Connection,
    uses_until_cache_fit: u32,
}

/// A connection for writing.
#[derive(Debug)]
pub(crate) struct WriteConnection {
    pub(crate) db: Connection,
    pub(crate) last_commit: CommitSeq,
    pub(crate) structure: StructureVersion,
    pub(crate) is_sealed: bool,
    pub(crate) journal: JournalState,
    uses_until_cache_fit: u32,
}

impl WriteConnection {
    /// Moves the log into the file and makes it empty, if no reader needs it.
    ///
    /// # Errors
    /// If SQLite cannot do so.
    pub(crate) fn truncate_log(&self) -> rusqlite::Result<()> {
        self.db.busy_timeout(Duration::ZERO)?;
        let moved = self
            .db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.db.busy_timeout(BUSY_TIMEOUT)?;
        moved
    }
}

impl DbFile {
    pub(crate) fn new(space: Space, path: PathBuf) -> Self {
        Self {
            space,
            path,
            connections_lock: RwLock::default(),
            readers: Mutex::default(),
            writer: Mutex::default(),
            queue: Mutex::default(),
            is_verified: AtomicBool::new(false),
            earlier_log: Mutex::default(),
            structure: KnownStructure::default(),
        }
    }

    /// Checks that the log has no damage, before anything opens the file: whoever does reads the log up to there, and forgets the rest.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if acknowledged commits cannot be read; another error if the log cannot be read, which is tried again.
    pub(crate) fn expect_whole_log(&self, settings: &SqliteSettings) -> Result<()> {
        // Without a sync of each commit, a power cut can leave any part of a log.
        if settings.sync != CommitSync::Full {
            return Ok(());
        }
        // Locked while the log is read: nobody writes to it meanwhile.
        let mut log = self.earlier_log.lock();
        if matches!(*log, EarlierLog::Unread) {
            let found = log_damage::find(&self.path).map_err(|error| {
                let path = log_damage::log_of(&self.path);
                io_error(format!("failed to verify {}", path.display()), error)
            })?;
            *log = found.map_or(EarlierLog::Whole, EarlierLog::Damaged);
        }
        match &*log {
            EarlierLog::Damaged(what) => Err(StoreError::Corrupt(ErrorDetail::new(what.clone()))),
            EarlierLog::Unread | EarlierLog::Whole => Ok(()),
        }
    }

    /// Notes that this process has made the file, so that no former process has left a log.
    pub(crate) fn note_created(&self) {
        *self.earlier_log.lock() = EarlierLog::Whole;
    }

    /// The version of the structure, if a connection to the file was opened before.
    pub(crate) fn known_structure(&self) -> Option<StructureVersion> {
        let is_known = self.structure.is_known.load(Ordering::Acquire);
        is_known.then(|| self.structure.version.load(Ordering::Acquire))
    }

    /// Notes a version of the structure. Versions ascend, so an older one changes nothing.
    pub(crate) fn note_structure(&self, version: StructureVersion) {
        self.structure.version.fetch_max(version, Ordering::AcqRel);
        self.structure.is_known.store(true, Ordering::Release);
    }

    /// Forgets the version of the structure, since the space is dropped.
    pub(crate) fn forget_structure(&self) {
        self.structure.is_known.store(false, Ordering::Release);
    }

    /// Opens a connection to the file, which must exist.
    fn connect(&self) -> Result<Connection> {
        let db = self.configured().map_err(|e| self.open_error(e))?;
        self.check_format(&db)?;
        if self.known_structure().is_none() {
            let state = db.query_row(sql::STATE, [], |row| row.get(1));
            self.note_structure(state.map_err(|e| self.open_error(e))?);
        }
        Ok(db)
    }

    fn configured(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(&self.path, flags, EXCLUSIVE_VFS)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        // One plan for each statement, whatever is bound: else most scans are parsed and planned at each use.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.set_prepared_statement_cache_capacity(STATEMENT_CACHE_CAPACITY);
        Ok(db)
    }

    fn open_error(&self, error: rusqlite::Error) -> StoreError {
        sqlite_error(format!("failed to open {}", self.path.display()), error)
    }

    /// Refuses files of other programs and of newer versions. Upgrades a file of an older format.
    fn check_format(&self, db: &Connection) -> Result<()> {
        let refusal = |kind: fn(ErrorDetail) -> StoreError, text: String| {
            Err(kind(ErrorDetail::new(format!(
                "{} {text}",
                self.path.display()
            ))))
        };
        let pragma = |name| query_pragma(db, name).map_err(|e| self.open_error(e));
        if pragma("application_id")? != sql::APPLICATION_ID {
            return refusal(StoreError::Corrupt, "is not a file of this engine".into());
        }
        match pragma(FORMAT_PRAGMA)? {
            sql::FORMAT => Ok(()),
            newer if newer > sql::FORMAT => {
                let supported = sql::FORMAT;
                let text = format!("has format {newer}, this version supports up to {supported}");
                refusal(StoreError::Unsupported, text)
            }
            1..sql::FORMAT => upgrade(db).map_err(|e| self.open_error(e)),
            other => refusal(
                StoreError::Corrupt,
                format!("has the unknown format {other}"),
            ),
        }
    }

    /// Takes an idle read connection or opens one. Returns `None` if there is no file.
    ///
    /// The caller holds [`connections_lock`](Self::connections_lock).
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn take_reader(&self, settings: &SqliteSettings) -> Result<Option<ReadConnection>> {
        let idle = self.readers.lock().pop();
        let reader = match idle {
            Some(reader) => Some(reader),
            None => self.open_reader()?,
        };
        let Some(mut reader) = reader else {
            return Ok(None);
        };
        if is_fit_due(&mut reader.uses_until_cache_fit) {
            self.fit_cache(&reader.db, READER_CACHE_DIVISOR, settings)?;
        }
        Ok(Some(reader))
    }

    /// Opens a connection for reading. Returns `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn open_reader(&self) -> Result<Option<ReadConnection>> {
        let exists = self.path.try_exists().map_err(|e| {
            let operation = format!("failed to check whether {} exists", self.path.display());
            io_error(operation, e)
        })?;
        if !exists {
            return Ok(None);
        }
        let db = self.connect()?;
        db.pragma_update(None, "query_only", true)
            .map_err(|e| self.open_error(e))?;
        Ok(Some(ReadConnection {
            db,
            uses_until_cache_fit: 0,
        }))
    }

    /// Keeps a connection for the next reader. The caller holds [`connections_lock`](Self::connections_lock).
    pub(crate) fn return_reader(&self, reader: ReadConnection, settings: &SqliteSettings) {
        let mut idle = self.readers.lock();
        if idle.len() < settings.idle_readers {
            idle.push(reader);
        }
    }

    /// Opens a connection for writing to the file, which must exist.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn open_writer(
        &self,
        settings: &SqliteSettings,
        limits: FileLimits,
    ) -> Result<WriteConnection> {
        let db = self.connect()?;
        let prepare = || -> rusqlite::Result<(CommitSeq, StructureVersion, bool)> {
            let sync = match (settings.sync, self.space) {
                (CommitSync::Full, _) => "FULL",
                (CommitSync::Normal, _) | (CommitSync::ByCaller, Space::Unit) => "NORMAL",
                (CommitSync::ByCaller, Space::Cell(_)) => "OFF",
            };
            db.pragma_update(None, "synchronous", sync)?;
            db.pragma_update(None, "wal_autocheckpoint", limits.log_pages)?;
            if let Some(pages) = limits.max_pages {
                db.pragma_update(None, "max_page_count", pages)?;
            }
            db.pragma_update(None, "journal_size_limit", MAX_IDLE_LOG_BYTES)?;
            journal::prepare(&db, settings.journal.is_some())?;
            db.query_row(sql::STATE, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
        };
        let (last_commit, structure, is_sealed) = prepare().map_err(|e| self.open_error(e))?;
        // A commit of the former connection may have been done although it failed.
        self.note_structure(structure);
        Ok(WriteConnection {
            db,
            last_commit,
            structure,
            is_sealed,
            journal: JournalState::default(),
            uses_until_cache_fit: 0,
        })
    }

    /// Fits the page cache of the writer to the size of the file, once in [`CACHE_FIT_INTERVAL`] uses.
    ///
    /// # Errors
    /// If SQLite refuses it.
    pub(crate) fn fit_writer_cache(
        &self,
        writer: &mut WriteConnection,
        settings: &SqliteSettings,
    ) -> Result<()> {
        if is_fit_due(&mut writer.uses_until_cache_fit) {
            self.fit_cache(&writer.db, WRITER_CACHE_DIVISOR, settings)?;
        }
        Ok(())
    }

    fn fit_cache(&self, db: &Connection, divisor: u64, settings: &SqliteSettings) -> Result<()> {
        let file_bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let fitting = i64::try_from(file_bytes / (divisor << 10)).unwrap_or(i64::MAX);
        let min = i64::from(settings.cache_kib);
        let kib = fitting.clamp(min, i64::from(settings.large_cache_kib).max(min));
        db.pragma_update(None, "cache_size", -kib)
            .map_err(|e| self.open_error(e))
    }

    /// Whether no connection is open.
    pub(crate) fn is_closed(&self) -> bool {
        self.readers.lock().is_empty() && self.writer.lock().is_none()
    }

    /// Waits until no connection is in use, then closes all of them. The last one moves the log into the file.
    pub(crate) fn close(&self) {
        drop(self.close_and_lock());
    }

    /// As [`close`](Self::close). No connection can be opened until the returned guard is dropped.
    pub(crate) fn close_and_lock(&self) -> RwLockWriteGuard<'_, ()> {
        let exclusive = self.connections_lock.write();
        self.readers.lock().clear();
        *self.writer.lock() = None;
        exclusive
    }
}

/// Counts a use of a connection. Returns whether its page cache is to be fitted to the size of the file.
const fn is_fit_due(uses_left: &mut u32) -> bool {
    if *uses_left > 0 {
        *uses_left -= 1;
        return false;
    }
    *uses_left = CACHE_FIT_INTERVAL;
    true
}

fn query_pragma(db: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Upgrades a file of an older format, unless another connection has done so. No record changes: a value moves to a body, and
/// a record gets a checksum, when it is written again.
fn upgrade(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(sql::BEGIN_WRITE)?;
    let format = query_pragma(db, FORMAT_PRAGMA)?;
    for (of, additions) in [(2, sql::BODIES), (3, sql::SUMS), (4, sql::STRUCTURE)] {
        if format < of {
            db.execute_batch(additions)?;
        }
    }
    if format < sql::FORMAT {
        db.pragma_update(None, FORMAT_PRAGMA, sql::FORMAT)?;
    }
    db.execute_batch(sql::COMMIT)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn log_that_cannot_be_read_is_an_error_until_it_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings::new(folder.path());
        let file = DbFile::new(Space::Unit, folder.path().join("unit.db"));
        let log = log_damage::log_of(&file.path);
        // A folder can be opened as a file and not read.
        fs::create_dir(&log).unwrap();
        for _ in 0..2 {
            let error = file.expect_whole_log(&settings).unwrap_err();
            assert!(matches!(error, StoreError::Down(_)), "{error:?}");
        }
        // Without synced commits it is not judged.
        let unsynced = SqliteSettings {
            sync: CommitSync::Normal,
            ..settings.clone()
        };
        file.expect_whole_log(&unsynced).unwrap();
        fs::remove_dir(&log).unwrap();
        file.expect_whole_log(&settings).unwrap();
        // From then on the log is that of this process.
        fs::create_dir(&log).unwrap();
        file.expect_whole_log(&settings).unwrap();
        let made = DbFile::new(Space::Unit, file.path.clone());
        made.note_created();
        made.expect_whole_log(&settings).unwrap();
    }
}
