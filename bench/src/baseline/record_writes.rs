//! The baseline of creating entities: the same records written to SQLite with the same durability.

use std::path::Path;
use std::time::{Duration, Instant};

use personium_testkit::SplitMix64;
use rusqlite::Connection;

use crate::{BenchResult, rows};

/// The amount of work.
#[derive(Clone, Copy)]
pub(crate) struct RecordLoad {
    /// Database files; a unit has one for each cell. A file belongs to one writer.
    pub(crate) files: u64,
    /// Threads that write at the same time.
    pub(crate) writers: u64,
    /// Entities per commit.
    pub(crate) group: u64,
    /// Index entries per entity.
    pub(crate) entries: u64,
    /// The time after which the writers stop.
    pub(crate) duration: Duration,
}

/// Writes entities. Returns their number per second.
///
/// # Errors
/// A message if SQLite reports an error.
pub(crate) fn run(folder: &Path, load: RecordLoad) -> BenchResult<f64> {
    let start = Instant::now();
    let threads: Vec<_> = (0..load.writers)
        .map(|writer| {
            let folder = folder.to_owned();
            std::thread::spawn(move || write(&folder, writer, load).map_err(write_error))
        })
        .collect();
    let mut written = 0;
    for thread in threads {
        written += thread
            .join()
            .map_err(|_| "a writer panicked".to_owned())??;
    }
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

fn write_error(error: rusqlite::Error) -> String {
    format!("cannot write: {error}")
}

/// Writes to the files of one writer, in rotation. Returns the number of entities.
fn write(folder: &Path, writer: u64, load: RecordLoad) -> rusqlite::Result<u64> {
    let mut databases = (0..load.files)
        .filter(|file| file % load.writers == writer)
        .map(|file| open(&folder.join(format!("{file}.db"))))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let deadline = Instant::now() + load.duration;
    let (mut written, mut commits) = (0, 0);
    while Instant::now() < deadline {
        let index = commits % databases.len().max(1);
        let Some(database) = databases.get_mut(index) else {
            return Ok(0);
        };
        let transaction = database.transaction()?;
        for _ in 0..load.group {
            let number = written * load.writers + writer;
            insert(&transaction, number, load.entries)?;
            written += 1;
        }
        transaction.commit()?;
        commits += 1;
    }
    Ok(written)
}

/// Writes entities to one file.
///
/// # Errors
/// A message if SQLite reports an error.
pub(super) fn write_count(file: &Path, rows: u64, group: u64, entries: u64) -> BenchResult {
    let write = || -> rusqlite::Result<()> {
        let mut database = open(file)?;
        let mut written = 0;
        while written < rows {
            let end = (written + group.max(1)).min(rows);
            let transaction = database.transaction()?;
            for number in written..end {
                insert(&transaction, number, entries)?;
            }
            transaction.commit()?;
            written = end;
        }
        Ok(())
    };
    write().map_err(write_error)
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(file)?;
    database.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; \
         CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;",
    )?;
    Ok(database)
}

/// Inserts an entity and its index entries.
fn insert(database: &Connection, number: u64, entries: u64) -> rusqlite::Result<()> {
    let mut insert = database.prepare_cached("INSERT INTO record VALUES (?1, 1, ?2)")?;
    let key = rows::key(number);
    insert.execute((format!("e/{key}").as_bytes(), rows::json(number).as_bytes()))?;
    for entry in 0..entries {
        insert.execute((index_key(number, entry, entries).as_bytes(), &b""[..]))?;
    }
    Ok(())
}

/// Returns a key about as long as the index keys of a unit. The last two entries are times, which grow; the others are
/// random.
pub(super) fn index_key(number: u64, entry: u64, entries: u64) -> String {
    let value = if entry + 2 >= entries {
        number
    } else {
        SplitMix64::new(number ^ (entry << 48)).next_u64()
    };
    format!(
        "index of one set in one collection/{entry}/{value:020}/{}",
        rows::key(number)
    )
}
