//! Work whose panic ends only that work.

use personium_types::{Code, Error, Result};
use tokio::task::JoinSet;

/// Runs work in a task of its own. The task ends with the returned future.
///
/// # Errors
/// That of the work; an internal error if it panics.
pub(crate) async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut running = JoinSet::new();
    running.spawn(personium_trace::within(personium_trace::current(), work));
    match running.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(panic)) => Err(Error::internal(panic)),
        None => Err(Code::Unknown.into()),
    }
}
