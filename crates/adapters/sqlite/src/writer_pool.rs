//! The threads that commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_store::{Batch, CommitSeq, ErrorDetail, Result, StoreError};

use crate::apply;
use crate::engine::Engine;
use crate::error::io_error;
use crate::file::{DbFile, WriteConnection};
use crate::journal;
use crate::write_queue::{PendingCommit, Work, value_bytes};

/// The time that a writer waits for batches that are likely to follow those of the last commit.
const LINGER: Duration = Duration::from_micros(150);

/// The minimum number of batches in the last commit for a writer to wait.
const LINGER_MIN_GROUP: usize = 8;

/// The size of the values of a batch that is committed although the storage is full, from the reserve.
const MAX_SMALL_BYTES: usize = 64 << 10;

/// The writer threads of a store.
#[derive(Debug)]
pub(crate) struct WriterPool(Mutex<Vec<JoinHandle<()>>>);

impl WriterPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`StoreError::Down`] if a thread cannot be started.
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<Self> {
        let pool = Self(Mutex::default());
        for n in 0..engine.settings.writers.max(1) {
            let shared = Arc::clone(engine);
            engine.ready.add_thread();
            let thread = Builder::new()
                .name(format!("sqlite-{n}"))
                .spawn(move || run(&shared));
            match thread {
                Ok(thread) => pool.0.lock().push(thread),
                Err(error) => {
                    pool.stop(engine);
                    return Err(io_error("failed to start a writer thread", error));
                }
            }
        }
        Ok(pool)
    }

    /// Finishes all queued jobs and ends the threads.
    pub(crate) fn stop(&self, engine: &Engine) {
        engine.ready.stop();
        let threads = std::mem::take(&mut *self.0.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("writer thread panicked");
            }
        }
    }
}

fn run(engine: &Arc<Engine>) {
    while let Some(file) = engine.ready.next() {
        let mut last_group = 0;
        loop {
            if last_group >= LINGER_MIN_GROUP {
                linger(&file, last_group);
            }
            let Some(work) = file.queue.lock().pop() else {
                break;
            };
            last_group = perform(engine, &file, work);
            if !engine.ready.is_empty() {
                if file.queue.lock().release() {
                    engine.ready.schedule(Arc::clone(&file));
                }
                break;
            }
        }
    }
}

/// Does the work. Returns the number of committed batches.
fn perform(engine: &Engine, file: &DbFile, work: Work) -> usize {
    match work {
        Work::Commit(group) => {
            let size = group.len();
            let done = catch_unwind(AssertUnwindSafe(|| commit(engine, file, group)));
            if done.is_err() {
                tracing::error!(file = %file.path.display(), "commit panicked");
            }
            return size;
        }
        Work::Create(reply) => {
            let _ = reply.send(create(engine, file));
        }
        Work::Drop(reply) => {
            let _ = reply.send(remove(engine, file));
        }
        Work::Prune(reply) => {
            let _ = reply.send(prune(engine, file));
        }
        Work::Evict => engine.evict(file),
    }
    0
}

/// Waits for the callers of the last commit to queue their next batches: one commit of many batches costs as much as
/// one commit of a single batch.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds a pause of microseconds; no result depends on it"
)]
fn linger(file: &DbFile, expected: usize) {
    let until = Instant::now() + LINGER;
    while file.queue.lock().len() < expected && Instant::now() < until {
        std::thread::yield_now();
    }
}

