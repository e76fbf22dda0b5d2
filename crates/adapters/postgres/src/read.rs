//! Reading.

use std::collections::HashMap;

use bytes::Bytes;
use personium_store::{
    Direction, Key, KeyRange, Limit, MAX_KEY_BYTES, Record, Result, Snapshot, Space, StoreError,
    StoreHealth, record_checksum,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::connections::{Connection, Connections, Parameter};
use crate::error::{Failure, corrupt};
use crate::statement::Statement;
use crate::{space_key, statement};

/// Returns the records of these keys.
pub(crate) async fn get(
    connections: &Connections,
    health: &StoreHealth,
    space: &Space,
    keys: &[Key],
) -> Result<Snapshot<Vec<Option<Record>>>> {
    let space_name = space_key::of(space);
    let wanted: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
    let rows = match wanted[..] {
        [key] => {
            let parameters: [Parameter<'_>; 2] = [&space_name, &key];
            connections.read(&statement::GET_ONE, &parameters).await
        }
        _ => {
            let parameters: [Parameter<'_>; 2] = [&space_name, &wanted];
            connections.read(&statement::GET, &parameters).await
        }
    };
    let rows = rows.map_err(|failure| failure.into_store_error("failed to read records"))?;
    let Snapshot { structure, value } =
        records(&rows).map_err(|error| report(health, space, error))?;
    let mut found: HashMap<Key, Record> = value.into_iter().collect();
    let value = match wanted.len() {
        1 => vec![keys.first().and_then(|key| found.remove(key))],
        // A key can be given twice.
        _ => keys.iter().map(|key| found.get(key).cloned()).collect(),
    };
    Ok(Snapshot { value, structure })
}

/// Where statements that read are run.
pub(crate) enum ReadPlace<'a> {
    Pool(&'a Connections),
    One(&'a Connection),
}

impl ReadPlace<'_> {
    async fn read(
        &self,
        statement: &'static Statement,
        parameters: &[Parameter<'_>],
    ) -> std::result::Result<Vec<Row>, Failure> {
        match self {
            Self::Pool(connections) => connections.read(statement, parameters).await,
            Self::One(connection) => connection.run(statement, parameters).await,
        }
    }
}

/// Returns the first records of the range up to the limit.
pub(crate) async fn scan(
    place: ReadPlace<'_>,
    health: &StoreHealth,
    space: &Space,
    (range, order, limit): (&KeyRange, Direction, Limit),
) -> Result<Snapshot<Vec<(Key, Record)>>> {
    let statement = match order {
        Direction::Up => &statement::SCAN_UP,
        Direction::Down => &statement::SCAN_DOWN,
    };
    let records_max = i64::try_from(limit.records).unwrap_or(i64::MAX);
    let bytes_max = i64::try_from(limit.bytes).unwrap_or(i64::MAX);
    let records_max = if bytes_max == 0 { 0 } else { records_max };
    let (start, end) = bounds(range);
    let rows = place
        .read(
            statement,
            &[
                &space_key::of(space),
                &start,
                &end,
                &records_max,
                &bytes_max,
            ],
        )
        .await
        .map_err(|failure| failure.into_store_error("failed to scan records"))?;
    let mut found = records(&rows).map_err(|error| report(health, space, error))?;
    match order {
        Direction::Up => found.value.sort_by(|(a, _), (b, _)| a.cmp(b)),
        Direction::Down => found.value.sort_by(|(a, _), (b, _)| b.cmp(a)),
    }
    Ok(found)
}

/// Returns the number of records in the range.
pub(crate) async fn count(
    connections: &Connections,
    space: &Space,
    range: &KeyRange,
) -> Result<Snapshot<u64>> {
    let (start, end) = bounds(range);
    let rows = connections
        .read(&statement::COUNT, &[&space_key::of(space), &start, &end])
        .await
        .map_err(|failure| failure.into_store_error("failed to count records"))?;
    let (structure, value) = match rows.first() {
        Some(row) => (structure(row)?, number(row, 2)?),
        None => (0, 0),
    };
    Ok(Snapshot { value, structure })
}

/// The first key of a range and the first after it. No key is as long as the one that stands for the end of the space.
pub(crate) fn bounds(range: &KeyRange) -> (&[u8], Vec<u8>) {
    let end = match &range.end {
        Some(end) => end.as_bytes().to_vec(),
        None => vec![u8::MAX; MAX_KEY_BYTES + 1],
    };
    (range.start.as_bytes(), end)
}

/// Reads a column.
pub(crate) fn column<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| {
        let detail = personium_store::ErrorDetail::new("a column is not what it was");
        StoreError::Corrupt(detail.with_source(error))
    })
}

/// Reads a column with a number that is not negative.
pub(crate) fn number(row: &Row, index: usize) -> Result<u64> {
    let number: i64 = column(row, index)?;
    u64::try_from(number).map_err(|_| corrupt("a number of the database is negative"))
}

/// Reads the version of the structure from a row whose second column says whether the space is dropped.
fn structure(row: &Row) -> Result<u64> {
    match column::<bool>(row, 1)? {
        true => Err(StoreError::SpaceDropped),
        false => number(row, 0),
    }
}

/// Reads rows of the version of the structure and a record, if there is one. Without any row, there is no space.
pub(crate) fn records(rows: &[Row]) -> Result<Snapshot<Vec<(Key, Record)>>> {
    let structure = rows.first().map(structure).transpose()?.unwrap_or(0);
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(key) = column::<Option<&[u8]>>(row, 2)? else {
            continue;
        };
        let (value, version) = (column::<&[u8]>(row, 3)?, number(row, 4)?);
        check_sum(row, 5, (key, version, value))?;
        let record = Record {
            value: Bytes::copy_from_slice(value),
            version,
        };
        found.push((Key::from_bytes(key.to_vec()), record));
    }
    Ok(Snapshot {
        value: found,
        structure,
    })
}

/// Compares the checksum in a column with that of a record.
pub(crate) fn check_sum(
    row: &Row,
    index: usize,
    (key, version, value): (&[u8], u64, &[u8]),
) -> Result<()> {
    match column::<i64>(row, index)? == record_checksum::of(key, version, value) {
        true => Ok(()),
        false => Err(corrupt(
            "a record has another checksum than it was stored with",
        )),
    }
}

/// Reports damage, and returns the error.
pub(crate) fn report(health: &StoreHealth, space: &Space, error: StoreError) -> StoreError {
    if let StoreError::Corrupt(detail) = &error {
        let text = crate::error::text(detail);
        if health.report_damage(space, &text) {
            tracing::error!(?space, error = text, "stored data is damaged");
        }
    }
    error
}
