//! A pool of low-priority threads for password hashing, with bounded queues that are served round-robin per cell.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use personium_types::{CellId, Code, Error, Result};
use tokio::sync::oneshot;

/// The largest number of waiting jobs, over all cells.
const QUEUE_CAPACITY: usize = 1_024;
/// The largest number of waiting jobs of one cell, so that a flood in one cell does not fill the queue of the others.
const QUEUE_CAPACITY_PER_CELL: usize = 256;
/// The nice value of the threads, added to that of the process: in competition for a processor such a thread gets a third
/// of what one that handles requests gets.
#[cfg(target_os = "linux")]
const NICE_VALUE: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// Runs slow computations on its own threads.
///
/// Cells are served round-robin, so a cell with many waiting jobs delays a job of another cell by at most one job per
/// thread. A job whose caller was cancelled is not run. The threads start with the first job and end with the pool.
pub struct HashPool {
    shared: Arc<PoolShared>,
    threads: usize,
}

struct PoolShared {
    state: Mutex<PoolState>,
    wake: Condvar,
}

#[derive(Default)]
struct PoolState {
    queues: HashMap<CellId, VecDeque<Job>>,
    /// The cells with waiting jobs, the next one first.
    round_robin: VecDeque<CellId>,
    waiting: usize,
    started: bool,
    closed: bool,
}

impl PoolState {
    fn push(&mut self, cell: CellId, job: Job) -> Result<()> {
        let queue = self.queues.entry(cell).or_default();
        if self.waiting >= QUEUE_CAPACITY || queue.len() >= QUEUE_CAPACITY_PER_CELL {
            if queue.is_empty() {
                self.queues.remove(&cell);
            }
            return Err(Code::ServerBusy.into());
        }
        if queue.is_empty() {
            self.round_robin.push_back(cell);
        }
        queue.push_back(job);
        self.waiting += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<Job> {
        let cell = self.round_robin.pop_front()?;
        let queue = self.queues.get_mut(&cell)?;
        let job = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&cell);
        } else {
            self.round_robin.push_back(cell);
        }
        self.waiting -= usize::from(job.is_some());
        job
    }
}

impl HashPool {
    /// Creates a pool of this many threads, at least one.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            shared: Arc::new(PoolShared {
                state: Mutex::default(),
                wake: Condvar::new(),
            }),
            threads: threads.max(1),
        }
    }

    /// The default number of threads: one per processor of this machine. They have low priority, so logins use all
    /// processors only while nothing else needs them.
    #[must_use]
    pub fn default_threads() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Runs `work` as a job of a cell and returns its result.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if the queue is full.
    pub async fn run<T: Send + 'static>(
        &self,
        cell: CellId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !done.is_closed() {
                let _ = done.send(work());
            }
        });
        {
            let mut state = self.shared.state.lock();
            state.push(cell, job)?;
            if !state.started {
                state.started = self.start();
            }
        }
        self.shared.wake.notify_one();
        result
            .await
            .map_err(|_| Error::new(Code::ServerBusy).with_source("the hashing job panicked"))
    }

    /// Starts the threads; `true` if at least one runs.
    fn start(&self) -> bool {
        let started = (0..self.threads).filter(|n| {
            let shared = Arc::clone(&self.shared);
            std::thread::Builder::new()
                .name(format!("hash-{n}"))
                .spawn(move || shared.work())
                .is_ok()
        });
        started.count() > 0
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.queues.clear();
        state.round_robin.clear();
        drop(state);
        self.shared.wake.notify_all();
    }
}

impl PoolShared {
    fn work(&self) {
        lower_priority();
        loop {
            let job = {
                let mut state = self.state.lock();
                loop {
                    if state.closed {
                        return;
                    }
                    if let Some(job) = state.pop() {
                        break job;
                    }
                    self.wake.wait(&mut state);
                }
            };
            // A job that panics drops its sender, which fails its caller; the thread continues.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        }
    }
}

/// Lowers the priority of the calling thread. Only Linux has priorities per thread; elsewhere this does nothing.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        let lowered = rustix::process::getpriority_process(None)
            .and_then(|own| rustix::process::setpriority_process(None, own + NICE_VALUE));
        if let Err(error) = lowered {
            tracing::warn!(%error, "could not lower the priority of hashing threads");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn cell(n: u8) -> CellId {
        CellId::from_bytes([n; 16])
    }

    /// Occupies the only thread until the sender is dropped.
    async fn blocked(pool: &Arc<HashPool>) -> mpsc::Sender<()> {
        let (go, wait) = mpsc::channel::<()>();
        let (begun, seen) = oneshot::channel();
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            pool.run(cell(0), move || {
                let _ = begun.send(());
                let _ = wait.recv();
            })
            .await
        });
        seen.await.unwrap();
        go
    }

    #[tokio::test]
    async fn full_queue_of_one_cell_does_not_block_another_cell() {
        let pool = Arc::new(HashPool::new(1));
        let go = blocked(&pool).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for n in 0..QUEUE_CAPACITY_PER_CELL {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                pool.run(cell(1), move || order.lock().push((1, n))).await
            }));
        }
        while pool.shared.state.lock().waiting < QUEUE_CAPACITY_PER_CELL {
            tokio::task::yield_now().await;
        }
        let refused = pool.run(cell(1), || ()).await;
        assert_eq!(refused.unwrap_err().code(), Code::ServerBusy);
        let (other, seen) = (Arc::clone(&pool), Arc::clone(&order));
        let other =
            tokio::spawn(async move { other.run(cell(2), move || seen.lock().push((2, 0))).await });
        while pool.shared.state.lock().waiting <= QUEUE_CAPACITY_PER_CELL {
            tokio::task::yield_now().await;
        }
        drop(go);
        other.await.unwrap().unwrap();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let at = order
            .lock()
            .iter()
            .position(|(cell, _)| *cell == 2)
            .unwrap();
        assert!(at <= 1, "the other cell's job was number {at}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_threads_run_at_low_priority() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let theirs = HashPool::new(1).run(cell(1), own).await.unwrap();
        // 19 is the lowest priority.
        assert_eq!(theirs, (own() + NICE_VALUE).min(19));
    }

    #[tokio::test]
    async fn job_of_a_cancelled_caller_is_not_run_and_a_panic_fails_only_its_job() {
        let pool = Arc::new(HashPool::new(1));
        let go = blocked(&pool).await;
        let ran = Arc::new(Mutex::new(false));
        let task = {
            let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
            tokio::spawn(async move { pool.run(cell(1), move || *ran.lock() = true).await })
        };
        while pool.shared.state.lock().waiting == 0 {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
        drop(go);
        let failed: Result<()> = pool.run(cell(1), || panic!("in a test")).await;
        assert!(failed.is_err());
        assert_eq!(pool.run(cell(1), || 7).await.unwrap(), 7);
        assert!(!*ran.lock());
    }
}
