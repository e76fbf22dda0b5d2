//! The runtime of work that goes on beside requests: exports, imports, installations, and what back-ups and verifications read.

use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// The share of the processors that the work may use: one of so many.
const PROCESSORS_DIVISOR: usize = 2;

/// The maximum number of threads that may wait for the disk. A command that reads all cells over the socket of the records occupies four at once.
const BLOCKING_THREADS_MAX: usize = 32;

/// The time for the threads to end: that of a piece of work.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A runtime with few threads. It ends when this is dropped.
pub(crate) struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    /// Starts the threads.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) fn start() -> std::io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers = (processors / PROCESSORS_DIVISOR).max(1);
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("background")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// The runtime, to spawn on. `None` if it has ended.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }

    /// Ends the work, and waits until its threads have ended, at most five seconds.
    pub(crate) async fn end(mut self) {
        let Some(runtime) = self.0.take() else { return };
        // A thread of a runtime must not wait for the end of another one.
        let ending = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(END_TIMEOUT));
        if let Err(error) = ending.await {
            tracing::warn!(%error, "failed to end the threads of background work");
        }
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Those who drop it may be on another runtime, which must not wait.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn work_has_threads_of_its_own_and_the_runtime_may_end_on_another() {
        let runtime = BackgroundRuntime::start().unwrap();
        let handle = runtime.handle().unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let own = Some("background".to_owned());
        assert_eq!(handle.spawn(async move { name() }).await.unwrap(), own);
        assert_eq!(handle.spawn_blocking(name).await.unwrap(), own);
        let waiting = handle.spawn(std::future::pending::<()>());
        drop(runtime);
        assert!(waiting.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn nothing_of_the_work_is_left_when_the_runtime_has_ended() {
        let runtime = BackgroundRuntime::start().unwrap();
        let handle = runtime.handle().unwrap().clone();
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let (begun, beginning) = tokio::sync::oneshot::channel();
        drop(handle.spawn(async move {
            let _ = begun.send(());
            std::future::pending::<()>().await;
            drop(holds);
        }));
        beginning.await.unwrap();
        runtime.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
        let later = handle.spawn(async {});
        assert!(later.await.unwrap_err().is_cancelled());
    }
}
