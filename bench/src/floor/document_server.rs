//! The floor of reading by key: axum, and one prepared statement that reads the document out of SQLite.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rusqlite::{Connection, OpenFlags};

use crate::{Outcome, rows};

thread_local! {
    static OPEN: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Makes the file with as many documents.
///
/// # Errors
/// When SQLite refuses.
pub(crate) fn fill(file: &Path, count: u64) -> Outcome {
    let told = |e: rusqlite::Error| format!("cannot fill {}: {e}", file.display());
    let mut db = Connection::open(file).map_err(told)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE document (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;")
        .map_err(told)?;
    let tx = db.transaction().map_err(told)?;
    {
        let mut insert = tx
            .prepare("INSERT INTO document VALUES (?1, ?2)")
            .map_err(told)?;
        for number in 0..count {
            insert
                .execute((rows::key(number), rows::json(number)))
                .map_err(told)?;
        }
    }
    tx.commit().map_err(told)
}

/// Serves `/KEY` until it is ended.
///
/// # Errors
/// When it cannot listen.
pub(crate) async fn serve(file: PathBuf, port: u16) -> Outcome {
    let app = Router::new()
        .route("/{key}", get(document))
        .with_state(Arc::new(file));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|e| format!("cannot listen: {e}"))?;
    axum::serve(listener, app)
        .await
        .map_err(|e| format!("cannot serve: {e}"))
}

async fn document(State(file): State<Arc<PathBuf>>, UrlPath(key): UrlPath<String>) -> Response {
    match read(&file, &key) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(rusqlite::Error::QueryReturnedNoRows) => StatusCode::NOT_FOUND.into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

fn read(file: &Path, key: &str) -> rusqlite::Result<String> {
    OPEN.with(|open| {
        let mut open = open.borrow_mut();
        let db = match open.as_ref() {
            Some(db) => db,
            None => open.insert(Connection::open_with_flags(
                file,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?),
        };
        db.prepare_cached("SELECT body FROM document WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
    })
}
