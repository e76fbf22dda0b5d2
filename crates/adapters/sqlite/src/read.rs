//! Reading from a file.

use bytes::Bytes;
use personium_store::{Direction, Key, KeyRange, Limit, Record, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::store_error;
use crate::file::DbFile;
use crate::{Settings, sql};

/// Does the reading on a connection of the file, and gives `none` if there is no file.
pub(crate) fn read<T>(
    file: &DbFile,
    settings: &Settings,
    none: T,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T> {
    let _gate = file.gate.read();
    let Some(reader) = file.reader(settings)? else {
        return Ok(none);
    };
    match work(&reader.db) {
        Ok(found) => {
            file.give_back(reader, settings);
            Ok(found)
        }
        Err(error) => Err(store_error(&error)),
    }
}

/// The records of the keys, from one snapshot.
pub(crate) fn get(db: &Connection, keys: &[Key]) -> rusqlite::Result<Vec<Option<Record>>> {
    if let [key] = keys {
        return Ok(vec![one(db, key)?]);
    }
    db.prepare_cached(sql::BEGIN_READ)?.execute([])?;
    let found = keys
        .iter()
        .map(|key| one(db, key))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    db.prepare_cached(sql::COMMIT)?.execute([])?;
    Ok(found)
}

/// The record of a key.
pub(crate) fn one(db: &Connection, key: &Key) -> rusqlite::Result<Option<Record>> {
    db.prepare_cached(sql::GET)?
        .query_row([key.as_bytes()], record)
        .optional()
}

/// The first records of the range.
pub(crate) fn scan(
    db: &Connection,
    range: &KeyRange,
    order: Direction,
    limit: Limit,
) -> rusqlite::Result<Vec<(Key, Record)>> {
    let start = range.start.as_bytes();
    let records = i64::try_from(limit.records).unwrap_or(i64::MAX);
    let row = |row: &Row<'_>| {
        Ok((
            Key::from_bytes(row.get_ref(0)?.as_blob()?.to_vec()),
            record(row)?,
        ))
    };
    let first = |rows: &mut dyn Iterator<Item = rusqlite::Result<(Key, Record)>>| {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let (key, record) = row?;
            bytes += record.value.len();
            found.push((key, record));
            if limit.is_reached(found.len(), bytes) {
                break;
            }
        }
        Ok(found)
    };
    let to_end = |sql: &str| {
        let mut scan = db.prepare_cached(sql)?;
        first(&mut scan.query_map(params![start, records], row)?)
    };
    let bounded = |sql: &str, end: &Key| {
        let mut scan = db.prepare_cached(sql)?;
        first(&mut scan.query_map(params![start, end.as_bytes(), records], row)?)
    };
    match (order, &range.end) {
        (Direction::Up, None) => to_end(sql::SCAN_UP_TO_END),
        (Direction::Down, None) => to_end(sql::SCAN_DOWN_FROM_END),
        (Direction::Up, Some(end)) => bounded(sql::SCAN_UP, end),
        (Direction::Down, Some(end)) => bounded(sql::SCAN_DOWN, end),
    }
}

/// How many records the range holds, but at most `limit`.
pub(crate) fn count(db: &Connection, range: &KeyRange, limit: u64) -> rusqlite::Result<u64> {
    let start = range.start.as_bytes();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match &range.end {
        None => db
            .prepare_cached(sql::COUNT_TO_END)?
            .query_row(params![start, limit], |row| row.get(0)),
        Some(end) => {
            let params = params![start, end.as_bytes(), limit];
            db.prepare_cached(sql::COUNT)?
                .query_row(params, |row| row.get(0))
        }
    }
}

/// The record in a row of key, value and version.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        value: Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?),
        version: row.get(2)?,
    })
}
