//! Where work runs that goes on beside requests, such as exports.

use std::sync::OnceLock;

use parking_lot::Mutex;
use personium_trace::within;
use personium_types::{Code, Error, Result};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// The work that goes on beside requests, and its runtime: one of its own, with few threads of the same priority as those of requests. Without
/// one, the work runs on the runtime of its caller.
#[derive(Debug, Default)]
pub struct BackgroundWork {
    runtime: OnceLock<Handle>,
    spawned: Mutex<Spawned>,
}

/// The work that goes on without its caller.
#[derive(Debug, Default)]
struct Spawned {
    tasks: JoinSet<()>,
    has_ended: bool,
}

impl BackgroundWork {
    /// Sets the runtime. Only the first call counts.
    pub fn run_on(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    /// Spawns work with a trace of its own, which goes on without its caller until [`end`](Self::end). It is dropped at once if that was
    /// called.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = within(personium_trace::background(), work);
        let mut spawned = self.spawned.lock();
        if spawned.has_ended {
            return;
        }
        // Those that are done are not kept.
        while spawned.tasks.try_join_next().is_some() {}
        match self.runtime.get() {
            Some(runtime) => spawned.tasks.spawn_on(work, runtime),
            None => spawned.tasks.spawn(work),
        };
    }

    /// Ends the spawned work where it waits next, and returns when all of it has ended. None begins afterwards.
    pub async fn end(&self) {
        let mut tasks = {
            let mut spawned = self.spawned.lock();
            spawned.has_ended = true;
            std::mem::take(&mut spawned.tasks)
        };
        tasks.shutdown().await;
    }

    /// Runs work whose caller waits for it. It ends with the returned future.
    ///
    /// # Errors
    /// An internal error if it panics, or the runtime has ended.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let work = within(personium_trace::current(), work);
        let mut running = JoinSet::new();
        match self.runtime.get() {
            Some(runtime) => running.spawn_on(work, runtime),
            None => running.spawn(work),
        };
        let done = running.join_next().await;
        done.ok_or(Code::Unknown)?.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use tokio::sync::Notify;

    use super::*;

    fn thread_name() -> Option<String> {
        thread::current().name().map(str::to_owned)
    }

    #[tokio::test]
    async fn work_runs_on_its_runtime_and_ends_with_its_caller() {
        let work = Arc::new(BackgroundWork::default());
        assert_eq!(
            work.run(async { thread_name() }).await.unwrap(),
            thread_name()
        );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("of-work")
            .build()
            .unwrap();
        work.run_on(runtime.handle().clone());
        let own = Some("of-work".to_owned());
        assert_eq!(work.run(async { thread_name() }).await.unwrap(), own);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        work.spawn(async { sender.send(thread_name()).unwrap() });
        assert_eq!(receiver.await.unwrap(), own);
        let panicked = work.run(async { panic!("on purpose") }).await;
        assert_eq!(panicked.unwrap_err().code(), Code::Unknown);

        // What is dropped when the work ends tells of it.
        struct Ended(Arc<Notify>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (ended, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (guard, begin) = (Ended(Arc::clone(&ended)), Arc::clone(&begun));
        let caller = tokio::spawn({
            let work = Arc::clone(&work);
            async move {
                work.run(async move {
                    begin.notify_one();
                    std::future::pending::<()>().await;
                    drop(guard);
                })
                .await
            }
        });
        begun.notified().await;
        caller.abort();
        ended.notified().await;
        runtime.shutdown_background();
        assert!(work.run(async {}).await.is_err());
    }

    #[tokio::test]
    async fn spawned_work_has_ended_when_the_end_returns_and_none_begins_later() {
        let work = BackgroundWork::default();
        let held = Arc::new(());
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let holds = Arc::clone(&held);
        work.spawn(async move {
            let _ = begun.send(());
            std::future::pending::<()>().await;
            drop(holds);
        });
        beginning.await.unwrap();
        work.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        work.spawn(async move {
            let _ = sender.send(());
        });
        assert!(receiver.await.is_err());
    }
}
