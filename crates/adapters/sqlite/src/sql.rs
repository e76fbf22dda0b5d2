//! Every statement of the engine.

/// Marks a file as ours (`Prsm`).
pub(crate) const APPLICATION_ID: i64 = 0x5072_736d;

/// The version of the tables below.
pub(crate) const FORMAT: i64 = 1;

/// The tables of a file.
pub(crate) const TABLES: &str = "
    CREATE TABLE record (
        key BLOB PRIMARY KEY,
        version INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        stamp INTEGER NOT NULL
    ) STRICT;
    INSERT INTO state (id, stamp) VALUES (1, 0);
";

pub(crate) const BEGIN_READ: &str = "BEGIN";
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

pub(crate) const GET: &str = "SELECT value, version FROM record WHERE key = ?1";
pub(crate) const VERSION: &str = "SELECT version FROM record WHERE key = ?1";
pub(crate) const VALUE: &str = "SELECT value FROM record WHERE key = ?1";
pub(crate) const PUT: &str =
    "INSERT OR REPLACE INTO record (key, version, value) VALUES (?1, ?2, ?3)";
pub(crate) const DELETE: &str = "DELETE FROM record WHERE key = ?1";

pub(crate) const STAMP: &str = "SELECT stamp FROM state WHERE id = 1";
pub(crate) const SET_STAMP: &str = "UPDATE state SET stamp = ?1 WHERE id = 1";

pub(crate) const SCAN_UP: &str =
    "SELECT key, value, version FROM record WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
pub(crate) const SCAN_UP_TO_END: &str =
    "SELECT key, value, version FROM record WHERE key >= ?1 ORDER BY key LIMIT ?2";
pub(crate) const SCAN_DOWN: &str = "SELECT key, value, version FROM record WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3";
pub(crate) const SCAN_DOWN_FROM_END: &str =
    "SELECT key, value, version FROM record WHERE key >= ?1 ORDER BY key DESC LIMIT ?2";
pub(crate) const COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM record WHERE key >= ?1 AND key < ?2 LIMIT ?3)";
pub(crate) const COUNT_TO_END: &str =
    "SELECT count(*) FROM (SELECT 1 FROM record WHERE key >= ?1 LIMIT ?2)";
pub(crate) const ANY: &str = "SELECT 1 FROM record WHERE key >= ?1 AND key < ?2 LIMIT 1";
pub(crate) const ANY_TO_END: &str = "SELECT 1 FROM record WHERE key >= ?1 LIMIT 1";
