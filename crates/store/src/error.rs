//! The errors of engines.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of a call to an engine.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failed call to an engine.
///
/// Clones share the source, so that one failure can be returned to several callers.
///
/// ```
/// use std::error::Error;
/// use personium_store::{ErrorDetail, StoreError};
///
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// let error = StoreError::Full(ErrorDetail::new("failed to write a chunk").with_source(full));
/// assert_eq!(error.to_string(), "failed to write a chunk");
/// assert_eq!(error.source().unwrap().to_string(), "no storage space");
/// assert!(error.is_retryable());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// An assertion of the batch did not hold. Nothing was changed. Read again, then retry.
    #[error("an assertion of the batch does not hold")]
    Conflict,
    /// The space is sealed. Nothing was changed. Whoever sealed it opens it again, or drops it.
    #[error("the space is sealed")]
    Sealed,
    /// The space was dropped. Nothing was changed, and no retry can succeed.
    #[error("the space was dropped")]
    SpaceDropped,
    /// The engine has no capacity at the moment.
    #[error(transparent)]
    Busy(ErrorDetail),
    /// The storage has no space for the data: a full disk, a quota, or a limit on the size of a file. Nothing was changed.
    #[error(transparent)]
    Full(ErrorDetail),
    /// Whoever the space belongs to may not store more. Nothing was changed. No engine returns this: quotas are of a layer above.
    #[error(transparent)]
    OverQuota(ErrorDetail),
    /// The file system is read-only. Nothing was changed.
    #[error(transparent)]
    ReadOnly(ErrorDetail),
    /// The engine cannot be reached, was closed, or failed. Whether a batch was committed is unknown.
    #[error(transparent)]
    Down(ErrorDetail),
    /// A record of the batch has a longer key or a larger value than any engine takes. Nothing was changed.
    #[error(transparent)]
    TooLarge(ErrorDetail),
    /// The stored data is damaged.
    #[error(transparent)]
    Corrupt(ErrorDetail),
    /// The engine does not support the request or the format of the stored data.
    #[error(transparent)]
    Unsupported(ErrorDetail),
}

impl StoreError {
    /// Whether the same request can succeed later, after a [`Conflict`](Self::Conflict) with what is stored then.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict
            | Self::Sealed
            | Self::Busy(_)
            | Self::Full(_)
            | Self::OverQuota(_)
            | Self::ReadOnly(_)
            | Self::Down(_) => true,
            Self::SpaceDropped | Self::TooLarge(_) | Self::Corrupt(_) | Self::Unsupported(_) => {
                false
            }
        }
    }
}

/// The operation that failed and the error that caused it.
#[derive(Debug, Clone)]
pub struct ErrorDetail {
    operation: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl ErrorDetail {
    /// A failure without a source. `operation` says what failed, for example `failed to open /data/unit.db`.
    #[must_use]
    pub fn new(operation: impl Into<Cow<'static, str>>) -> Self {
        Self {
            operation: operation.into(),
            source: None,
        }
    }

    /// The same failure with its source.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..self
        }
    }
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)
    }
}

impl StdError for ErrorDetail {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_message_and_source() {
        let cause = std::io::Error::other("the disk failed");
        let error = StoreError::Down(ErrorDetail::new("failed to commit").with_source(cause));
        for error in [error.clone(), error] {
            assert_eq!(error.to_string(), "failed to commit");
            assert_eq!(error.source().unwrap().to_string(), "the disk failed");
        }
    }

    #[test]
    fn only_what_another_state_of_the_engine_can_cure_is_retryable() {
        let detail = || ErrorDetail::new("failed");
        for retryable in [
            StoreError::Conflict,
            StoreError::Sealed,
            StoreError::Busy(detail()),
            StoreError::Full(detail()),
            StoreError::ReadOnly(detail()),
            StoreError::Down(detail()),
        ] {
            assert!(retryable.is_retryable(), "{retryable:?}");
        }
        for permanent in [
            StoreError::SpaceDropped,
            StoreError::TooLarge(detail()),
            StoreError::Corrupt(detail()),
            StoreError::Unsupported(detail()),
        ] {
            assert!(!permanent.is_retryable(), "{permanent:?}");
        }
    }
}
