//! The threads that commit, and the files that wait for one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use personium_store::{Batch, KeyRange, Op, Result, Seal, StoreError};

use crate::apply;
use crate::error::{closed, io_error};
use crate::file::{DbFile, Job, Waiting};
use crate::store::Inner;

/// Batches that one commit takes at most.
const GROUP: usize = 256;

/// How much one commit takes at most, unless a single batch is more: no transaction is long. A step weighs as much as
/// its value, and [`STEP`] more.
const GROUP_WEIGHT: usize = 8 << 20;

/// What a step weighs besides its value, in bytes.
const STEP: usize = 1 << 10;

/// How long a writer waits for the batches that are likely to follow those it has just answered.
const GATHER: Duration = Duration::from_micros(150);

/// Groups from this size on are worth waiting for.
const GATHER_FROM: usize = 8;

/// Files whose queue is not empty, and the threads that work on them.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    ready: Mutex<Ready>,
    wake: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Ready {
    files: VecDeque<Arc<DbFile>>,
    stopping: bool,
    /// Threads that will still ask for a file.
    live: usize,
}

impl Pool {
    /// Starts the threads.
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<()> {
        let mut threads = inner.pool.threads.lock();
        for n in 0..inner.settings.writers.max(1) {
            let shared = Arc::clone(inner);
            let thread = Builder::new()
                .name(format!("sqlite-{n}"))
                .spawn(move || work(&shared));
            threads.push(thread.map_err(|e| io_error("cannot start a thread", &e))?);
            inner.pool.ready.lock().live += 1;
        }
        Ok(())
    }

    /// Queues a job for the file. After [`Pool::stop`], the job is dropped and its caller hears so.
    pub(crate) fn push(&self, file: &Arc<DbFile>, job: Job) {
        let schedule = {
            let mut queue = file.queue.lock();
            queue.jobs.push_back(job);
            !std::mem::replace(&mut queue.scheduled, true)
        };
        if schedule {
            self.schedule(Arc::clone(file));
        }
    }

    fn schedule(&self, file: Arc<DbFile>) {
        let mut ready = self.ready.lock();
        if ready.stopping && ready.live == 0 {
            file.queue.lock().jobs.clear();
            return;
        }
        ready.files.push_back(file);
        drop(ready);
        self.wake.notify_one();
    }

    /// The next file to work on; `None` when the pool stops and nothing is left.
    fn next(&self) -> Option<Arc<DbFile>> {
        let mut ready = self.ready.lock();
        loop {
            if let Some(file) = ready.files.pop_front() {
                return Some(file);
            }
            if ready.stopping {
                ready.live = ready.live.saturating_sub(1);
                return None;
            }
            self.wake.wait(&mut ready);
        }
    }

    /// Finishes everything that is queued and ends the threads.
    pub(crate) fn stop(&self) {
        self.ready.lock().stopping = true;
        self.wake.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a writer thread has panicked");
            }
        }
    }
}

fn work(inner: &Arc<Inner>) {
    while let Some(file) = inner.pool.next() {
        let mut last_group = 0;
        loop {
            if last_group >= GATHER_FROM {
                gather(&file, last_group);
            }
            let Some(turn) = take(&file) else { break };
            last_group = match turn {
                Turn::Commit(group) => {
                    let size = group.len();
                    let done = catch_unwind(AssertUnwindSafe(|| commit(inner, &file, group)));
                    if done.is_err() {
                        tracing::error!(file = %file.path.display(), "a commit broke down");
                    }
                    size
                }
                Turn::Seal(empty, answer) => {
                    // If nobody waits for it any more, the seal is lifted at once.
                    let _gone = answer.send(seal(inner, &file, empty));
                    0
                }
                Turn::Drop(answer) => {
                    let _gone = answer.send(remove(inner, &file));
                    0
                }
                Turn::Retire => {
                    inner.retire(&file);
                    0
                }
            };
            if !inner.pool.ready.lock().files.is_empty() {
                let mut queue = file.queue.lock();
                queue.scheduled = !queue.jobs.is_empty();
                if queue.scheduled {
                    drop(queue);
                    inner.pool.schedule(Arc::clone(&file));
                }
                break;
            }
        }
    }
}

enum Turn {
    Commit(Vec<Waiting>),
    Seal(Vec<KeyRange>, tokio::sync::oneshot::Sender<Result<Seal>>),
    Drop(tokio::sync::oneshot::Sender<Result<()>>),
    Retire,
}

