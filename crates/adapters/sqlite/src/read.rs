//! Reading from a file.

use bytes::Bytes;
use personium_store::{
    Direction, Key, KeyRange, Limit, RangeState, Record, Result, SmallSpace, Snapshot, StoreError,
    record_checksum,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::engine::Engine;
use crate::error::sqlite_error;
use crate::file::DbFile;
use crate::sql;

/// Runs a query on a connection to the file, and returns the version of the structure from before. Returns `absent` if there is
/// no file.
///
/// # Errors
/// [`SpaceDropped`](personium_store::StoreError::SpaceDropped) if the space was dropped,
/// [`Corrupt`](personium_store::StoreError::Corrupt) if the file was lost or is damaged, or another failure of SQLite.
pub(crate) fn read<T>(
    engine: &Engine,
    file: &DbFile,
    absent: T,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<Snapshot<T>> {
    let _shared = file.connections_lock.read();
    engine.verify(file)?;
    let taken = file.take_reader(&engine.settings);
    let Some(reader) = taken.map_err(|error| engine.reported(file, error))? else {
        check_absence(engine, file)?;
        return Ok(Snapshot {
            value: absent,
            structure: 0,
        });
    };
    let structure = file.known_structure().unwrap_or(0);
    match query(&reader.db) {
        Ok(found) => {
            file.return_reader(reader, &engine.settings);
            Ok(Snapshot {
                value: found,
                structure,
            })
        }
        Err(error) => {
            let operation = format!("failed to read from {}", file.path.display());
            Err(engine.reported(file, sqlite_error(operation, error)))
        }
    }
}

/// Finds out whether a file that does not exist was never created.
///
/// # Errors
/// [`SpaceDropped`](personium_store::StoreError::SpaceDropped) if the space was dropped, [`Corrupt`](personium_store::StoreError::Corrupt) if the
/// file was lost.
pub(crate) fn check_absence(engine: &Engine, file: &DbFile) -> Result<()> {
    match (engine.is_dropped(&file.space), engine.is_lost(&file.space)) {
        (true, _) => Err(StoreError::SpaceDropped),
        (false, true) => Err(engine.lost(file)),
        (false, false) => Ok(()),
    }
}

/// Returns the records of the keys, from one snapshot.
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

/// Returns the record of a key.
pub(crate) fn one(db: &Connection, key: &Key) -> rusqlite::Result<Option<Record>> {
    db.prepare_cached(sql::GET)?
        .query_row([key.as_bytes()], record)
        .optional()
}

/// Returns all records and the last commit, from one snapshot, if they do not reach the limit.
pub(crate) fn small_space(db: &Connection, limit: Limit) -> rusqlite::Result<Option<SmallSpace>> {
    db.prepare_cached(sql::BEGIN_READ)?.execute([])?;
    let mut state = db.prepare_cached(sql::STATE)?;
    let last_commit = state.query_row([], |row| row.get(0))?;
    let records = scan(db, &KeyRange::all(), Direction::Up, limit)?;
    db.prepare_cached(sql::COMMIT)?.execute([])?;
    let bytes = records.iter().map(|(_, record)| record.value.len()).sum();
    let is_all = !limit.is_reached(records.len(), bytes);
    Ok(is_all.then_some(SmallSpace {
        last_commit,
        records,
    }))
}

/// Returns the first records of the range, up to the limit.
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

/// Returns the number of records in the range, but at most `limit`.
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

/// Returns the state of a range.
pub(crate) fn range_state(db: &Connection, range: &KeyRange) -> rusqlite::Result<RangeState> {
    let state = |row: &Row<'_>| {
        Ok(RangeState {
            records: row.get(0)?,
            last_version: row.get(1)?,
        })
    };
    let start = range.start.as_bytes();
    match &range.end {
        None => db
            .prepare_cached(sql::RANGE_STATE_TO_END)?
            .query_row(params![start], state),
        Some(end) => db
            .prepare_cached(sql::RANGE_STATE)?
            .query_row(params![start, end.as_bytes()], state),
    }
}

/// Returns the record in a row of key, value, version and checksum.
///
/// # Errors
/// Also if the checksum is not that of the record.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let value = row.get_ref(1)?.as_blob()?;
    let version = row.get(2)?;
    let sum: Option<i64> = row.get(3)?;
    if let Some(sum) = sum
        && sum != record_checksum::of(row.get_ref(0)?.as_blob()?, version, value)
    {
        let text = "the checksum of a record does not match";
        return Err(rusqlite::Error::FromSqlConversionFailure(
            1,
            Type::Blob,
            text.into(),
        ));
    }
    Ok(Record {
        value: Bytes::copy_from_slice(value),
        version,
    })
}