fn commit(engine: &Engine, file: &DbFile, group: Vec<PendingCommit>) {
    if engine.settings.health.is_full() {
        let full = StoreError::Full(ErrorDetail::new("the storage is full"));
        for commit in group {
            let _ = commit
                .reply
                .send(commit_small(engine, file, &commit.batch, &full));
        }
        return;
    }
    match write(engine, file, group.iter().map(|commit| &commit.batch)) {
        Ok(results) => {
            for (commit, result) in group.into_iter().zip(results) {
                let _ = commit.reply.send(result);
            }
        }
        Err(error @ StoreError::Full(_)) => {
            for commit in group {
                let _ = commit
                    .reply
                    .send(commit_small(engine, file, &commit.batch, &error));
            }
        }
        Err(error) => {
            if !matches!(error, StoreError::SpaceDropped | StoreError::ReadOnly(_)) {
                let cause: &(dyn std::error::Error + 'static) = &error;
                tracing::error!(file = %file.path.display(), error = cause, "failed to commit");
            }
            for commit in group {
                let _ = commit.reply.send(Err(error.clone()));
            }
        }
    }
}

/// Commits a batch after a commit found the storage full, if it is small: most likely it removes data. Others get the error.
fn commit_small(
    engine: &Engine,
    file: &DbFile,
    batch: &Batch,
    full: &StoreError,
) -> Result<CommitSeq> {
    if value_bytes(batch) > MAX_SMALL_BYTES {
        return Err(full.clone());
    }
    let mut results = match write(engine, file, std::iter::once(batch)) {
        Err(StoreError::Full(_)) => {
            move_log_into_file(engine, file);
            write(engine, file, std::iter::once(batch))?
        }
        other => other?,
    };
    if engine.settings.health.is_full() {
        engine.storage.committed_while_full();
    }
    move_log_into_file(engine, file);
    results.pop().unwrap_or_else(|| Err(full.clone()))
}

/// Moves the log of a file into the file and makes it empty, as far as no reader needs it. On a full disk this keeps the log
/// from growing.
fn move_log_into_file(engine: &Engine, file: &DbFile) {
    let _shared = file.connections_lock.read();
    let mut connection = file.writer.lock();
    let may_open = || matches!(file.path.try_exists(), Ok(true)) && engine.verify(file).is_ok();
    if connection.is_none() && may_open() {
        let opened = file.open_writer(&engine.settings, engine.storage.limits);
        *connection = opened.ok();
    }
    let Some(writer) = &*connection else { return };
    if let Err(error) = writer.truncate_log() {
        tracing::debug!(file = %file.path.display(), %error, "failed to empty a log");
    }
}

/// Commits the batches. After an error the connection is closed, and the next group opens another.
fn write<'b>(
    engine: &Engine,
    file: &DbFile,
    batches: impl Iterator<Item = &'b Batch>,
) -> Result<Vec<Result<CommitSeq>>> {
    // A commit whose outcome is an error may have been done.
    let _noted = engine.changes.noting(file.space);
    let _shared = file.connections_lock.read();
    let mut connection = file.writer.lock();
    let mut writer = open_writer(engine, file, connection.take())?;
    file.fit_writer_cache(&mut writer, &engine.settings)?;
    let journal = engine.settings.journal.as_ref();
    let results = apply::group(&mut writer, batches, journal).map_err(|error| {
        let (storage, health) = (&engine.storage, &engine.settings.health);
        let error = storage.commit_failed(&engine.folder, health, file, error);
        engine.reported(file, error)
    })?;
    file.note_structure(writer.structure);
    *connection = Some(writer);
    Ok(results)
}

/// Returns the connection of the writer, which is opened unless it is open.
fn open_writer(
    engine: &Engine,
    file: &DbFile,
    open: Option<WriteConnection>,
) -> Result<WriteConnection> {
    if engine.is_lost(&file.space) {
        // A file that was removed while it is open would take changes that are gone when it is closed.
        if matches!(file.path.try_exists(), Ok(false)) {
            return Err(engine.lost(file));
        }
    } else if open.is_none() {
        if engine.is_dropped(&file.space) {
            return Err(StoreError::SpaceDropped);
        }
        create_file(engine, file)?;
    }
    engine.verify(file)?;
    engine.verification.check(&file.space)?;
    match open {
        Some(writer) => Ok(writer),
        None => {
            let opened = file.open_writer(&engine.settings, engine.storage.limits);
            opened.map_err(|error| engine.reported(file, error))
        }
    }
}

fn create_file(engine: &Engine, file: &DbFile) -> Result<()> {
    let is_new = matches!(file.path.try_exists(), Ok(false));
    engine.folder.create(&file.path).map_err(|error| {
        let (storage, health) = (&engine.storage, &engine.settings.health);
        storage.change_failed(&engine.folder, health, error)
    })?;
    if is_new {
        file.note_created();
        engine.verification.created(&file.space);
    }
    Ok(())
}

fn create(engine: &Engine, file: &DbFile) -> Result<()> {
    let _noted = engine.changes.noting(file.space);
    let _shared = file.connections_lock.read();
    if engine.is_dropped(&file.space) {
        return Err(StoreError::SpaceDropped);
    }
    create_file(engine, file)
}

/// Removes old entries of the journal of a file.
fn prune(engine: &Engine, file: &DbFile) -> Result<()> {
    let Some(settings) = &engine.settings.journal else {
        return Ok(());
    };
    let _shared = file.connections_lock.read();
    let mut connection = file.writer.lock();
    let writer = open_writer(engine, file, connection.take())?;
    let pruned = journal::prune_before(&writer.db, settings.kept_from_ms());
    pruned.map_err(|error| {
        let (storage, health) = (&engine.storage, &engine.settings.health);
        let error = storage.commit_failed(&engine.folder, health, file, error);
        engine.reported(file, error)
    })?;
    *connection = Some(writer);
    Ok(())
}

fn remove(engine: &Engine, file: &DbFile) -> Result<()> {
    let _noted = engine.changes.noting(file.space);
    let connections = file.close_and_lock();
    engine.dropped.lock().insert(file.space);
    file.forget_structure();
    engine.settings.health.forget(&file.space);
    let removed = engine.folder.remove(&file.path);
    drop(connections);
    removed
}
