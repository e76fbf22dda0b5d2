//! Records in memory, between whose operations something else can happen.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use personium_store::memory::MemoryRecords;
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Key, KeyRange, Limit, Op, Record, RecordSnapshot,
    RecordStore, Result, Snapshot, Space, StoreError, StructureVersion,
};
use tokio::sync::{oneshot, watch};

type Interruption = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An interruption, and the number of calls before it.
#[derive(Default)]
struct PlannedInterruption(Mutex<Option<(usize, Interruption)>>);

impl PlannedInterruption {
    async fn run_if_due(&self) {
        let due = match &mut *self.0.lock() {
            Some((left @ 1.., _)) => {
                *left -= 1;
                None
            }
            planned => planned.take(),
        };
        if let Some((_, interruption)) = due {
            interruption.await;
        }
    }
}

/// Whether a batch appends to the audit log. That is part of what requests do, but not of what tests interrupt and count.
fn appends_to_audit_log(batch: &Batch) -> bool {
    let head = personium_model::keys::audit_head();
    let puts_head = |op: &Op| matches!(op, Op::Put(key, _) if *key == head);
    batch.ops().iter().any(puts_head)
}

/// Records in memory, shared with other stores or not, that run an interruption between what a change reads and its commit.
#[derive(Default)]
pub struct InterruptibleRecords {
    records: MemoryRecords,
    is_shared: bool,
    /// Whether all calls wait: the process is suspended.
    process_suspended: watch::Sender<bool>,
    before_commit: PlannedInterruption,
    before_seal: PlannedInterruption,
    before_read: PlannedInterruption,
    after_get: PlannedInterruption,
    suspended: Mutex<Option<(Space, Interruption)>>,
    commits: AtomicUsize,
    /// The number of calls of any kind.
    calls: AtomicUsize,
    /// The number of commits before the store stops, if it is to stop.
    stops_after: Mutex<Option<usize>>,
    /// Whether the next commit reports a failure although it succeeds.
    fails: AtomicBool,
    /// A space whose reads fail.
    damaged: Mutex<Option<Space>>,
    /// Whether nothing can be appended to the audit log.
    audit_log_fails: AtomicBool,
}

impl InterruptibleRecords {
    /// A store for another server node over the same records. Both are shared then.
    #[must_use]
    pub fn for_other_node(&self) -> Self {
        Self {
            records: self.records.clone(),
            is_shared: true,
            ..Self::default()
        }
    }

    /// Lets every call wait until [`Self::resume_process`], as if the process was suspended, or for ever, as if it was killed.
    pub fn suspend_process(&self) {
        self.process_suspended.send_replace(true);
    }

    /// Lets the calls that wait go on.
    pub fn resume_process(&self) {
        self.process_suspended.send_replace(false);
    }

    async fn wait_while_suspended(&self) {
        let mut suspended = self.process_suspended.subscribe();
        let _ = suspended.wait_for(|suspended| !*suspended).await;
    }

    fn check_damage(&self, space: &Space) -> Result<()> {
        match *self.damaged.lock() == Some(*space) {
            true => Err(StoreError::Corrupt(ErrorDetail::new("the disk failed"))),
            false => Ok(()),
        }
    }

