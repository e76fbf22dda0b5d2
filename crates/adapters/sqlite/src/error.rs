//! Conversion of errors of SQLite and the file system to [`StoreError`].

use std::borrow::Cow;
use std::io::ErrorKind;

use personium_store::{ErrorDetail, StoreError};
use rusqlite::ErrorCode;

/// Converts an error of SQLite. `operation` says what failed.
pub(crate) fn sqlite_error(
    operation: impl Into<Cow<'static, str>>,
    error: rusqlite::Error,
) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch) => {
            StoreError::Corrupt
        }
        Some(_) => StoreError::Down,
        None => match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => StoreError::Corrupt,
            _ => StoreError::Down,
        },
    };
    kind(ErrorDetail::new(operation).with_source(error))
}

/// Converts an error of the file system. `operation` says what failed.
pub(crate) fn io_error(
    operation: impl Into<Cow<'static, str>>,
    error: std::io::Error,
) -> StoreError {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full
        }
        ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
        _ => StoreError::Down,
    };
    kind(ErrorDetail::new(operation).with_source(error))
}

/// Returns the error of a call to a closed store.
pub(crate) fn closed() -> StoreError {
    StoreError::Down(ErrorDetail::new("the store is closed"))
}

/// Returns the error of a task that panicked.
pub(crate) fn panicked(error: tokio::task::JoinError) -> StoreError {
    StoreError::Down(ErrorDetail::new("a task of the store panicked").with_source(error))
}
