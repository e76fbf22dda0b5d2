//! The SQL statements of the engine.

/// The `application_id` of the files of this engine (`Prsm`).
pub(crate) const APPLICATION_ID: i64 = 0x5072_736d;

/// The `user_version` of files with the tables below.
pub(crate) const FORMAT: i64 = 4;

/// The maximum size of a value that is stored beside its key. A longer one is stored as a body.
pub(crate) const MAX_INLINE_BYTES: usize = 512;

/// The tables of a file of format 1, which stores every value beside its key.
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

/// The additions of format 2: a table of long values, in the order of their creation.
///
/// Keys are stored in an index tree, whose inner pages hold whole rows. Long values would make that tree deep, and each
/// record would occupy a page of the cache. A record with a `body` has an empty `value`. Triggers remove the body of a
/// replaced or deleted record.
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

/// The first format with checksums.
pub(crate) const FORMAT_WITH_SUMS: i64 = 3;

/// The addition of format 3: the checksum of each record. A record from before has none.
pub(crate) const SUMS: &str = "ALTER TABLE record ADD COLUMN sum INTEGER;";

/// The additions of format 4: the version of the structure, and whether the space is sealed.
pub(crate) const STRUCTURE: &str = "
    ALTER TABLE state ADD COLUMN structure INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
";

pub(crate) const BEGIN_READ: &str = "BEGIN";
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// Selects keys, values, versions and checksums. If a body is missing, its value is null, which readers refuse.
macro_rules! records {
    ($which:literal) => {
        concat!(
            "SELECT key, iif(record.body IS NULL, record.value, body.value), version, sum
            FROM record LEFT JOIN body ON body.id = record.body WHERE ",
            $which
        )
    };
}

pub(crate) const ALL: &str = records!("true");
pub(crate) const GET: &str = records!("key = ?1");
pub(crate) const VERSION: &str = "SELECT version FROM record WHERE key = ?1";

/// Stores a value beside its key, or an empty value and the id of a body.
pub(crate) const PUT: &str =
    "INSERT INTO record (key, version, value, body, sum) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (key) DO UPDATE SET version = ?2, value = ?3, body = ?4, sum = ?5";
/// Replaces the body of a record, if it has one.
pub(crate) const REPLACE_BODY: &str =
    "UPDATE body SET value = ?2 WHERE id = (SELECT body FROM record WHERE key = ?1)";
pub(crate) const SET_VERSION: &str = "UPDATE record SET version = ?2, sum = ?3 WHERE key = ?1";
pub(crate) const ADD_BODY: &str = "INSERT INTO body (value) VALUES (?1)";
pub(crate) const DELETE: &str = "DELETE FROM record WHERE key = ?1";

pub(crate) const STATE: &str = "SELECT stamp, structure, sealed FROM state WHERE id = 1";
pub(crate) const SET_LAST_COMMIT: &str = "UPDATE state SET stamp = ?1 WHERE id = 1";
pub(crate) const SET_STATE: &str =
    "UPDATE state SET stamp = ?1, structure = ?2, sealed = ?3 WHERE id = 1";

pub(crate) const SCAN_UP: &str = records!("key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3");
pub(crate) const SCAN_UP_TO_END: &str = records!("key >= ?1 ORDER BY key LIMIT ?2");
pub(crate) const SCAN_DOWN: &str = records!("key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3");
pub(crate) const SCAN_DOWN_FROM_END: &str = records!("key >= ?1 ORDER BY key DESC LIMIT ?2");
pub(crate) const COUNT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM record WHERE key >= ?1 AND key < ?2 LIMIT ?3)";
pub(crate) const COUNT_TO_END: &str =
    "SELECT count(*) FROM (SELECT 1 FROM record WHERE key >= ?1 LIMIT ?2)";
pub(crate) const RANGE_STATE: &str =
    "SELECT count(*), coalesce(max(version), 0) FROM record WHERE key >= ?1 AND key < ?2";
pub(crate) const RANGE_STATE_TO_END: &str =
    "SELECT count(*), coalesce(max(version), 0) FROM record WHERE key >= ?1";
pub(crate) const ANY: &str = "SELECT 1 FROM record WHERE key >= ?1 AND key < ?2 LIMIT 1";
pub(crate) const ANY_TO_END: &str = "SELECT 1 FROM record WHERE key >= ?1 LIMIT 1";

/// The journal of the commits, in a file whose store keeps one. The id is the place of an entry.
pub(crate) const CREATE_JOURNAL: &str = "
    CREATE TABLE IF NOT EXISTS journal (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        changes BLOB NOT NULL
    ) STRICT;
";
pub(crate) const DROP_JOURNAL: &str = "DROP TABLE IF EXISTS journal";
pub(crate) const HAS_JOURNAL: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'journal'";
pub(crate) const APPEND_TO_JOURNAL: &str =
    "INSERT INTO journal (id, time, sum, changes) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const SCAN_JOURNAL: &str =
    "SELECT id, time, sum, changes FROM journal WHERE id > ?1 ORDER BY id LIMIT ?2";
pub(crate) const FIRST_TIME_OF_JOURNAL: &str = "SELECT time FROM journal ORDER BY id LIMIT 1";
/// Removes what is older than ?1 of the first ?2 entries.
pub(crate) const PRUNE_JOURNAL: &str =
    "DELETE FROM journal WHERE id IN (SELECT id FROM journal ORDER BY id LIMIT ?2) AND time < ?1";
