//! The memory budget of answers. What is read and rendered for an answer is counted until the client has received it.

mod reservation;

use std::collections::{HashMap, VecDeque};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use personium_store::Space;
use personium_types::{Code, Error, Result};
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::reservation::AnswerReservation;

/// The largest answer that is not counted, in bytes.
pub const UNCOUNTED_ANSWER_BYTES: usize = 16 << 10;

/// The unit in which memory is reserved.
const STEP_BYTES: usize = 16 << 10;
/// The divisor of the budget for one cell.
const CELL_DIVISOR: usize = 4;
/// The longest wait for memory.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest number of requests that wait for memory.
const QUEUE_MAX: usize = 256;
/// The largest number of requests to one cell that wait for memory.
const CELL_QUEUE_MAX: usize = 64;

/// A number of bytes of memory from which answers reserve parts. The answers of one cell get a quarter of it together at most,
/// unless there is only one: so the answers of one cell do not stop those of others, and a single large one is possible.
///
/// A request waits for memory only before it holds any, or for a bounded time: two that held a part and waited for more would
/// wait forever.
#[derive(Debug, Clone)]
pub struct AnswerMemory(Arc<Budget>);

/// The memory budget as the answers of one cell, or those of the unit itself, see it.
#[derive(Debug, Clone)]
pub struct AnswerShare {
    budget: Arc<Budget>,
    space: Space,
}

/// The memory that an answer needs is not free at present.
#[derive(Debug)]
pub struct AnswerMemoryShort {
    /// The memory of the whole answer up to where it failed, in bytes.
    wanted_bytes: usize,
}

#[derive(Debug)]
struct Budget {
    max_bytes: usize,
    cell_max_bytes: usize,
    state: Mutex<BudgetState>,
    /// The number of requests that waited for memory in vain, or could not wait.
    refusals: AtomicU64,
}

#[derive(Debug, Default)]
struct BudgetState {
    used: usize,
    /// The memory by space; spaces without any are left out.
    by_space: HashMap<Space, usize>,
    queue: VecDeque<QueuedRequest>,
}

/// A request that waits for memory.
#[derive(Debug)]
struct QueuedRequest {
    space: Space,
    bytes: usize,
    grant: oneshot::Sender<AnswerReservation>,
}

impl AnswerMemory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let max_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self(Arc::new(Budget {
            max_bytes,
            cell_max_bytes: max_bytes.div_ceil(CELL_DIVISOR),
            state: Mutex::default(),
            refusals: AtomicU64::new(0),
        }))
    }

    /// The budget for answers from a space.
    #[must_use]
    pub fn share(&self, space: Space) -> AnswerShare {
        let budget = Arc::clone(&self.0);
        AnswerShare { budget, space }
    }

    /// The memory that is reserved now, in bytes.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.0.state.lock().used
    }

    /// The number of requests that were refused for lack of memory so far.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.0.refusals.load(Ordering::Relaxed)
    }

    /// Whether requests wait for memory, or more than half of it is reserved. Then answers that are received slowly should end.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let state = self.0.state.lock();
        !state.queue.is_empty() || state.used > self.0.max_bytes / 2
    }
}

impl AnswerShare {
    /// A reservation of nothing yet.
    #[must_use]
    pub fn reservation(&self) -> AnswerReservation {
        AnswerReservation::new(self.clone())
    }

    /// Reserves memory, if need be after a wait of 5 seconds at most. The result holds nothing yet.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if so much memory does not become free, or too many requests wait for it.
    pub async fn reserve(&self, bytes: usize) -> Result<AnswerReservation> {
        let mut reservation = self.reservation();
        if bytes > UNCOUNTED_ANSWER_BYTES && reservation.extend(bytes).is_err() {
            let missing = rounded(bytes).min(self.budget.max_bytes);
            return self.wait(missing).await;
        }
        Ok(reservation)
    }

    /// Waits for the memory that an answer lacked, so that it can be begun again.
    ///
    /// # Errors
    /// The given error, unless the cause is [`AnswerMemoryShort`]; otherwise as [`Self::reserve`].
    pub async fn reserve_missing(&self, refusal: Error) -> Result<AnswerReservation> {
        match AnswerMemoryShort::cause_of(&refusal) {
            // It failed somewhere on the way: it will probably need more.
            Some(AnswerMemoryShort { wanted_bytes }) => {
                let more = wanted_bytes.saturating_mul(2);
                let of_cell = self.budget.cell_max_bytes;
                self.reserve(more.min(of_cell).max(*wanted_bytes)).await
            }
            None => Err(refusal),
        }
    }

