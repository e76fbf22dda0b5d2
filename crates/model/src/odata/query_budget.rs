//! Work that is long must let other requests have their turn, and a query must end.

use std::time::{Duration, Instant};

use personium_types::{Code, Result};

use super::root::Root;

/// How long a request works before others on the same thread have their turn.
///
/// What is read from the embedded store is there at once, so reading alone gives nobody a turn.
const TURN: Duration = Duration::from_millis(2);

/// The pace of long work: asked at each step, it lets others have their turn when it is time.
#[derive(Debug)]
pub(super) struct QueryBudget {
    turn_ends: Instant,
    deadline: Option<Instant>,
}

impl QueryBudget {
    /// For a query, which is given up at its time limit.
    pub fn of_query(root: &Root) -> Self {
        let limit = Duration::from_millis(root.unit.settings().odata.query_timeout_ms);
        let now = Instant::now();
        Self {
            turn_ends: now + TURN,
            deadline: now.checked_add(limit),
        }
    }

    /// For a change, which goes on to its end.
    pub fn of_change() -> Self {
        Self {
            turn_ends: Instant::now() + TURN,
            deadline: None,
        }
    }

    /// One step more.
    ///
    /// # Errors
    /// 400 for a query beyond its time limit.
    pub async fn step(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.turn_ends {
            return Ok(());
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Code::QueryRefused.into());
        }
        tokio::task::yield_now().await;
        self.turn_ends = Instant::now() + TURN;
        Ok(())
    }
}