    async fn begin_read(&self, space: &Space) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.before_read.run_if_due().await;
        self.wait_while_suspended().await;
        self.check_damage(space)
    }

    async fn commit_audit_log(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        self.wait_while_suspended().await;
        if self.audit_log_fails.load(Ordering::SeqCst) {
            return Err(StoreError::Down(ErrorDetail::new("the store stopped")));
        }
        self.records.commit(space, batch).await
    }

    fn check_running(&self) -> Result<()> {
        match &mut *self.stops_after.lock() {
            None => Ok(()),
            Some(0) => Err(StoreError::Down(ErrorDetail::new("the store stopped"))),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl RecordStore for InterruptibleRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        if *keys == [personium_model::keys::audit_head()] {
            return self.records.get(space, keys).await;
        }
        self.begin_read(space).await?;
        let found = self.records.get(space, keys).await;
        self.after_get.run_if_due().await;
        self.wait_while_suspended().await;
        found
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        self.begin_read(space).await?;
        let found = self.records.scan(space, range, order, limit).await;
        self.wait_while_suspended().await;
        found
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        self.begin_read(space).await?;
        self.records.count(space, range).await
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        self.begin_read(space).await?;
        self.records.structure(space).await
    }

    async fn create_space(&self, space: &Space) -> Result<()> {
        self.records.create_space(space).await
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        self.records.list_spaces(after, limit).await
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        if appends_to_audit_log(&batch) {
            return self.commit_audit_log(space, batch).await;
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.before_commit.run_if_due().await;
        if batch.ops().contains(&Op::Seal) {
            self.before_seal.run_if_due().await;
        }
        self.wait_while_suspended().await;
        self.check_running()?;
        self.commits.fetch_add(1, Ordering::SeqCst);
        let done = self.records.commit(space, batch).await;
        let suspended = self.suspended.lock().take_if(|(of, _)| of == space);
        if let Some((_, until)) = suspended {
            until.await;
        }
        self.wait_while_suspended().await;
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Down(ErrorDetail::new("the disk failed")));
        }
        done
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        self.records.drop_space(space).await
    }

    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        self.begin_read(space).await?;
        self.records.snapshot(space).await
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn check(&self) -> Result<()> {
        self.records.check().await
    }

    async fn close(&self) -> Result<()> {
        self.records.close().await
    }
}

impl From<MemoryRecords> for InterruptibleRecords {
    fn from(records: MemoryRecords) -> Self {
        Self {
            records,
            ..Self::default()
        }
    }
}

impl InterruptibleRecords {
    /// Runs an interruption before the n-th commit from now, counted from 0.
    pub fn interrupt_commit(&self, n: usize, by: impl Future<Output = ()> + Send + 'static) {
        *self.before_commit.0.lock() = Some((n, Box::pin(by)));
        self.commits.store(0, Ordering::SeqCst);
    }

    /// Runs an interruption before the next commit that seals a space.
    pub fn interrupt_seal(&self, by: impl Future<Output = ()> + Send + 'static) {
        *self.before_seal.0.lock() = Some((0, Box::pin(by)));
    }

    /// Runs an interruption before the n-th read from now, counted from 0.
    pub fn interrupt_read(&self, n: usize, by: impl Future<Output = ()> + Send + 'static) {
        *self.before_read.0.lock() = Some((n, Box::pin(by)));
    }

    /// Lets every commit after the next `n` fail without effect, as if the process had ended, until
    /// [`resume`](Self::resume).
    pub fn stop_after_commits(&self, n: usize) {
        *self.stops_after.lock() = Some(n);
    }

    /// Lets every entry of the audit log fail, or of none.
    pub fn fail_audit_log(&self, fails: bool) {
        self.audit_log_fails.store(fails, Ordering::SeqCst);
    }

    /// Lets commits succeed again.
    pub fn resume(&self) {
        *self.stops_after.lock() = None;
    }

    /// The number of calls of the store so far: reads and commits.
    pub fn call_count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Runs an interruption after the next read of single records.
    pub fn interrupt_after_get(&self, by: impl Future<Output = ()> + Send + 'static) {
        *self.after_get.0.lock() = Some((0, Box::pin(by)));
    }

    /// Lets the next commit report a failure although it succeeds.
    pub fn fail_next_commit(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }

    /// Lets every read of this space fail, or of none.
    pub fn fail_reads_of(&self, space: Option<Space>) {
        *self.damaged.lock() = space;
    }

    /// The number of commits, with failed ones, since the interruption of a commit was set.
    pub fn commit_count(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    /// Cancels a request when the next commit of this space is done, before its result is returned.
    pub async fn cancel_during_commit<T>(&self, space: Space, request: impl Future<Output = T>) {
        let (reached, is_reached) = oneshot::channel();
        let (resume, resumed) = oneshot::channel();
        let until = async move {
            reached.send(()).unwrap();
            resumed.await.unwrap();
        };
        *self.suspended.lock() = Some((space, Box::pin(until)));
        tokio::select! {
            _ = request => panic!("the request was answered"),
            is_reached = is_reached => is_reached.unwrap(),
        }
        // The task that waits for the commit may be gone with the request.
        let _ = resume.send(());
    }
}