    async fn wait(&self, bytes: usize) -> Result<AnswerReservation> {
        let granted = match self.enqueue(bytes) {
            Some(granted) => timeout(QUEUE_TIMEOUT, granted).await.ok(),
            None => None,
        };
        granted.and_then(std::result::Result::ok).ok_or_else(|| {
            self.budget.refusals.fetch_add(1, Ordering::Relaxed);
            Code::ServerBusy.into()
        })
    }

    /// `None` if too many requests wait.
    fn enqueue(&self, bytes: usize) -> Option<oneshot::Receiver<AnswerReservation>> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.budget.state.lock();
        state.queue.retain(|queued| !queued.grant.is_closed());
        let of_cell = state.queue.iter().filter(|q| q.space == self.space).count();
        if state.queue.len() >= QUEUE_MAX || of_cell >= CELL_QUEUE_MAX {
            return None;
        }
        state.queue.push_back(QueuedRequest {
            space: self.space,
            bytes,
            grant,
        });
        // It may have become free since the caller tried.
        let grants = state.grants(&self.budget);
        drop(state);
        send(grants);
        Some(granted)
    }
}

impl AnswerMemoryShort {
    /// The lack of memory, if that is the cause of an error.
    #[must_use]
    pub fn cause_of(error: &Error) -> Option<&Self> {
        StdError::source(error)?.downcast_ref()
    }
}

impl fmt::Display for AnswerMemoryShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes for an answer are not free", self.wanted_bytes)
    }
}

impl StdError for AnswerMemoryShort {}

impl Budget {
    /// Gives memory back, and passes it on to requests that wait.
    fn release(self: &Arc<Self>, space: Space, bytes: usize) {
        let mut state = self.state.lock();
        state.subtract(space, bytes);
        let grants = match state.queue.is_empty() {
            true => Vec::new(),
            false => state.grants(self),
        };
        drop(state);
        send(grants);
    }
}

/// A reservation for a request that waits for it.
type GrantedMemory = (oneshot::Sender<AnswerReservation>, AnswerReservation);

/// Passes reservations on. One whose request has gone is released again.
fn send(grants: Vec<GrantedMemory>) {
    for (sender, reservation) in grants {
        drop(sender.send(reservation));
    }
}

impl BudgetState {
    /// Whether a reservation that has `own` bytes can get `more`.
    fn fits(&self, budget: &Budget, space: Space, own: usize, more: usize) -> bool {
        let of_space = self.by_space.get(&space).copied().unwrap_or(0);
        let is_alone = of_space == own;
        self.used.saturating_add(more) <= budget.max_bytes
            && (is_alone || of_space.saturating_add(more) <= budget.cell_max_bytes)
    }

    fn add(&mut self, space: Space, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
        let of_space = self.by_space.entry(space).or_default();
        *of_space = of_space.saturating_add(bytes);
    }

    fn subtract(&mut self, space: Space, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        if let Some(of_space) = self.by_space.get_mut(&space) {
            *of_space = of_space.saturating_sub(bytes);
            if *of_space == 0 {
                self.by_space.remove(&space);
            }
        }
    }

    /// Reserves memory for requests that wait, in their order. One that only waits for the share of its cell is passed over.
    fn grants(&mut self, budget: &Arc<Budget>) -> Vec<GrantedMemory> {
        let mut grants = Vec::new();
        let mut rest = VecDeque::new();
        while let Some(queued) = self.queue.pop_front() {
            let QueuedRequest { space, bytes, .. } = queued;
            if queued.grant.is_closed() {
                continue;
            }
            if self.fits(budget, space, 0, bytes) {
                self.add(space, bytes);
                let share = AnswerShare {
                    budget: Arc::clone(budget),
                    space,
                };
                grants.push((queued.grant, AnswerReservation::granted(share, bytes)));
                continue;
            }
            let is_full = self.used.saturating_add(bytes) > budget.max_bytes;
            rest.push_back(queued);
            if is_full {
                break;
            }
        }
        rest.append(&mut self.queue);
        self.queue = rest;
        grants
    }
}

/// The next multiple of the unit in which memory is reserved.
fn rounded(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(STEP_BYTES).unwrap_or(bytes)
}

#[cfg(test)]
mod tests;
