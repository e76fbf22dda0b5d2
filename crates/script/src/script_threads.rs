//! The threads of scripts.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::Duration;

use parking_lot::Mutex;

/// The time for which a thread without work is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The work of a thread, and what is left of it for the next one.
pub(crate) type Job = Box<dyn FnOnce() -> Option<Box<dyn JobRest>> + Send>;

/// The remains of a job, such as a right that another one may use.
pub(crate) trait JobRest {
    /// The job that waits for it, which gets it; itself if there is none.
    ///
    /// # Errors
    /// There is none. It is then dropped when the thread can be found by the next job.
    fn next(self: Box<Self>) -> Result<Job, Box<dyn JobRest>>;
}

/// Threads that run one job at a time. They are started when they are needed. Of those without work the one that became idle last gets
/// the next job: its memory is in the caches of the processors. All end some time after they were dropped.
pub(crate) struct ScriptThreads {
    idle: Arc<Mutex<IdleThreads>>,
    stack_bytes: usize,
}

/// The threads without work.
#[derive(Default)]
struct IdleThreads {
    /// In the order in which they became idle.
    threads: Vec<(u64, SyncSender<Job>)>,
    started: u64,
    is_closed: bool,
}

impl ScriptThreads {
    /// Threads with stacks of a size.
    pub(crate) fn new(stack_bytes: usize) -> Self {
        Self {
            idle: Arc::default(),
            stack_bytes,
        }
    }

    /// Runs a job on a thread.
    ///
    /// # Errors
    /// The system has no resources for another thread. The job is dropped.
    pub(crate) fn run(&self, mut job: Job) -> io::Result<()> {
        let number = {
            let mut idle = self.idle.lock();
            while let Some((_, thread)) = idle.threads.pop() {
                match thread.try_send(job) {
                    Ok(()) => return Ok(()),
                    Err(
                        mpsc::TrySendError::Full(back) | mpsc::TrySendError::Disconnected(back),
                    ) => {
                        job = back;
                    }
                }
            }
            idle.started += 1;
            idle.started
        };
        let idle = Arc::clone(&self.idle);
        let thread = std::thread::Builder::new()
            .name("script".to_owned())
            .stack_size(self.stack_bytes);
        thread.spawn(move || work(number, job, &idle)).map(drop)
    }
}

impl Drop for ScriptThreads {
    fn drop(&mut self) {
        // Scripts that still run end by their time limit.
        let mut idle = self.idle.lock();
        idle.is_closed = true;
        idle.threads.clear();
    }
}

/// Runs a job and those that follow, until there was none for a while.
fn work(number: u64, first: Job, idle: &Mutex<IdleThreads>) {
    let (sender, jobs) = mpsc::sync_channel::<Job>(1);
    let mut next = Some(first);
    while let Some(job) = next.take() {
        // What a job is responsible for is told by its end: the unit must not lose the thread too.
        let rest = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        // The next job begins on this thread, without being sent to one: its memory is in the caches.
        let rest = match rest.ok().flatten().map(|rest| rest.next()) {
            Some(Ok(job)) => {
                next = Some(job);
                continue;
            }
            Some(Err(rest)) => Some(rest),
            None => None,
        };
        {
            let mut idle = idle.lock();
            if idle.is_closed {
                return;
            }
            idle.threads.push((number, sender.clone()));
        }
        drop(rest);
        next = match jobs.recv_timeout(KEEP_ALIVE) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                idle.lock().threads.retain(|(of, _)| *of != number);
                // It may have got one at the last moment.
                jobs.try_recv().ok()
            }
        };
    }
}
