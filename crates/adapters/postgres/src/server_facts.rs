//! Version, time and history of a database server.

use std::borrow::Cow;

use personium_store::{ErrorDetail, Result, StoreError};

use crate::connections::Connections;
use crate::read::column;
use crate::statement::Statement;

/// A database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// The version, such as `15.8 (Debian 15.8-0+deb12u1)`.
    pub version: String,
    /// Its time, in milliseconds since 1970.
    pub time_ms: i64,
}

static FACTS: Statement = Statement {
    text: Cow::Borrowed(
        "SELECT current_setting('server_version'), (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    ),
    types: Cow::Borrowed(&[]),
};

/// Asks the server.
pub(crate) async fn ask(connections: &Connections) -> Result<ServerFacts> {
    const FAILED: &str = "failed to ask the database for its version";
    let rows = connections.read(&FACTS, &[]).await;
    let rows = rows.map_err(|failure| failure.into_store_error(FAILED))?;
    let row = rows.first();
    let row = row.ok_or_else(|| StoreError::Down(ErrorDetail::new(FAILED)))?;
    Ok(ServerFacts {
        version: column::<String>(row, 0)?,
        time_ms: column(row, 1)?,
    })
}

/// The first digits of the name of a file of its log.
static TIMELINE: Statement = Statement {
    text: Cow::Borrowed("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"),
    types: Cow::Borrowed(&[]),
};

/// Asks the server for the timeline of its log.
pub(crate) async fn ask_timeline(connections: &Connections) -> Result<String> {
    const FAILED: &str = "failed to ask the database for its timeline";
    let rows = connections.read(&TIMELINE, &[]).await;
    let rows = rows.map_err(|failure| failure.into_store_error(FAILED))?;
    let row = rows.first();
    let row = row.ok_or_else(|| StoreError::Down(ErrorDetail::new(FAILED)))?;
    column(row, 0)
}
