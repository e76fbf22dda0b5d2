//! Many batches in one commit.

use bytes::Bytes;
use personium_store::{Batch, Expect, Key, KeyRange, Op, Result, Stamp, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::store_error;
use crate::file::Writer;
use crate::{read, sql};

/// Does the batches in order, in one transaction; each sees what those before it changed.
///
/// The inner results say which batches were refused; those changed nothing. The outer error concerns all of them and
/// means that the connection must not be used again.
pub(crate) fn group<'b>(
    writer: &mut Writer,
    batches: impl Iterator<Item = &'b Batch>,
) -> Result<Vec<Result<Stamp>>> {
    let before = writer.stamp;
    let db = &writer.db;
    run(db, sql::BEGIN_WRITE)?;
    let mut stamp = before;
    let answers = batches
        .map(|b| one(db, b, &mut stamp))
        .collect::<rusqlite::Result<_>>()
        .map_err(|e| store_error(&e))?;
    if stamp == before {
        run(db, sql::ROLLBACK)?;
    } else {
        execute(db, sql::SET_STAMP, params![stamp])?;
        run(db, sql::COMMIT)?;
        writer.stamp = stamp;
    }
    Ok(answers)
}

fn run(db: &Connection, sql: &str) -> Result<()> {
    execute(db, sql, [])
}

fn execute(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    db.prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params))
        .map(drop)
        .map_err(|e| store_error(&e))
}

/// Does one batch; raises the stamp if it changed anything.
fn one(db: &Connection, batch: &Batch, stamp: &mut Stamp) -> rusqlite::Result<Result<Stamp>> {
    for op in batch.ops() {
        if !holds(db, op)? {
            return Ok(Err(StoreError::Conflict));
        }
    }
    let changes = match changes(db, batch)? {
        Ok(changes) => changes,
        Err(refused) => return Ok(Err(refused)),
    };
    if changes.is_empty() {
        return Ok(Ok(*stamp));
    }
    *stamp += 1;
    let mut delete = db.prepare_cached(sql::DELETE)?;
    for (key, value) in changes {
        match value {
            Some(value) if value.len() > sql::INLINE => put_body(db, key, *stamp, &value)?,
            Some(value) => put(db, key, *stamp, &value, None)?,
            None => drop(delete.execute([key.as_bytes()])?),
        }
    }
    Ok(Ok(*stamp))
}

fn put(
    db: &Connection,
    key: &Key,
    stamp: Stamp,
    value: &[u8],
    body: Option<i64>,
) -> rusqlite::Result<()> {
    db.prepare_cached(sql::PUT)?
        .execute(params![key.as_bytes(), stamp, value, body])
        .map(drop)
}

/// Puts a value that is too long to stand beside its key.
fn put_body(db: &Connection, key: &Key, stamp: Stamp, value: &[u8]) -> rusqlite::Result<()> {
    let replaced = db
        .prepare_cached(sql::REPLACE_BODY)?
        .execute(params![key.as_bytes(), value])?;
    if replaced > 0 {
        return db
            .prepare_cached(sql::SET_VERSION)?
            .execute(params![key.as_bytes(), stamp])
            .map(drop);
    }
    db.prepare_cached(sql::ADD_BODY)?.execute([value])?;
    put(db, key, stamp, &[], Some(db.last_insert_rowid()))
}

fn holds(db: &Connection, op: &Op) -> rusqlite::Result<bool> {
    match op {
        Op::Assert(key, expect) => {
            let found: Option<Stamp> = db
                .prepare_cached(sql::VERSION)?
                .query_row([key.as_bytes()], |row| row.get(0))
                .optional()?;
            Ok(match expect {
                Expect::Absent => found.is_none(),
                Expect::Present => found.is_some(),
                Expect::Version(version) => found == Some(*version),
            })
        }
        Op::AssertEmpty(range) => is_empty(db, range),
        Op::Put(..) | Op::Delete(_) | Op::Add(..) => Ok(true),
    }
}

fn is_empty(db: &Connection, range: &KeyRange) -> rusqlite::Result<bool> {
    let start = range.start.as_bytes();
    let any = match &range.end {
        Some(end) => db
            .prepare_cached(sql::ANY)?
            .exists(params![start, end.as_bytes()])?,
        None => db.prepare_cached(sql::ANY_TO_END)?.exists([start])?,
    };
    Ok(!any)
}

type Changes<'b> = Vec<(&'b Key, Option<Bytes>)>;

/// What each changed key will hold, in key order.
fn changes<'b>(db: &Connection, batch: &'b Batch) -> rusqlite::Result<Result<Changes<'b>>> {
    let mut steps: Vec<(&Key, &Op)> = batch
        .ops()
        .iter()
        .filter_map(|op| match op {
            Op::Put(key, _) | Op::Delete(key) | Op::Add(key, _) => Some((key, op)),
            Op::Assert(..) | Op::AssertEmpty(_) => None,
        })
        .collect();
    steps.sort_by_key(|(key, _)| *key);
    let mut changes: Changes<'b> = Vec::with_capacity(steps.len());
    for (key, op) in steps {
        let pending = changes
            .pop_if(|(last, _)| *last == key)
            .map(|(_, value)| value);
        let value = match op {
            Op::Put(_, value) => Some(value.clone()),
            Op::Add(_, delta) => {
                let now = match pending {
                    Some(value) => value,
                    None => read::one(db, key)?.map(|record| record.value),
                };
                match counter(now.as_deref()) {
                    Some(count) => Some(Bytes::copy_from_slice(
                        &count.wrapping_add(*delta).to_le_bytes(),
                    )),
                    None => {
                        return Ok(Err(StoreError::Corrupt(
                            "a counter is not eight bytes".into(),
                        )));
                    }
                }
            }
            _ => None,
        };
        changes.push((key, value));
    }
    Ok(Ok(changes))
}

fn counter(value: Option<&[u8]>) -> Option<i64> {
    value.map_or(Some(0), |bytes| {
        Some(i64::from_le_bytes(bytes.try_into().ok()?))
    })
}
