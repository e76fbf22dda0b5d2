//! Failures of the object store, and what they mean.

use std::sync::Arc;

use http::StatusCode;
use object_store::Error;
use parking_lot::Mutex;
use personium_store::{ErrorDetail, Result, StoreError};

/// The error responses of the requests of one operation.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorResponses(Arc<Mutex<Option<ErrorResponse>>>);

/// An error response of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    pub(crate) status: StatusCode,
    /// The code in its body; empty if there is none.
    pub(crate) code: String,
}

tokio::task_local! {
    static RESPONSES: ErrorResponses;
}

/// Reports an error response of the operation that runs.
pub(crate) fn report(response: ErrorResponse) {
    // Requests outside of an operation are reported by their result alone.
    let _ = RESPONSES.try_with(|responses| *responses.0.lock() = Some(response));
}

/// Runs an operation of the object store. `name` is the message of its error.
///
/// # Errors
/// [`StoreError`] with the operation, and `None` inside if the object does not exist.
pub(crate) async fn run<T>(
    name: &'static str,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>> {
    let responses = ErrorResponses::default();
    let done = RESPONSES.scope(responses.clone(), operation).await;
    let last = responses.0.lock().take();
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error @ Error::NotFound { .. }) => match last {
            Some(ErrorResponse { code, .. }) if code == "NoSuchBucket" => {
                Err(StoreError::Down(ErrorDetail::new(name).with_source(error)))
            }
            _ => Ok(None),
        },
        Err(error) => {
            let kind = last.map_or(StoreError::Down as fn(_) -> _, |last| last.meaning());
            Err(kind(ErrorDetail::new(name).with_source(error)))
        }
    }
}

/// As [`run`], if the object must exist.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Down`] if the object does not exist.
pub(crate) async fn run_existing<T>(
    name: &'static str,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T> {
    let missing = || StoreError::Down(ErrorDetail::new(format!("{name}: it does not exist")));
    run(name, operation).await?.ok_or_else(missing)
}

impl ErrorResponse {
    fn meaning(&self) -> fn(ErrorDetail) -> StoreError {
        const FULL: [&str; 6] = [
            "QuotaExceeded",
            "QuotaExceededException",
            "XMinioStorageFull",
            "XMinioAdminBucketQuotaExceeded",
            "InsufficientStorage",
            "EntityTooLarge",
        ];
        const BUSY: [&str; 6] = [
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "ServiceUnavailable",
            "RequestLimitExceeded",
            "TooManyRequests",
        ];
        let is = |codes: &[&str]| codes.contains(&self.code.as_str());
        match self.status {
            _ if is(&FULL) => StoreError::Full,
            StatusCode::INSUFFICIENT_STORAGE => StoreError::Full,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => StoreError::Busy,
            _ if is(&BUSY) => StoreError::Busy,
            StatusCode::RANGE_NOT_SATISFIABLE => StoreError::Unsupported,
            _ => StoreError::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(response: Option<(u16, &str)>, not_found: bool) -> Result<Option<()>> {
        let operation = async {
            if let Some((status, code)) = response {
                report(ErrorResponse {
                    status: StatusCode::from_u16(status).unwrap(),
                    code: code.to_owned(),
                });
            }
            let source = "it failed".into();
            match not_found {
                true => Err(Error::NotFound {
                    path: "a".to_owned(),
                    source,
                }),
                false => Err(Error::Generic {
                    store: "S3",
                    source,
                }),
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        runtime_of(runtime).block_on(run("failed to test", operation))
    }

    fn runtime_of(mut builder: tokio::runtime::Builder) -> tokio::runtime::Runtime {
        builder.build().unwrap()
    }

    #[test]
    fn responses_mean_busy_full_or_down_and_only_a_missing_object_is_none() {
        assert!(matches!(failing(Some((404, "NoSuchKey")), true), Ok(None)));
        assert!(matches!(failing(Some((404, "")), true), Ok(None)));
        assert!(matches!(
            failing(Some((404, "NoSuchBucket")), true),
            Err(StoreError::Down(_))
        ));
        for (status, code) in [(503, "SlowDown"), (503, ""), (429, ""), (200, "SlowDown")] {
            let error = failing(Some((status, code)), false);
            assert!(matches!(error, Err(StoreError::Busy(_))), "{status} {code}");
        }
        for (status, code) in [
            (507, ""),
            (403, "QuotaExceeded"),
            (507, "XMinioStorageFull"),
        ] {
            let error = failing(Some((status, code)), false);
            assert!(matches!(error, Err(StoreError::Full(_))), "{status} {code}");
        }
        for response in [
            Some((500, "InternalError")),
            Some((403, "AccessDenied")),
            None,
        ] {
            let error = failing(response, false);
            assert!(matches!(error, Err(StoreError::Down(_))), "{response:?}");
        }
    }
}
