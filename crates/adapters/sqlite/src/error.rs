//! From the errors of SQLite to those of the port.

use personium_store::StoreError;
use rusqlite::ErrorCode;

/// What an error of SQLite means to the caller.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => {
            StoreError::Busy(text)
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch) => {
            StoreError::Corrupt(text)
        }
        Some(_) => StoreError::Down(text),
        None => match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => StoreError::Corrupt(text),
            _ => StoreError::Down(text),
        },
    }
}

/// What an error of the file system means to the caller.
pub(crate) fn io_error(what: &str, error: &std::io::Error) -> StoreError {
    let text = format!("{what}: {error}");
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StoreError::Busy(text)
        }
        _ => StoreError::Down(text),
    }
}

/// The store was closed.
pub(crate) fn closed() -> StoreError {
    StoreError::Down("the store is closed".into())
}
