//! Reads by keys that come at the same time share round trips, and those of one space share a statement.
//!
//! A few tasks read. Each takes all waiting reads at once, so that a read waits only while all tasks are busy, and the busier they
//! are, the more reads share a round trip. Where reads take long, more tasks read at the same time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use personium_store::{ErrorDetail, Key, Record, Result, Snapshot, Space, StoreError, StoreHealth};
use tokio::sync::oneshot::{self, Sender};
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::connections::{Connections, Parameter};
use crate::error::{Failure, FailureKind};
use crate::statement::Statement;
use crate::{read, space_key, statement};

/// The number of tasks that are started although no read has to wait.
const USUAL_TASKS: usize = 4;

/// The number of waiting reads with which a further task is started.
const WAITING_FOR_TASK: usize = 8;

/// The largest number of reads that share a round trip.
const MAX_GROUP_READS: usize = 32;

/// The largest number of keys of a read that shares a round trip.
const MAX_SHARED_KEYS: usize = 16;

/// The time after which a waiting read starts a further task.
const HELP_AFTER: Duration = Duration::from_millis(20);

/// The operation that failed, for messages.
const READ: &str = "failed to read records";

/// The records of the keys of a read.
type FoundRecords = Snapshot<Vec<Option<Record>>>;

/// A read and the channel to its caller.
#[derive(Debug)]
struct PendingRead {
    /// Its number among all reads.
    number: u64,
    space: Space,
    keys: Vec<Key>,
    reply: Sender<Result<FoundRecords>>,
}

/// The waiting reads, and the number of tasks that take them.
#[derive(Debug, Default)]
struct WaitingReads {
    reads: VecDeque<PendingRead>,
    tasks: usize,
    /// The number of reads so far.
    count: u64,
}

/// Reads records by their keys.
#[derive(Debug)]
pub(crate) struct ReadQueue {
    connections: Arc<Connections>,
    health: Arc<StoreHealth>,
    /// The largest number of tasks.
    max_tasks: usize,
    waiting: Mutex<WaitingReads>,
}

/// The reads of one space in a group, as one statement.
struct SpaceRead<'g> {
    name: Vec<u8>,
    /// The different keys, in order.
    wanted: Vec<&'g [u8]>,
    /// The places of the reads in the group.
    members: Vec<usize>,
}

impl ReadQueue {
    pub(crate) fn new(
        connections: &Arc<Connections>,
        health: &Arc<StoreHealth>,
        max_tasks: usize,
    ) -> Self {
        Self {
            connections: Arc::clone(connections),
            health: Arc::clone(health),
            max_tasks,
            waiting: Mutex::default(),
        }
    }

    /// Returns the records of these keys.
    pub(crate) async fn get(self: &Arc<Self>, space: &Space, keys: &[Key]) -> Result<FoundRecords> {
        // A pooler may give each statement to another session, and not know several that were sent together.
        if !self.connections.are_statements_prepared() || keys.len() > MAX_SHARED_KEYS {
            return read::get(&self.connections, &self.health, space, keys).await;
        }
        let (reply, mut result) = oneshot::channel();
        let number = self.push((*space, keys.to_vec(), reply));
        let mut answer = timeout(HELP_AFTER, &mut result).await;
        if answer.is_err() {
            self.help();
            answer = timeout(self.connections.wait_timeout(), &mut result).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if self.withdraw(number) => {
                return Err(Failure::PoolExhausted.into_store_error(READ));
            }
            Err(_) => result.await,
        };
        answer.unwrap_or_else(|_| {
            let text = "the task that reads ended early";
            Err(StoreError::Down(ErrorDetail::new(text)))
        })
    }