/// The next thing to do for the file; if there is none, the file is no longer scheduled.
fn take(file: &DbFile) -> Option<Turn> {
    let mut queue = file.queue.lock();
    let mut group = Vec::new();
    let mut weight = 0;
    while let Some(job) = queue.jobs.pop_front() {
        match job {
            Job::Commit(waiting)
                if group.is_empty() || weight + weigh(&waiting.batch) <= GROUP_WEIGHT =>
            {
                weight += weigh(&waiting.batch);
                group.push(waiting);
                if group.len() == GROUP {
                    break;
                }
            }
            other if !group.is_empty() => {
                queue.jobs.push_front(other);
                break;
            }
            Job::Seal(empty, answer) => return Some(Turn::Seal(empty, answer)),
            Job::Drop(answer) => return Some(Turn::Drop(answer)),
            Job::Retire => return Some(Turn::Retire),
            Job::Commit(waiting) => group.push(waiting),
        }
    }
    queue.scheduled = !group.is_empty();
    (!group.is_empty()).then_some(Turn::Commit(group))
}

fn weigh(batch: &Batch) -> usize {
    let value = |op: &Op| match op {
        Op::Put(_, value) => value.len(),
        _ => 0,
    };
    batch.ops().iter().map(|op| STEP + value(op)).sum()
}

/// Waits a moment for those who were answered together to come back together: one commit for many costs as much as
/// for one.
fn gather(file: &DbFile, expected: usize) {
    let until = Instant::now() + GATHER;
    while file.queue.lock().jobs.len() < expected && Instant::now() < until {
        std::thread::yield_now();
    }
}

fn commit(inner: &Inner, file: &DbFile, group: Vec<Waiting>) {
    let answers = write(inner, file, group.iter().map(|waiting| &waiting.batch));
    match answers {
        Ok(answers) => {
            for (waiting, answer) in group.into_iter().zip(answers) {
                let _gone = waiting.answer.send(answer);
            }
        }
        Err(error) => {
            if !matches!(error, StoreError::Gone | StoreError::Conflict) {
                tracing::error!(file = %file.path.display(), %error, "cannot commit");
            }
            for waiting in group {
                let _gone = waiting.answer.send(Err(again(&error)));
            }
        }
    }
}

/// Commits the batches. The connection is given back only if all went well; otherwise the next group opens another.
fn write<'b>(
    inner: &Inner,
    file: &DbFile,
    batches: impl Iterator<Item = &'b Batch>,
) -> Result<Vec<Result<u64>>> {
    let _gate = file.gate.read();
    let mut place = file.writer.lock();
    if inner.sealed.lock().contains(&file.space) {
        return Err(StoreError::Conflict);
    }
    let mut writer = match place.take() {
        Some(writer) => writer,
        None => {
            if inner.dropped.lock().contains(&file.space) {
                return Err(StoreError::Gone);
            }
            inner.folder.create(&file.path)?;
            file.open_writer(&inner.settings)?
        }
    };
    file.fit_writer(&mut writer, &inner.settings)?;
    let answers = apply::group(&mut writer, batches)?;
    *place = Some(writer);
    Ok(answers)
}

/// Closes the file to commits if the ranges hold nothing. As commits have this same thread, none is in between.
fn seal(inner: &Arc<Inner>, file: &DbFile, empty: Vec<KeyRange>) -> Result<Seal> {
    let mut batch = Batch::new();
    for range in empty {
        batch.assert_empty(range);
    }
    for answer in write(inner, file, std::iter::once(&batch))? {
        answer?;
    }
    let space = file.space;
    inner.sealed.lock().insert(space);
    let inner = Arc::downgrade(inner);
    Ok(Seal::new(move || {
        if let Some(inner) = inner.upgrade() {
            inner.sealed.lock().remove(&space);
        }
    }))
}

/// The same error for another caller.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Conflict => StoreError::Conflict,
        StoreError::Gone => StoreError::Gone,
        StoreError::Busy(text) => StoreError::Busy(text.clone()),
        StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
        StoreError::Down(text) => StoreError::Down(text.clone()),
    }
}

fn remove(inner: &Inner, file: &DbFile) -> Result<()> {
    let _gate = file.gate.write();
    inner.dropped.lock().insert(file.space);
    inner.sealed.lock().remove(&file.space);
    file.readers.lock().clear();
    *file.writer.lock() = None;
    inner.folder.remove(&file.path)
}

/// What a caller gets whose job was not done because the store closed.
pub(crate) fn gone<E>(_: E) -> StoreError {
    closed()
}
