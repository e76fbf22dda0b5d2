//! The statements. Each but the list of spaces names one space by its first parameter.

use std::borrow::Cow;
use std::sync::LazyLock;

use tokio_postgres::types::Type;

/// A statement and the types of its parameters.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) text: Cow<'static, str>,
    pub(crate) types: Cow<'static, [Type]>,
}

/// The number of transactions whose ids are kept with a space.
pub(crate) const KEPT_WRITERS: usize = 32;

/// The length of the id of a transaction.
pub(crate) const WRITER_BYTES: usize = 8;

/// Reads a record by its key, with the state of the space. There is a row without a record if it is not found.
pub(crate) static GET_ONE: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT s.structure, s.dropped, r.key, r.value, r.version, r.sum \
         FROM personium.spaces s \
         LEFT JOIN personium.records r ON r.space = s.space AND r.key = $2 \
         WHERE s.space = $1",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA]),
};

/// Reads records by their keys, with the state of the space. There is a row without a record if none is found.
///
/// Each key is looked up by itself. `key = ANY (...)` would leave the planner the choice to read the whole space and to filter,
/// which it makes if its statistics say that a space has few records.
pub(crate) static GET: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT s.structure, s.dropped, r.key, r.value, r.version, r.sum \
         FROM personium.spaces s LEFT JOIN (\
         unnest($2) AS w(wanted) CROSS JOIN LATERAL (\
         SELECT key, value, version, sum FROM personium.records \
         WHERE space = $1 AND key = wanted LIMIT 1) r\
         ) ON true WHERE s.space = $1",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA_ARRAY]),
};

/// Tells the processes that listen. It names no space, but a message.
pub(crate) static NOTIFY: Statement = Statement {
    text: Cow::Borrowed("SELECT pg_notify('personium', $1)"),
    types: Cow::Borrowed(&[Type::TEXT]),
};

/// The scan in one direction. The window ends it with the record that reaches the limit of bytes; the index gives the order, so
/// that it reads no further.
macro_rules! scan {
    ($order:literal) => {
        Statement {
            text: Cow::Borrowed(concat!(
                "SELECT s.structure, s.dropped, r.key, r.value, r.version, r.sum \
                 FROM personium.spaces s LEFT JOIN (\
                 SELECT key, value, version, sum FROM (\
                 SELECT key, value, version, sum, sum(length(value)) OVER (\
                 ORDER BY key ",
                $order,
                " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before \
                 FROM personium.records WHERE space = $1 AND key >= $2 AND key < $3 \
                 ORDER BY key ",
                $order,
                " LIMIT $4) w WHERE before IS NULL OR before < $5\
                 ) r ON true WHERE s.space = $1"
            )),
            types: Cow::Borrowed(&[
                Type::BYTEA,
                Type::BYTEA,
                Type::BYTEA,
                Type::INT8,
                Type::INT8,
            ]),
        }
    };
}

/// Reads the first records of a range.
pub(crate) static SCAN_UP: Statement = scan!("ASC");

/// Reads the last records of a range.
pub(crate) static SCAN_DOWN: Statement = scan!("DESC");

/// Counts the records of a range.
pub(crate) static COUNT: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT s.structure, s.dropped, (SELECT count(*) FROM personium.records r \
         WHERE r.space = $1 AND r.key >= $2 AND r.key < $3) \
         FROM personium.spaces s WHERE s.space = $1",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA, Type::BYTEA]),
};

/// Begins a write: takes the lock of the space and returns its state.
pub(crate) static LOCK: Statement = Statement {
    text: Cow::Borrowed(
        "UPDATE personium.spaces SET stamp = stamp + $2, writes = writes + 1, \
         writers = substr($3 || writers, 1, 256) WHERE space = $1 \
         RETURNING stamp, structure, sealed, dropped, writes, writers",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::INT8, Type::BYTEA]),
};

/// Reads the versions of records, and the values that can be counters. Each key is looked up by itself, as by [`GET`].
pub(crate) static VERSIONS: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT r.key, r.version, r.sum, r.counter \
         FROM unnest($2) AS w(wanted) CROSS JOIN LATERAL (\
         SELECT key, version, sum, CASE WHEN length(value) = 8 THEN value END AS counter \
         FROM personium.records WHERE space = $1 AND key = wanted LIMIT 1) r",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA_ARRAY]),
};

/// Reads the last commit of a space.
pub(crate) static LAST_COMMIT: Statement = Statement {
    text: Cow::Borrowed("SELECT stamp, dropped FROM personium.spaces WHERE space = $1"),
    types: Cow::Borrowed(&[Type::BYTEA]),
};

/// Reads the first keys of a range.
pub(crate) static KEYS: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT key FROM personium.records WHERE space = $1 AND key >= $2 AND key < $3 \
         ORDER BY key LIMIT $4",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA, Type::BYTEA, Type::INT8]),
};

/// Removes a record.
pub(crate) static DELETE: Statement = Statement {
    text: Cow::Borrowed("DELETE FROM personium.records WHERE space = $1 AND key = $2"),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA]),
};

/// Removes the records from a first key to a last one.
pub(crate) static DELETE_RANGE: Statement = Statement {
    text: Cow::Borrowed(
        "DELETE FROM personium.records WHERE space = $1 AND key >= $2 AND key <= $3",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::BYTEA, Type::BYTEA]),
};

