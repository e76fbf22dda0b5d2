//! The floor of creating entities: the same records into SQLite with the same durability, nothing around it.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::random::Random;
use crate::{Outcome, rows};

/// What is written.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Files, as a unit has one for each cell; each has a writer of its own, up to `writers`.
    pub(crate) files: u64,
    /// Threads that write at the same time.
    pub(crate) writers: u64,
    /// Entities in one commit.
    pub(crate) group: u64,
    /// Small index entries written with each entity.
    pub(crate) entries: u64,
    /// How long.
    pub(crate) time: Duration,
}

/// Writes until the time is over; gives entities per second.
///
/// # Errors
/// When SQLite refuses.
pub(crate) fn run(folder: &Path, plan: Plan) -> Outcome<f64> {
    let began = Instant::now();
    let threads: Vec<_> = (0..plan.writers)
        .map(|writer| {
            let folder = folder.to_owned();
            std::thread::spawn(move || write(&folder, writer, plan))
        })
        .collect();
    let mut written = 0;
    for thread in threads {
        written += thread.join().map_err(|_| "a writer ended".to_owned())??;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

fn write(folder: &Path, writer: u64, plan: Plan) -> Outcome<u64> {
    let told = |e: rusqlite::Error| format!("cannot write: {e}");
    let mut open = Vec::new();
    for file in (0..plan.files).filter(|file| file % plan.writers == writer) {
        let db = Connection::open(folder.join(format!("{file}.db"))).map_err(told)?;
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; \
             CREATE TABLE IF NOT EXISTS record (key BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;",
        )
        .map_err(told)?;
        open.push(db);
    }
    let until = Instant::now() + plan.time;
    let mut written = 0;
    let mut turn = 0;
    while Instant::now() < until {
        let which = turn % open.len().max(1);
        turn += 1;
        let Some(db) = open.get_mut(which) else {
            return Ok(0);
        };
        let tx = db.transaction().map_err(told)?;
        {
            let mut insert = tx
                .prepare_cached("INSERT INTO record VALUES (?1, 1, ?2)")
                .map_err(told)?;
            for _ in 0..plan.group {
                let number = written * plan.writers + writer;
                let key = rows::key(number);
                insert
                    .execute((format!("e/{key}").as_bytes(), rows::json(number).as_bytes()))
                    .map_err(told)?;
                for entry in 0..plan.entries {
                    insert
                        .execute((index_key(number, entry, plan.entries).as_bytes(), &b""[..]))
                        .map_err(told)?;
                }
                written += 1;
            }
        }
        tx.commit().map_err(told)?;
    }
    Ok(written)
}

/// About as long as the index keys of a unit. The last two are times and grow; the others lie anywhere.
fn index_key(number: u64, entry: u64, entries: u64) -> String {
    let value = if entry + 2 >= entries {
        number
    } else {
        Random::new(number ^ (entry << 48)).next()
    };
    format!(
        "index of one set in one collection/{entry}/{value:020}/{}",
        rows::key(number)
    )
}
