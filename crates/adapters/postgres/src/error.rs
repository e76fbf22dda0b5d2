//! Failures of the database, and their conversion to [`StoreError`].

use personium_store::{ErrorDetail, StoreError};
use tokio_postgres::error::{DbError, Severity};

/// A failed call of the database.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection was free in time.
    PoolExhausted,
    /// No connection could be made.
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    /// The answer did not arrive in time.
    TimedOut,
    /// The database or the connection failed.
    Database(tokio_postgres::Error),
    /// The store was closed.
    Closed,
}

/// The kind of a failure, which says what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The transaction was rolled back because of another one. The same transaction can succeed at once.
    Contention,
    /// A record that was to be created exists.
    RecordExists,
    /// The connection cannot be used any more.
    ConnectionLost,
    /// No connection could be made.
    Unreachable,
    /// The server accepts no writes: it is not, or not any more, the primary.
    ReadOnly,
    /// The database has no capacity at the moment.
    Busy,
    /// The disk of the database is full.
    Full,
    /// The data of the database is damaged.
    Corrupt,
    /// Any other error.
    Other,
}

impl Failure {
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::PoolExhausted => FailureKind::Busy,
            Self::Unreachable(_) | Self::Closed => FailureKind::Unreachable,
            Self::TimedOut => FailureKind::ConnectionLost,
            Self::Database(error) => match error.as_db_error() {
                Some(error) => kind_of(error),
                None => FailureKind::ConnectionLost,
            },
        }
    }

    /// Whether the server said that it did not commit the transaction in which the failure occurred.
    pub(crate) fn is_rolled_back(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        error.as_db_error().is_some_and(|error| {
            // The outcome is unknown to the server itself: `statement_completion_unknown`.
            error.parsed_severity() == Some(Severity::Error) && error.code().code() != "40003"
        })
    }

    /// Whether the name of the table or schema is unknown.
    pub(crate) fn is_missing_schema(&self) -> bool {
        matches!(self, Self::Database(error)
            if matches!(error.code().map(|code| code.code()), Some("42P01" | "3F000")))
    }

    /// Converts the failure. `operation` says what failed.
    pub(crate) fn into_store_error(self, operation: &'static str) -> StoreError {
        let kind = match self.kind() {
            FailureKind::Contention | FailureKind::Busy => StoreError::Busy,
            FailureKind::Full => StoreError::Full,
            FailureKind::ReadOnly => StoreError::ReadOnly,
            FailureKind::Corrupt => StoreError::Corrupt,
            FailureKind::ConnectionLost
            | FailureKind::Unreachable
            | FailureKind::RecordExists
            | FailureKind::Other => StoreError::Down,
        };
        let detail = ErrorDetail::new(operation);
        kind(match self {
            Self::PoolExhausted => detail.with_source(Cause("no connection to the database was free in time".into())),
            Self::Unreachable(source) => detail.with_source(Cause(text(&*source))),
            Self::TimedOut => detail.with_source(Cause("the database did not answer in time".into())),
            Self::Database(error) if error.code().is_some_and(|code| code.code() == "26000") => {
                detail.with_source(Cause(format!(
                    "{}; with a pooler in transaction mode, set store.postgres.preparedStatements=false",
                    text(&error)
                )))
            }
            Self::Database(error) => detail.with_source(error),
            Self::Closed => detail.with_source(Cause("the store is closed".into())),
        })
    }
}

fn kind_of(error: &DbError) -> FailureKind {
    if matches!(
        error.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    ) && !error.code().code().starts_with("53")
    {
        return FailureKind::ConnectionLost;
    }
    match error.code().code() {
        "40001" | "40P01" => FailureKind::Contention,
        "23505" => FailureKind::RecordExists,
        "25006" => FailureKind::ReadOnly,
        "53100" => FailureKind::Full,
        // A prepared statement whose tables were changed works on a new connection.
        "25P03" | "57P01" | "57P02" | "57P03" | "57P05" | "0A000" => FailureKind::ConnectionLost,
        "57014" | "55P03" => FailureKind::Busy,
        "XX001" | "XX002" => FailureKind::Corrupt,
        code if code.starts_with("53") => FailureKind::Busy,
        code if code.starts_with("08") => FailureKind::ConnectionLost,
        _ => FailureKind::Other,
    }
}

/// A cause that is only a text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// Returns the text of an error with those of its causes.
pub(crate) fn text(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

/// The error of data that cannot be what was stored.
pub(crate) fn corrupt(what: impl Into<std::borrow::Cow<'static, str>>) -> StoreError {
    StoreError::Corrupt(ErrorDetail::new(what))
}
