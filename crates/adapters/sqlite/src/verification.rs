//! The verification of a file when it is first opened after a start: the structure of its pages, and the checksums of all
//! records.
//!
//! A checksum is compared whenever its record is read. But a damaged page can also hide records, which then seem to be absent.
//! Only a look at the whole file finds that. A small file is verified before anything is read from it, a large one in the
//! background.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use personium_store::{ErrorDetail, Space, StoreError, StoreHealth, record_checksum};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};

use crate::file::{BUSY_TIMEOUT, EXCLUSIVE_VFS};
use crate::sql;

/// The size of a file and its log up to which it is verified before anything is read from it.
const MAX_IMMEDIATE_BYTES: u64 = 8 << 20;

/// The verification of the files of a store.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The spaces that were verified, or created, since the start.
    begun: Mutex<HashSet<Space>>,
    /// Whether any file has a damaged structure.
    any_broken: AtomicBool,
    broken: Mutex<HashMap<Space, String>>,
    queue: Mutex<Queue>,
    stopped: AtomicBool,
}

/// The large files that wait.
#[derive(Default)]
struct Queue {
    files: VecDeque<(Space, PathBuf)>,
    is_running: bool,
    current: Option<InterruptHandle>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("files", &self.files).finish()
    }
}

/// The damage of a file.
#[derive(Debug, PartialEq, Eq)]
enum Damage {
    /// Records may be hidden.
    Structure(String),
    /// Values of this number of records.
    Values(u64),
}

impl Verification {
    /// Notes that a file was created, which needs no verification.
    pub(crate) fn created(&self, space: &Space) {
        self.shared.begun.lock().insert(*space);
    }

    /// Verifies a file that is about to be opened, unless that was done since the start.
    pub(crate) fn on_open(&self, space: &Space, path: &Path, health: &Arc<StoreHealth>) {
        let is_first = self.shared.begun.lock().insert(*space);
        if !is_first {
            return;
        }
        if size(path) <= MAX_IMMEDIATE_BYTES {
            self.shared.verify(space, path, health);
            return;
        }
        let mut queue = self.shared.queue.lock();
        queue.files.push_back((*space, path.to_owned()));
        if queue.is_running {
            return;
        }
        let (shared, health) = (Arc::clone(&self.shared), Arc::clone(health));
        let thread = std::thread::Builder::new()
            .name("sqlite-verify".to_owned())
            .spawn(move || shared.run(&health));
        match thread {
            Ok(thread) => {
                queue.is_running = true;
                *self.thread.lock() = Some(thread);
            }
            Err(error) => tracing::warn!(%error, "failed to start a thread that verifies files"),
        }
    }

    /// The error of a search in a file whose damage may hide what is searched for.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file is such a one.
    pub(crate) fn check(&self, space: &Space) -> Result<(), StoreError> {
        if !self.shared.any_broken.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.shared.broken.lock().get(space) {
            Some(what) => Err(StoreError::Corrupt(ErrorDetail::new(what.clone()))),
            None => Ok(()),
        }
    }

    /// Ends the verification in the background.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        let thread = {
            let mut queue = self.shared.queue.lock();
            queue.files.clear();
            if let Some(current) = &queue.current {
                current.interrupt();
            }
            self.thread.lock().take()
        };
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("verifying thread panicked");
        }
    }
}

impl Shared {
    fn run(&self, health: &StoreHealth) {
        loop {
            let next = {
                let mut queue = self.queue.lock();
                queue.current = None;
                let next = queue.files.pop_front();
                queue.is_running = next.is_some();
                next
            };
            let Some((space, path)) = next else { return };
            self.verify(&space, &path, health);
        }
    }

    fn verify(&self, space: &Space, path: &Path, health: &StoreHealth) {
        let found = self.find_damage(path);
        let what = match found {
            Ok(None) => return,
            Ok(Some(Damage::Values(number))) => {
                format!("{} has {number} damaged records", path.display())
            }
            Ok(Some(Damage::Structure(what))) => {
                let what = format!("{} is damaged ({what})", path.display());
                self.broken.lock().insert(*space, what.clone());
                self.any_broken.store(true, Ordering::Release);
                what
            }
            Err(_) if self.stopped.load(Ordering::Acquire) => return,
            Err(error) => {
                // The failure is reported by whoever opens the file.
                tracing::debug!(file = %path.display(), %error, "failed to verify a file");
                return;
            }
        };
        health.report_damage(space, &what);
        tracing::error!(file = %path.display(), what, "stored data is damaged");
    }

    fn find_damage(&self, path: &Path) -> rusqlite::Result<Option<Damage>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(path, flags, EXCLUSIVE_VFS)?;
        db.pragma_update(None, "query_only", true)?;
        self.queue.lock().current = Some(db.get_interrupt_handle());
        let found = find_damage(&db);
        self.queue.lock().current = None;
        found
    }
}

/// Returns the damage of a file that may hide records.
///
/// # Errors
/// If the file cannot be read for another reason.
pub(crate) fn find_hiding_damage(path: &Path) -> rusqlite::Result<Option<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags_and_vfs(path, flags, EXCLUSIVE_VFS).and_then(|db| {
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.pragma_update(None, "query_only", true)?;
        find_damage(&db)
    });
    match opened.or_else(|error| damage_of(error).map(Some))? {
        Some(Damage::Structure(what)) => Ok(Some(what)),
        Some(Damage::Values(_)) | None => Ok(None),
    }
}

fn find_damage(db: &Connection) -> rusqlite::Result<Option<Damage>> {
    let format: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let checked = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match checked {
        Ok(text) if text == "ok" => {}
        Ok(text) => return Ok(Some(Damage::Structure(text))),
        Err(error) => return damage_of(error).map(Some),
    }
    if format < sql::FORMAT_WITH_SUMS {
        return Ok(None);
    }
    match count_damaged_records(db) {
        Ok((_, true)) => Ok(Some(Damage::Structure("a key was changed".to_owned()))),
        Ok((0, false)) => Ok(None),
        Ok((number, false)) => Ok(Some(Damage::Values(number))),
        Err(error) => damage_of(error).map(Some),
    }
}

fn damage_of(error: rusqlite::Error) -> rusqlite::Result<Damage> {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Ok(Damage::Structure(error.to_string()))
        }
        _ => Err(error),
    }
}

/// Returns the number of records that differ from their checksums, and whether the key of any of them was changed.
fn count_damaged_records(db: &Connection) -> rusqlite::Result<(u64, bool)> {
    let mut all = db.prepare(sql::ALL)?;
    let mut rows = all.query([])?;
    let (mut number, mut key_was_changed) = (0, false);
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_blob()?;
        let value = row.get_ref(1)?.as_blob_or_null()?;
        let (version, sum): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        let Some(sum) = sum else {
            number += u64::from(value.is_none());
            continue;
        };
        let version = u64::try_from(version).unwrap_or(u64::MAX);
        if value.is_none_or(|value| record_checksum::of(key, version, value) != sum) {
            number += 1;
            key_was_changed |= !record_checksum::is_of_key(sum, key);
        }
    }
    Ok((number, key_was_changed))
}

fn size(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let of = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    of(path) + of(log.as_ref())
}
