//! Cooperative yielding of long work, and the time limit of queries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_types::{Clock, Code, Result};

use super::root::ServiceRoot;

/// The time that a request works before it yields to others on the same thread.
///
/// Reads from the embedded store complete at once, so they do not yield by themselves.
const YIELD_INTERVAL: Duration = Duration::from_millis(2);

/// The time budget of long work. [`QueryBudget::tick`] is called at each step.
#[derive(Debug)]
pub(super) struct QueryBudget {
    clock: Arc<dyn Clock>,
    yield_at: Instant,
    deadline: Option<Instant>,
}

impl QueryBudget {
    /// The budget of a query, which fails at its time limit.
    pub fn for_query(root: &ServiceRoot) -> Self {
        let limit = root.unit.settings().odata.query_timeout;
        let clock = Arc::clone(root.unit.clock());
        let now = clock.monotonic();
        Self {
            clock,
            yield_at: now + YIELD_INTERVAL,
            deadline: now.checked_add(limit),
        }
    }

    /// The budget of a change, which has no time limit.
    pub fn for_change(root: &ServiceRoot) -> Self {
        let clock = Arc::clone(root.unit.clock());
        Self {
            yield_at: clock.monotonic() + YIELD_INTERVAL,
            clock,
            deadline: None,
        }
    }

    /// Yields to other requests if it is time to.
    ///
    /// # Errors
    /// [`Code::QueryRefused`] after the time limit of a query.
    pub async fn tick(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        if now < self.yield_at {
            return Ok(());
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Code::QueryRefused.into());
        }
        tokio::task::yield_now().await;
        self.yield_at = self.clock.monotonic() + YIELD_INTERVAL;
        Ok(())
    }
}
