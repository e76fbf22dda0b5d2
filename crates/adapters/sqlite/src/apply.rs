//! Group commit: many batches in one transaction.

use bytes::Bytes;
use personium_store::{
    Batch, CommitSeq, ErrorDetail, Expect, Key, KeyRange, Op, Result, StoreError, StructureVersion,
    record_checksum,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::file::WriteConnection;
use crate::settings::JournalSettings;
use crate::{journal, read, sql};

/// The value in the row of a record with a body.
const NO_VALUE: &[u8] = &[];

/// Applies the batches in order, in one transaction. Each sees the changes of those before it.
///
/// The inner results say which batches were refused; those changed nothing.
///
/// # Errors
/// The outer error concerns all batches. The connection must not be used again after it.
pub(crate) fn group<'b>(
    writer: &mut WriteConnection,
    batches: impl Iterator<Item = &'b Batch>,
    journal: Option<&JournalSettings>,
) -> rusqlite::Result<Vec<Result<CommitSeq>>> {
    let before = SpaceState {
        last_commit: writer.last_commit,
        structure: writer.structure,
        is_sealed: writer.is_sealed,
    };
    let mut entries = journal.map(|settings| JournalEntries {
        time_ms: settings.clock.now_ms(),
        added: 0,
    });
    let db = &writer.db;
    execute(db, sql::BEGIN_WRITE, [])?;
    let mut state = before;
    let results = batches
        .map(|batch| apply(db, batch, &mut state, entries.as_mut()))
        .collect::<rusqlite::Result<_>>()?;
    if state == before {
        execute(db, sql::ROLLBACK, [])?;
        return Ok(results);
    }
    let SpaceState {
        last_commit,
        structure,
        is_sealed,
    } = state;
    if (structure, is_sealed) == (before.structure, before.is_sealed) {
        execute(db, sql::SET_LAST_COMMIT, params![last_commit])?;
    } else {
        execute(
            db,
            sql::SET_STATE,
            params![last_commit, structure, is_sealed],
        )?;
    }
    if let (Some(settings), Some(entries)) = (journal, entries) {
        let settings = (settings, entries.time_ms);
        writer.journal.prune(db, entries.added, settings)?;
    }
    execute(db, sql::COMMIT, [])?;
    writer.last_commit = last_commit;
    writer.structure = structure;
    writer.is_sealed = is_sealed;
    Ok(results)
}

/// The state of a space beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SpaceState {
    last_commit: CommitSeq,
    structure: StructureVersion,
    is_sealed: bool,
}

/// The entries of the journal in one transaction.
struct JournalEntries {
    time_ms: i64,
    added: u64,
}

fn execute(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

/// Applies one batch. Changes the state of the space if the batch changes anything.
fn apply(
    db: &Connection,
    batch: &Batch,
    state: &mut SpaceState,
    journal: Option<&mut JournalEntries>,
) -> rusqlite::Result<Result<CommitSeq>> {
    if state.is_sealed && !batch.unseals() {
        return Ok(Err(StoreError::Sealed));
    }
    for op in batch.ops() {
        if !is_satisfied(db, op, state.structure)? {
            return Ok(Err(StoreError::Conflict));
        }
    }
    let changes = match changes(db, batch)? {
        Ok(changes) => changes,
        Err(error) => return Ok(Err(error)),
    };
    if batch.ops().iter().all(Op::is_assertion) {
        return Ok(Ok(state.last_commit));
    }
    state.last_commit += 1;
    let seq = state.last_commit;
    state.is_sealed = batch.sealed_after().unwrap_or(state.is_sealed);
    if batch.changes_structure() {
        state.structure = seq;
    }
    if let Some(entries) = journal {
        let sequenced: Vec<_> = batch.sequenced(seq).collect();
        let changed = changes.iter().map(|(key, value)| (*key, value.as_deref()));
        let sequenced = sequenced.iter().map(|(key, value)| (key, Some(&value[..])));
        let commit = (seq, entries.time_ms);
        entries.added += journal::append(db, commit, changed.chain(sequenced))?;
    }
    let mut delete = db.prepare_cached(sql::DELETE)?;
    for (key, value) in changes {
        match value {
            Some(value) => put(db, key, seq, &value)?,
            None => drop(delete.execute([key.as_bytes()])?),
        }
    }
    for (key, value) in batch.sequenced(seq) {
        put(db, &key, seq, value)?;
    }
    Ok(Ok(seq))
}

fn put(db: &Connection, key: &Key, seq: CommitSeq, value: &[u8]) -> rusqlite::Result<()> {
    if value.len() > sql::MAX_INLINE_BYTES {
        return put_body(db, key, seq, value);
    }
    let sum = record_checksum::of(key.as_bytes(), seq, value);
    let row = params![key.as_bytes(), seq, value, None::<i64>, sum];
    execute(db, sql::PUT, row)
}

/// Stores a value that is too long to be stored beside its key.
fn put_body(db: &Connection, key: &Key, seq: CommitSeq, value: &[u8]) -> rusqlite::Result<()> {
    let sum = record_checksum::of(key.as_bytes(), seq, value);
    let replaced = db
        .prepare_cached(sql::REPLACE_BODY)?
        .execute(params![key.as_bytes(), value])?;
    if replaced > 0 {
        return db
            .prepare_cached(sql::SET_VERSION)?
            .execute(params![key.as_bytes(), seq, sum])
            .map(drop);
    }
    db.prepare_cached(sql::ADD_BODY)?.execute([value])?;
    let row = params![key.as_bytes(), seq, NO_VALUE, db.last_insert_rowid(), sum];
    execute(db, sql::PUT, row)
}

fn is_satisfied(db: &Connection, op: &Op, structure: StructureVersion) -> rusqlite::Result<bool> {
    match op {
        Op::Assert(key, expect) => {
            let found: Option<CommitSeq> = db
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
        Op::AssertStructure(version) => Ok(structure == *version),
        _ => Ok(true),
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

/// Returns the values after the batch of the keys that it changes, in the order of the keys.
fn changes<'b>(db: &Connection, batch: &'b Batch) -> rusqlite::Result<Result<Changes<'b>>> {
    let mut ops: Vec<(&Key, &Op)> = batch
        .ops()
        .iter()
        .filter_map(|op| match op {
            Op::Put(key, _) | Op::Delete(key) | Op::Add(key, _) => Some((key, op)),
            _ => None,
        })
        .collect();
    ops.sort_by_key(|(key, _)| *key);
    let mut changes: Changes<'b> = Vec::with_capacity(ops.len());
    for (key, op) in ops {
        let pending = changes
            .pop_if(|(last, _)| *last == key)
            .map(|(_, value)| value);
        let value = match op {
            Op::Put(_, value) => Some(value.clone()),
            Op::Add(_, delta) => {
                let current = match pending {
                    Some(value) => value,
                    None => read::one(db, key)?.map(|record| record.value),
                };
                match counter(current.as_deref()) {
                    Some(count) => Some(Bytes::copy_from_slice(
                        &count.wrapping_add(*delta).to_le_bytes(),
                    )),
                    None => {
                        return Ok(Err(StoreError::Corrupt(ErrorDetail::new(
                            "a counter is not eight bytes",
                        ))));
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
