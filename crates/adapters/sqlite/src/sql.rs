//! Every statement of the engine.

/// Marks a file as ours (`Prsm`).
pub(crate) const APPLICATION_ID: i64 = 0x5072_736d;

/// The version of the tables below.
pub(crate) const FORMAT: i64 = 2;

/// Bytes of a value that stands beside its key; a longer one is a body.
pub(crate) const INLINE: usize = 512;

/// The tables of a file of format 1, which kept every value beside its key.
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

/// What format 2 adds: long values in the order of their creation.
///
/// Keys are in an index tree, whose inner pages hold whole rows. With long values in it that tree is deep, and each
/// record has a page of its own in the cache. A record with a `body` has an empty `value`. No body outlives its record.
pub(crate) const BODIES: &str = "
    ALTER TABLE record ADD COLUMN body INTEGER;
    CREATE TABLE body (
        id INTEGER PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER body_replaced AFTER UPDATE OF body ON record
        WHEN old.body IS NOT NULL AND old.body IS NOT new.body
        BEGIN DELETE FROM body WHERE id = old.body; END;
    CREATE TRIGGER body_deleted AFTER DELETE ON record WHEN old.body IS NOT NULL
        BEGIN DELETE FROM body WHERE id = old.body; END;
";

pub(crate) const BEGIN_READ: &str = "BEGIN";
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// Selects keys, values and versions. The value is null, which no reader takes, if a body is missing.
macro_rules! records {
    ($which:literal) => {
        concat!(
            "SELECT key, iif(record.body IS NULL, record.value, body.value), version
            FROM record LEFT JOIN body ON body.id = record.body WHERE ",
            $which
        )
    };
}

pub(crate) const GET: &str = records!("key = ?1");
pub(crate) const VERSION: &str = "SELECT version FROM record WHERE key = ?1";

/// Puts a value beside its key, or nothing there and the number of a body.
pub(crate) const PUT: &str =
    "INSERT INTO record (key, version, value, body) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (key) DO UPDATE SET version = ?2, value = ?3, body = ?4";
/// Changes the body that the record of a key has, if it has one.
pub(crate) const REPLACE_BODY: &str =
    "UPDATE body SET value = ?2 WHERE id = (SELECT body FROM record WHERE key = ?1)";
pub(crate) const SET_VERSION: &str = "UPDATE record SET version = ?2 WHERE key = ?1";
pub(crate) const ADD_BODY: &str = "INSERT INTO body (value) VALUES (?1)";
pub(crate) const DELETE: &str = "DELETE FROM record WHERE key = ?1";

pub(crate) const STAMP: &str = "SELECT stamp FROM state WHERE id = 1";
pub(crate) const SET_STAMP: &str = "UPDATE state SET stamp = ?1 WHERE id = 1";

pub(crate) const SCAN_UP: &str = records!("key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3");
pub(crate) const SCAN_UP_TO_END: &str = records!("key >= ?1 ORDER BY key LIMIT ?2");
pub(crate) const SCAN_DOWN: &str = records!("key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3");
pub(crate) const SCAN_DOWN_FROM_END: &str = records!("key >= ?1 ORDER BY key DESC LIMIT ?2");
pub(crate) const COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM record WHERE key >= ?1 AND key < ?2 LIMIT ?3)";
pub(crate) const COUNT_TO_END: &str =
    "SELECT count(*) FROM (SELECT 1 FROM record WHERE key >= ?1 LIMIT ?2)";
pub(crate) const ANY: &str = "SELECT 1 FROM record WHERE key >= ?1 AND key < ?2 LIMIT 1";
pub(crate) const ANY_TO_END: &str = "SELECT 1 FROM record WHERE key >= ?1 LIMIT 1";
