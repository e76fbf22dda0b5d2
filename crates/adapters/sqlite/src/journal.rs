//! The journal of a file: a table with the changes of each commit, written in the transaction of the commit.

use bytes::Bytes;
use personium_store::journal::encode_change;
use personium_store::{
    CommitSeq, JournalEntry, JournalPage, JournalPosition, Key, Limit, record_checksum,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::settings::JournalSettings;
use crate::sql;

/// The size of the changes of an entry from which on a commit goes on with another one.
const PART_BYTES: usize = 1 << 20;

/// The number of transactions of a connection after which old entries are removed.
const PRUNE_INTERVAL: u32 = 32;

/// The number of entries that are removed at once beside twice those that were added since.
const PRUNE_MIN_ENTRIES: u64 = 64;

/// The number of entries that are removed in a transaction without a commit.
const PRUNED_AT_ONCE: u64 = 1_000;

/// The state of the journal that a connection for writing keeps.
#[derive(Debug, Default)]
pub(crate) struct JournalState {
    transactions_until_pruning: u32,
    entries_since_pruning: u64,
}

impl JournalState {
    /// Removes old entries from time to time, in the transaction of a commit that has added this number of entries.
    ///
    /// # Errors
    /// If SQLite refuses it.
    pub(crate) fn prune(
        &mut self,
        db: &Connection,
        added: u64,
        (settings, now_ms): (&JournalSettings, i64),
    ) -> rusqlite::Result<()> {
        self.entries_since_pruning = self.entries_since_pruning.saturating_add(added);
        if self.transactions_until_pruning > 0 {
            self.transactions_until_pruning -= 1;
            return Ok(());
        }
        let keep_ms = i64::try_from(settings.keep.as_millis()).unwrap_or(i64::MAX);
        let entries = 2 * self.entries_since_pruning.min(1 << 30) + PRUNE_MIN_ENTRIES;
        db.prepare_cached(sql::PRUNE_JOURNAL)?
            .execute(params![now_ms.saturating_sub(keep_ms), entries])?;
        self.transactions_until_pruning = PRUNE_INTERVAL;
        self.entries_since_pruning = 0;
        Ok(())
    }
}

/// Makes the table, or removes it if no journal is kept.
///
/// # Errors
/// If SQLite refuses it.
pub(crate) fn prepare(db: &Connection, is_kept: bool) -> rusqlite::Result<()> {
    let exists = db.prepare(sql::HAS_JOURNAL)?.exists([])?;
    match (is_kept, exists) {
        (true, false) => db.execute_batch(sql::CREATE_JOURNAL),
        (false, true) => db.execute_batch(sql::DROP_JOURNAL),
        _ => Ok(()),
    }
}

/// Whether the first entry is older than that.
///
/// # Errors
/// If SQLite refuses it.
pub(crate) fn has_entry_before(db: &Connection, time_ms: i64) -> rusqlite::Result<bool> {
    if !db.prepare(sql::HAS_JOURNAL)?.exists([])? {
        return Ok(false);
    }
    let first = db
        .prepare_cached(sql::FIRST_TIME_OF_JOURNAL)?
        .query_row([], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(first.is_some_and(|first| first < time_ms))
}

/// Removes all first entries that are older than that, in transactions of their own.
///
/// # Errors
/// If SQLite refuses it.
pub(crate) fn prune_before(db: &Connection, time_ms: i64) -> rusqlite::Result<()> {
    while db
        .prepare_cached(sql::PRUNE_JOURNAL)?
        .execute(params![time_ms, PRUNED_AT_ONCE])?
        > 0
    {}
    Ok(())
}

/// Appends the changes of a commit. Returns the number of entries.
///
/// # Errors
/// If SQLite refuses it.
pub(crate) fn append<'c>(
    db: &Connection,
    (commit, time_ms): (CommitSeq, i64),
    changes: impl Iterator<Item = (&'c Key, Option<&'c [u8]>)>,
) -> rusqlite::Result<u64> {
    let (mut part, mut encoded) = (0, vec![0]);
    for (key, value) in changes {
        if encoded.len() >= PART_BYTES && part < u16::MAX {
            put(db, JournalPosition::new(commit, part), time_ms, &encoded)?;
            part += 1;
            encoded.truncate(1);
        }
        encode_change(&mut encoded, key, value);
    }
    if let Some(end) = encoded.first_mut() {
        *end = 1;
    }
    put(db, JournalPosition::new(commit, part), time_ms, &encoded)?;
    Ok(u64::from(part) + 1)
}

fn put(
    db: &Connection,
    position: JournalPosition,
    time_ms: i64,
    encoded: &[u8],
) -> rusqlite::Result<()> {
    let sum = record_checksum::of(&time_ms.to_le_bytes(), position.number(), encoded);
    let row = params![position.number(), time_ms, sum, encoded];
    db.prepare_cached(sql::APPEND_TO_JOURNAL)?.execute(row)?;
    Ok(())
}

/// Returns the first entries after a place.
///
/// # Errors
/// If SQLite cannot read them, or the checksum of one is not that of the entry.
pub(crate) fn read(
    db: &Connection,
    after: JournalPosition,
    limit: Limit,
) -> rusqlite::Result<JournalPage> {
    db.prepare_cached(sql::BEGIN_READ)?.execute([])?;
    let last_commit = db
        .prepare_cached(sql::STATE)?
        .query_row([], |row| row.get(0))?;
    let mut entries = Vec::new();
    if db.prepare_cached(sql::HAS_JOURNAL)?.exists([])? {
        let records = i64::try_from(limit.records.max(1)).unwrap_or(i64::MAX);
        let after = i64::try_from(after.number()).unwrap_or(i64::MAX);
        let mut scan = db.prepare_cached(sql::SCAN_JOURNAL)?;
        let mut bytes = 0;
        for found in scan.query_map(params![after, records], entry)? {
            let found = found?;
            bytes += found.changes.len();
            entries.push(found);
            if limit.is_reached(entries.len(), bytes) {
                break;
            }
        }
    }
    db.prepare_cached(sql::COMMIT)?.execute([])?;
    Ok(JournalPage {
        last_commit,
        entries,
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<JournalEntry> {
    let (number, time_ms, sum): (u64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let changes = row.get_ref(3)?.as_blob()?;
    if record_checksum::of(&time_ms.to_le_bytes(), number, changes) != sum {
        let text = "the checksum of an entry of the journal does not match";
        return Err(rusqlite::Error::FromSqlConversionFailure(
            3,
            Type::Blob,
            text.into(),
        ));
    }
    Ok(JournalEntry {
        position: JournalPosition::from_number(number),
        time_ms,
        changes: Bytes::copy_from_slice(changes),
    })
}
