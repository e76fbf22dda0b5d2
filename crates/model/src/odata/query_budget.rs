//! Work that is long must let other requests have their turn, and a query must end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_types::{Clock, Code, Result};

use super::root::ServiceRoot;

/// How long a request works before others on the same thread have their turn.
///
/// What is read from the embedded store is there at once, so reading alone gives nobody a turn.
const YIELD_INTERVAL: Duration = Duration::from_millis(2);

/// The pace of long work: asked at each step, it lets others have their turn when it is time.
#[derive(Debug)]
pub(super) struct QueryBudget {
    clock: Arc<dyn Clock>,
    yield_at: Instant,
    deadline: Option<Instant>,
}

impl QueryBudget {
    /// For a query, which is given up at its time limit.
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

    /// For a change, which goes on to its end.
    pub fn for_change(root: &ServiceRoot) -> Self {
        let clock = Arc::clone(root.unit.clock());
        Self {
            yield_at: clock.monotonic() + YIELD_INTERVAL,
            clock,
            deadline: None,
        }
    }

    /// One step more.
    ///
    /// # Errors
    /// 400 for a query beyond its time limit.
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
