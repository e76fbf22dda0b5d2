//! The runtime of work that goes on beside requests: exports, imports, installations, and what back-ups and verifications read.

use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

/// The share of the processors that the work may use: one of so many.
const PROCESSORS_DIVISOR: usize = 2;

/// The threads for each processor of the work that may wait for the disk.
const BLOCKING_THREADS: usize = 4;

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
            .max_blocking_threads(workers * BLOCKING_THREADS)
            .thread_name("background")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// The runtime, to spawn on. `None` if it has ended.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
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
}