/// Sets the version of the structure of a space, and whether it is sealed.
pub(crate) static SET_STATE: Statement = Statement {
    text: Cow::Borrowed("UPDATE personium.spaces SET structure = $2, sealed = $3 WHERE space = $1"),
    types: Cow::Borrowed(&[Type::BYTEA, Type::INT8, Type::BOOL]),
};

/// Creates a space unless it exists.
pub(crate) static CREATE: Statement = Statement {
    text: Cow::Borrowed(
        "INSERT INTO personium.spaces AS s (space) VALUES ($1) \
         ON CONFLICT (space) DO UPDATE SET stamp = s.stamp RETURNING s.dropped",
    ),
    types: Cow::Borrowed(&[Type::BYTEA]),
};

/// Marks a space as dropped, also one that does not exist.
pub(crate) static DROP: Statement = Statement {
    text: Cow::Borrowed(
        "INSERT INTO personium.spaces (space, dropped) VALUES ($1, true) \
         ON CONFLICT (space) DO UPDATE SET dropped = true",
    ),
    types: Cow::Borrowed(&[Type::BYTEA]),
};

/// Lists spaces in the order of their names, from the first parameter on.
pub(crate) static LIST: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT space FROM personium.spaces WHERE space >= $1 AND NOT dropped \
         ORDER BY space LIMIT $2",
    ),
    types: Cow::Borrowed(&[Type::BYTEA, Type::INT8]),
};

/// Reads the version of the schema.
pub(crate) static SCHEMA: Statement = Statement {
    text: Cow::Borrowed("SELECT version FROM personium.format WHERE id = 1"),
    types: Cow::Borrowed(&[]),
};

/// The numbers of records of the statements that put records: few statements, and one of them for most entities.
const PUT_SIZES: [usize; 11] = [64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1];

/// The largest number of records that one statement puts.
pub(crate) const MAX_PUT_ROWS: usize = 64;

/// How records are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutKind {
    /// They are created. The statement fails if one of them exists.
    Create,
    /// They are created or replaced, which costs the database more.
    Replace,
}

static CREATE_ONE: LazyLock<Statement> = LazyLock::new(|| put_rows(PutKind::Create, 1));
static REPLACE_ONE: LazyLock<Statement> = LazyLock::new(|| put_rows(PutKind::Replace, 1));

static CREATES: LazyLock<Vec<Statement>> = LazyLock::new(|| put_statements(PutKind::Create));
static REPLACES: LazyLock<Vec<Statement>> = LazyLock::new(|| put_statements(PutKind::Replace));

fn put_statements(kind: PutKind) -> Vec<Statement> {
    PUT_SIZES.map(|rows| put_rows(kind, rows)).into()
}

/// Returns the statement that puts the largest number of records up to `rows`, at least 1, and that number.
pub(crate) fn put(kind: PutKind, rows: usize) -> (&'static Statement, usize) {
    let (all, one) = match kind {
        PutKind::Create => (&CREATES, &CREATE_ONE),
        PutKind::Replace => (&REPLACES, &REPLACE_ONE),
    };
    let mut sized = all.iter().zip(PUT_SIZES);
    let fits = sized.find(|(_, size)| *size <= rows.max(1));
    fits.unwrap_or((one, 1))
}

fn put_rows(kind: PutKind, rows: usize) -> Statement {
    let row = |n: usize| {
        let first = 4 * n + 2;
        format!(
            "($1, ${}, ${}, ${}, ${})",
            first,
            first + 1,
            first + 2,
            first + 3
        )
    };
    let values: Vec<String> = (0..rows).map(row).collect();
    let replace = match kind {
        PutKind::Create => "",
        PutKind::Replace => {
            " ON CONFLICT (space, key) DO UPDATE \
             SET value = excluded.value, version = excluded.version, sum = excluded.sum"
        }
    };
    let text = format!(
        "INSERT INTO personium.records (space, key, value, version, sum) VALUES {}{replace}",
        values.join(", ")
    );
    let of_row = [Type::BYTEA, Type::BYTEA, Type::INT8, Type::INT8];
    let mut types = vec![Type::BYTEA];
    for _ in 0..rows {
        types.extend(of_row.iter().cloned());
    }
    Statement {
        text: text.into(),
        types: types.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_statements_put_any_number_of_records() {
        let numbers = [1, 2, 3, 9, 63, 64, 65, 1000];
        let kinds = [PutKind::Create, PutKind::Replace];
        for (kind, rows) in kinds
            .into_iter()
            .flat_map(|kind| numbers.map(|n| (kind, n)))
        {
            let (statement, size) = put(kind, rows);
            let replaces = statement.text.contains("DO UPDATE");
            assert_eq!(replaces, kind == PutKind::Replace);
            assert!(size <= rows && size <= MAX_PUT_ROWS && (rows >= 64 || size * 2 > rows));
            assert_eq!(statement.types.len(), 1 + 4 * size);
            assert!(statement.text.contains(&format!("${})", 1 + 4 * size)));
            assert!(!statement.text.contains(&format!("${}", 2 + 4 * size)));
        }
    }

    #[test]
    fn kept_writers_are_those_that_the_lock_keeps() {
        let kept = format!("1, {})", KEPT_WRITERS * WRITER_BYTES);
        assert!(LOCK.text.contains(&kept));
    }
}
