//! The baseline of reading by key: axum, and one prepared statement that reads the document from SQLite.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rusqlite::{Connection, OpenFlags};

use crate::{BenchResult, rows};

thread_local! {
    static DATABASE: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Creates the database file with `count` documents.
///
/// # Errors
/// A message if SQLite reports an error.
pub(crate) fn fill(file: &Path, count: u64) -> BenchResult {
    let failed = |error: rusqlite::Error| format!("cannot fill {}: {error}", file.display());
    let mut database = Connection::open(file).map_err(failed)?;
    database
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE document (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;")
        .map_err(failed)?;
    let transaction = database.transaction().map_err(failed)?;
    {
        let mut insert = transaction
            .prepare("INSERT INTO document VALUES (?1, ?2)")
            .map_err(failed)?;
        for number in 0..count {
            insert
                .execute((rows::key(number), rows::json(number)))
                .map_err(failed)?;
        }
    }
    transaction.commit().map_err(failed)
}

/// Serves `/KEY` until the process is stopped.
///
/// # Errors
/// A message if it cannot listen.
pub(crate) async fn serve(file: PathBuf, port: u16) -> BenchResult {
    let app = Router::new()
        .route("/{key}", get(document))
        .with_state(Arc::new(file));
    super::serve(app, port).await
}

async fn document(State(file): State<Arc<PathBuf>>, UrlPath(key): UrlPath<String>) -> Response {
    match read(&file, &key) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(rusqlite::Error::QueryReturnedNoRows) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn read(file: &Path, key: &str) -> rusqlite::Result<String> {
    DATABASE.with(|database| {
        let mut database = database.borrow_mut();
        let database = match database.as_ref() {
            Some(database) => database,
            None => database.insert(Connection::open_with_flags(
                file,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?),
        };
        database
            .prepare_cached("SELECT body FROM document WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
    })
}
