//! The files with queued jobs, shared by the writer threads.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::file::DbFile;
use crate::write_queue::WriteJob;

/// The files with queued jobs, in the order in which they wait for a writer thread.
#[derive(Debug, Default)]
pub(crate) struct ReadyFiles {
    state: Mutex<ReadyState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ReadyState {
    files: VecDeque<Arc<DbFile>>,
    stopping: bool,
    /// The number of threads that will call [`ReadyFiles::next`] again.
    active_threads: usize,
}

impl ReadyFiles {
    /// Registers a thread that is going to call [`ReadyFiles::next`].
    pub(crate) fn add_thread(&self) {
        self.state.lock().active_threads += 1;
    }

    /// Queues a job for the file. After the last thread has ended, the job is discarded and its caller gets an error.
    pub(crate) fn push(&self, file: &Arc<DbFile>, job: WriteJob) {
        let schedule = file.queue.lock().push(job);
        if schedule {
            self.schedule(Arc::clone(file));
        }
    }

    /// Appends a file with queued jobs.
    pub(crate) fn schedule(&self, file: Arc<DbFile>) {
        let mut state = self.state.lock();
        if state.stopping && state.active_threads == 0 {
            file.queue.lock().clear();
            return;
        }
        state.files.push_back(file);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next file to work on. Returns `None` when the threads are to end and no file is left.
    pub(crate) fn next(&self) -> Option<Arc<DbFile>> {
        let mut state = self.state.lock();
        loop {
            if let Some(file) = state.files.pop_front() {
                return Some(file);
            }
            if state.stopping {
                state.active_threads = state.active_threads.saturating_sub(1);
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Whether no file waits for a thread.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().files.is_empty()
    }

    /// Lets the threads end when no file is left.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }
}
