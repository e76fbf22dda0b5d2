//! The jobs that this process runs, and those that wait for it to run them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use personium_model::keys::JobKey;
use personium_model::service_job::{JobOutcome, QueuedJob};
use personium_model::settings::JobSettings;
use personium_script::ScriptStop;
use personium_types::{CellId, Code, Result};
use tokio::sync::{Notify, watch};

/// The largest number of jobs that wait in this process. Those that were cancelled through another one are among them until it is their
/// turn.
const WAITING_MAX: usize = 10_000;

/// The jobs of this process. The jobs themselves are records; see [`personium_model::service_job`].
#[derive(Default)]
pub(crate) struct JobQueue {
    jobs: Mutex<Jobs>,
    changed: Notify,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<QueuedJob>,
    running: HashMap<CellId, usize>,
    /// The signals that stop those that run.
    stops: HashMap<JobKey, watch::Sender<bool>>,
    is_closed: bool,
}

/// The run of a job: it makes a request of a request that a client has sent.
#[derive(Clone)]
pub(crate) struct JobRun {
    pub(crate) job: JobKey,
    /// The identity that has started it.
    pub(crate) starter: String,
    /// The address of the client that has sent the request.
    pub(crate) client_address: Option<IpAddr>,
    /// The signal that stops its script.
    pub(crate) stop: ScriptStop,
    /// The outcome, once the script has run.
    pub(crate) outcome: Arc<Mutex<Option<JobOutcome>>>,
}

/// A job that runs. It counts until this is dropped, which also stops its script.
pub(crate) struct RunningJob {
    pub(crate) run: JobRun,
    queue: Arc<JobQueue>,
    /// Kept, so that nobody takes the job for one that nobody runs.
    _queued: QueuedJob,
}

impl Jobs {
    /// Takes the first job that waits and is within the limits.
    fn take(&mut self, limits: &JobSettings) -> Option<QueuedJob> {
        if self.is_closed || self.stops.len() >= limits.running_max {
            return None;
        }
        let max = limits.running_of_cell_max;
        let running = &self.running;
        let may_run =
            |queued: &QueuedJob| running.get(&queued.job.cell).copied().unwrap_or_default() < max;
        let position = self.waiting.iter().position(may_run)?;
        self.waiting.remove(position)
    }
}

impl JobQueue {
    /// Adds a job that waits.
    pub(crate) fn enqueue(&self, queued: QueuedJob) {
        self.jobs.lock().waiting.push_back(queued);
        self.changed.notify_one();
    }

    /// Waits for the next job that may run. Only one caller may wait.
    pub(crate) async fn next(self: &Arc<Self>, limits: impl Fn() -> JobSettings) -> RunningJob {
        loop {
            let changed = self.changed.notified();
            if let Some(running) = self.take(&limits()) {
                return running;
            }
            changed.await;
        }
    }

    fn take(self: &Arc<Self>, limits: &JobSettings) -> Option<RunningJob> {
        let mut jobs = self.jobs.lock();
        let queued = jobs.take(limits)?;
        let (sender, stop) = watch::channel(false);
        jobs.stops.insert(queued.job, sender);
        *jobs.running.entry(queued.job.cell).or_default() += 1;
        drop(jobs);
        let run = JobRun {
            job: queued.job,
            starter: String::new(),
            client_address: None,
            stop: ScriptStop(stop),
            outcome: Arc::default(),
        };
        Some(RunningJob {
            run,
            queue: Arc::clone(self),
            _queued: queued,
        })
    }

    /// Checks that one more job may wait.
    ///
    /// # Errors
    /// [`Code::ServerBusy`]
    pub(crate) fn check_space(&self) -> Result<()> {
        match self.counts().1 < WAITING_MAX {
            true => Ok(()),
            false => Err(Code::ServerBusy.into()),
        }
    }

    /// Gives up a job of this process, whether it waits or runs.
    pub(crate) fn stop(&self, job: &JobKey) {
        let mut jobs = self.jobs.lock();
        jobs.waiting.retain(|queued| queued.job != *job);
        if let Some(stop) = jobs.stops.get(job) {
            stop.send_replace(true);
        }
    }

    /// The numbers of jobs that run and that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let jobs = self.jobs.lock();
        (jobs.stops.len(), jobs.waiting.len())
    }

    /// Whether no more jobs begin.
    pub(crate) fn is_closed(&self) -> bool {
        self.jobs.lock().is_closed
    }

    /// Begins no more jobs, and waits until those that run have ended, at most for a time.
    pub(crate) async fn close(&self, wait: Duration) {
        self.jobs.lock().is_closed = true;
        let ended = async {
            while self.counts().0 > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // What still runs is interrupted.
        let _ = tokio::time::timeout(wait, ended).await;
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        let mut jobs = self.queue.jobs.lock();
        jobs.stops.remove(&self.run.job);
        if let Some(running) = jobs.running.get_mut(&self.run.job.cell) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                jobs.running.remove(&self.run.job.cell);
            }
        }
        drop(jobs);
        self.queue.changed.notify_one();
    }
}