    /// Appends a read, and starts a task for it if that is due. Returns the number of the read.
    fn push(
        self: &Arc<Self>,
        (space, keys, reply): (Space, Vec<Key>, Sender<Result<FoundRecords>>),
    ) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.count += 1;
        let number = waiting.count;
        waiting.reads.push_back(PendingRead {
            number,
            space,
            keys,
            reply,
        });
        if waiting.needs_task(self.max_tasks) {
            self.start_task(&mut waiting);
        }
        number
    }

    /// Removes a read unless a task has taken it. Returns whether it waited.
    fn withdraw(&self, number: u64) -> bool {
        let mut waiting = self.waiting.lock();
        let before = waiting.reads.len();
        waiting.reads.retain(|read| read.number != number);
        waiting.reads.len() < before
    }

    /// Starts a task if a read waits.
    fn help(self: &Arc<Self>) {
        let mut waiting = self.waiting.lock();
        if !waiting.reads.is_empty() && waiting.tasks < self.max_tasks {
            self.start_task(&mut waiting);
        }
    }

    fn start_task(self: &Arc<Self>, waiting: &mut WaitingReads) {
        waiting.tasks += 1;
        let queue = Arc::clone(self);
        tokio::spawn(async move {
            let guard = EndOnDrop(&queue);
            queue.run().await;
            std::mem::forget(guard);
        });
    }

    /// Answers waiting reads until there are none.
    async fn run(&self) {
        loop {
            // Requests that are ready to run come before, so that their reads join.
            tokio::task::yield_now().await;
            let Some(group) = self.waiting.lock().pop_group() else {
                return;
            };
            self.answer(group).await;
        }
    }

    async fn answer(&self, group: Vec<PendingRead>) {
        if group.len() > 1 {
            match self.read_together(&group).await {
                Ok(Some(answers)) => {
                    for (read, answer) in group.into_iter().zip(answers) {
                        let _ = read.reply.send(answer);
                    }
                    return;
                }
                Err(error) => {
                    for read in group {
                        let _ = read.reply.send(Err(error.clone()));
                    }
                    return;
                }
                Ok(None) => {}
            }
        }
        let alone = group.into_iter().map(|read| async move {
            let (space, keys) = (&read.space, &read.keys);
            let answer = read::get(&self.connections, &self.health, space, keys).await;
            let _ = read.reply.send(answer);
        });
        futures_util::future::join_all(alone).await;
    }

    /// Reads for all of a group in one round trip. `None` if each has to be read by itself, because only some of them may fail.
    async fn read_together(
        &self,
        group: &[PendingRead],
    ) -> Result<Option<Vec<Result<FoundRecords>>>> {
        let spaces = by_space(group);
        let parameters: Vec<[Parameter<'_>; 2]> =
            spaces.iter().map(SpaceRead::parameters).collect();
        let statements: Vec<(&'static Statement, &[Parameter<'_>])> = spaces
            .iter()
            .zip(&parameters)
            .map(|(space, parameters)| (space.statement(), &parameters[..]))
            .collect();
        let answers = match self.connections.read_all(&statements).await {
            Ok(answers) => answers,
            Err(failure) => {
                return match failure.kind() {
                    FailureKind::ConnectionLost
                    | FailureKind::Unreachable
                    | FailureKind::ReadOnly
                    | FailureKind::Busy => Err(failure.into_store_error(READ)),
                    _ => Ok(None),
                };
            }
        };
        let mut results: Vec<Option<Result<FoundRecords>>> = group.iter().map(|_| None).collect();
        for (space, rows) in spaces.iter().zip(&answers) {
            if !space.fill(group, rows, &mut results) {
                return Ok(None);
            }
        }
        Ok(results.into_iter().collect())
    }
}

impl WaitingReads {
    fn needs_task(&self, max_tasks: usize) -> bool {
        let usual = USUAL_TASKS.min(max_tasks);
        self.tasks < usual || (self.tasks < max_tasks && self.reads.len() >= WAITING_FOR_TASK)
    }

    /// Removes the reads of the next round trip whose callers still wait. `None` if no read waits: then the task ends.
    fn pop_group(&mut self) -> Option<Vec<PendingRead>> {
        if self.reads.is_empty() {
            self.tasks -= 1;
            return None;
        }
        let count = self.reads.len().min(MAX_GROUP_READS);
        let group = self.reads.drain(..count);
        Some(group.filter(|read| !read.reply.is_closed()).collect())
    }
}

/// Counts a task that ended early. If there is no other, the waiting reads get an error.
struct EndOnDrop<'q>(&'q ReadQueue);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        waiting.tasks -= 1;
        if waiting.tasks == 0 {
            waiting.reads.clear();
        }
    }
}

fn by_space(group: &[PendingRead]) -> Vec<SpaceRead<'_>> {
    let mut spaces: BTreeMap<Space, SpaceRead<'_>> = BTreeMap::new();
    for (place, read) in group.iter().enumerate() {
        let of_space = spaces.entry(read.space).or_insert_with(|| SpaceRead {
            name: space_key::of(&read.space),
            wanted: Vec::new(),
            members: Vec::new(),
        });
        of_space.wanted.extend(read.keys.iter().map(Key::as_bytes));
        of_space.members.push(place);
    }
    let mut spaces: Vec<SpaceRead<'_>> = spaces.into_values().collect();
    for space in &mut spaces {
        space.wanted.sort_unstable();
        space.wanted.dedup();
    }
    spaces
}

impl SpaceRead<'_> {
    fn statement(&self) -> &'static Statement {
        match self.wanted[..] {
            [_] => &statement::GET_ONE,
            _ => &statement::GET,
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 2] {
        match &self.wanted[..] {
            [key] => [&self.name, key],
            _ => [&self.name, &self.wanted],
        }
    }

    /// Adds the results of the reads of the space. Returns false if a record is damaged.
    fn fill(
        &self,
        group: &[PendingRead],
        rows: &[Row],
        results: &mut [Option<Result<FoundRecords>>],
    ) -> bool {
        let found = match read::records(rows) {
            Ok(found) => found,
            Err(StoreError::SpaceDropped) => {
                for place in &self.members {
                    if let Some(result) = results.get_mut(*place) {
                        *result = Some(Err(StoreError::SpaceDropped));
                    }
                }
                return true;
            }
            Err(_) => return false,
        };
        let structure = found.structure;
        let by_key: HashMap<Key, Record> = found.value.into_iter().collect();
        for place in &self.members {
            let (Some(read), Some(result)) = (group.get(*place), results.get_mut(*place)) else {
                continue;
            };
            let keys = read.keys.iter();
            let value = keys.map(|key| by_key.get(key).cloned()).collect();
            *result = Some(Ok(Snapshot { value, structure }));
        }
        true
    }
}
