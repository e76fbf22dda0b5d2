//! The tables of the database, and their version.

use personium_store::{ErrorDetail, StoreError};

use crate::connections::Connections;
use crate::error::Failure;
use crate::read::number;
use crate::statement;

/// The version of the tables that this program makes and uses.
pub const SCHEMA_VERSION: u64 = 1;

/// Tables that this program cannot use.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// There are none.
    #[error(
        "the database has no tables of Personium; make them with: personium init \
         (personium init --print-sql prints what a database administrator has to run)"
    )]
    Missing,
    /// A newer version of this program made them.
    #[error(
        "the tables of the database have version {found}, and this program knows version {SCHEMA_VERSION}; \
         use the newer program that made them"
    )]
    Newer {
        /// The version of the tables.
        found: u64,
    },
    /// An older version of this program made them.
    #[error(
        "the tables of the database have version {found}, and this program needs version {SCHEMA_VERSION}; \
         run: personium init"
    )]
    Older {
        /// The version of the tables.
        found: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks that the database has the tables of this version.
///
/// # Errors
/// [`SchemaError`] if not.
pub(crate) async fn check(connections: &Connections) -> Result<(), SchemaError> {
    let rows = match connections.read(&statement::SCHEMA, &[]).await {
        Err(failure) if failure.is_missing_schema() => return Err(SchemaError::Missing),
        Err(failure) => {
            return Err(failure
                .into_store_error("failed to read the version of the tables")
                .into());
        }
        Ok(rows) => rows,
    };
    let found = rows.first().map(|row| number(row, 0)).transpose()?;
    match found.ok_or(SchemaError::Missing)? {
        SCHEMA_VERSION => Ok(()),
        found if found > SCHEMA_VERSION => Err(SchemaError::Newer { found }),
        found => Err(SchemaError::Older { found }),
    }
}

/// Makes the tables that are missing.
///
/// # Errors
/// [`SchemaError`] if the database refuses, or has tables of a newer version.
pub(crate) async fn create(connections: &Connections, partitions: u32) -> Result<(), SchemaError> {
    match check(connections).await {
        Err(SchemaError::Missing) => {}
        other => return other,
    }
    let connection = connections.get().await.map_err(failed)?;
    connection.set_unusable(true);
    let text = format!("BEGIN;\n{}COMMIT;", tables(partitions));
    let created = connection.round_trip(vec![connection.command(&text)]).await;
    created.map_err(|error| failed(error.error))?;
    check(connections).await
}

fn failed(failure: Failure) -> StoreError {
    match failure {
        Failure::Database(error) => {
            let text = "failed to make the tables (the role needs the right to create a schema in the database; \
                        personium init --print-sql prints what an administrator can run)";
            StoreError::Down(ErrorDetail::new(text).with_source(error))
        }
        other => other.into_store_error("failed to make the tables"),
    }
}

/// The statements that make the tables, for a database that divides the records into this number of parts; 0 for none.
pub(crate) fn tables(partitions: u32) -> String {
    let columns = "  space bytea NOT NULL,\n  key bytea NOT NULL,\n  value bytea NOT NULL,\n  \
                   version bigint NOT NULL,\n  sum bigint NOT NULL,\n  PRIMARY KEY (space, key)\n)";
    let mut text = format!(
        "CREATE SCHEMA IF NOT EXISTS personium;\n\
         CREATE TABLE IF NOT EXISTS personium.format (\n  id integer PRIMARY KEY,\n  version bigint NOT NULL\n);\n\
         CREATE TABLE IF NOT EXISTS personium.spaces (\n  space bytea PRIMARY KEY,\n  \
         stamp bigint NOT NULL DEFAULT 0,\n  structure bigint NOT NULL DEFAULT 0,\n  \
         sealed boolean NOT NULL DEFAULT false,\n  dropped boolean NOT NULL DEFAULT false,\n  \
         writes bigint NOT NULL DEFAULT 0,\n  writers bytea NOT NULL DEFAULT ''\n) WITH (fillfactor = 50);\n\
         CREATE TABLE IF NOT EXISTS personium.records (\n{columns}"
    );
    if partitions == 0 {
        text.push_str(";\n");
    } else {
        text.push_str(" PARTITION BY HASH (space);\n");
    }
    for part in 0..partitions {
        text.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS personium.records_{part} PARTITION OF personium.records \
             FOR VALUES WITH (MODULUS {partitions}, REMAINDER {part});\n"
        ));
    }
    text.push_str(&format!(
        "INSERT INTO personium.format (id, version) VALUES (1, {SCHEMA_VERSION}) ON CONFLICT (id) DO NOTHING;\n"
    ));
    text
}

/// The statements for a database administrator: they make role, database, tables and rights.
pub(crate) fn administrator_sql(user: &str, database: &str, partitions: u32) -> String {
    let (user, database) = (quoted(user), quoted(database));
    format!(
        "-- Run by an administrator of the database server, with psql.\n\
         -- Set a password for the role afterwards: \\password {user}\n\
         CREATE ROLE {user} LOGIN;\n\
         CREATE DATABASE {database};\n\
         \\connect {database}\n\
         BEGIN;\n\
         {}\
         GRANT USAGE ON SCHEMA personium TO {user};\n\
         GRANT SELECT ON personium.format TO {user};\n\
         GRANT SELECT, INSERT, UPDATE, DELETE ON personium.spaces, personium.records TO {user};\n\
         COMMIT;\n",
        tables(partitions)
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_parts_are_optional() {
        let sql = administrator_sql("a\"; DROP ROLE b; --", "unit", 2);
        assert!(sql.contains("CREATE ROLE \"a\"\"; DROP ROLE b; --\" LOGIN;"));
        assert!(sql.contains("MODULUS 2, REMAINDER 1") && !sql.contains("REMAINDER 2"));
        assert!(!tables(0).contains("PARTITION"));
    }
}
