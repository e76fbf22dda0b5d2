//! The worker that publishes the events of cells to other systems.
//!
//! The events of a cell are published in their order. While the broker is down they wait. If it refuses the first one again and again, and
//! accepts the one after it, the first one is set aside.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use personium_model::event::published::{
    self, EventPublisher, OutgoingEvent, PublishError, WaitingEvent,
};
use personium_model::outbox_queue::OutboxPartition;
use personium_model::{CellContext, Unit};
use personium_trace::Attribute;
use personium_types::{CellId, Result, ServerNodeId};

/// The largest number of events that are published at once.
const EVENTS_MAX: usize = 32;
/// The number of attempts in a row that fail before the event after the first one is tried.
const REFUSALS_MAX: u32 = 5;
/// The pause after the first failure. It doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The publisher of a process.
pub(crate) struct BusWorker {
    publisher: Arc<dyn EventPublisher>,
    /// The cells whose last attempts failed.
    troubled: Mutex<HashMap<CellId, Trouble>>,
}

/// The failures of a cell.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    /// The failures in a row.
    failures: u32,
    /// The number of events that are published one by one, because the broker has refused one of them.
    one_by_one: usize,
}

/// The rest of the events of a cell after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BusTurn {
    /// None: the partition was given back.
    Over,
    /// Some, which are to be published after those of other cells.
    HasMore,
    /// Some, which are to be published after a pause.
    Later(Duration),
}

/// The result of an attempt.
enum Attempt {
    /// Some events were published, and there may be more.
    Made,
    /// There are none.
    Empty,
    /// It failed.
    Failed,
    /// Another server node may make it.
    NotOwner,
}

impl BusWorker {
    pub(crate) fn new(publisher: Arc<dyn EventPublisher>) -> Self {
        Self {
            publisher,
            troubled: Mutex::default(),
        }
    }

    /// Publishes events of a cell, as long as this process owns the outbox of the cell.
    ///
    /// # Errors
    /// A failure of the store; then there are more.
    pub(crate) async fn process_turn(
        &self,
        unit: &Unit,
        partition: &OutboxPartition,
    ) -> Result<BusTurn> {
        let cell = partition.cell;
        loop {
            let attempt = match unit.outbox().owner(&cell) {
                None => Attempt::Empty,
                Some(node) => self.attempt(unit, &cell, &node).await?,
            };
            match attempt {
                Attempt::Made => return Ok(BusTurn::HasMore),
                Attempt::Failed => return Ok(BusTurn::Later(self.pause(&cell))),
                Attempt::Empty => {}
                Attempt::NotOwner => unit.outbox().disown(&cell),
            }
            unit.event_bus().set_waiting(cell, 0);
            self.troubled.lock().remove(&cell);
            if unit.outbox().complete(partition) {
                return Ok(BusTurn::Over);
            }
        }
    }

    /// The pause before the next attempt.
    fn pause(&self, cell: &CellId) -> Duration {
        let doublings = self.trouble(cell).failures.clamp(1, 16) - 1;
        FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE)
    }

    fn trouble(&self, cell: &CellId) -> Trouble {
        self.troubled.lock().get(cell).copied().unwrap_or_default()
    }

    async fn attempt(&self, unit: &Unit, cell: &CellId, node: &ServerNodeId) -> Result<Attempt> {
        let Some(context) = unit.find_cell_by_id(cell).await? else {
            // The cell was removed, and its events with it.
            return Ok(Attempt::Empty);
        };
        let waiting = published::list(unit, &context, EVENTS_MAX).await?;
        if waiting.is_empty() {
            return Ok(Attempt::Empty);
        }
        let count = published::count(context.records()).await?;
        unit.event_bus().set_waiting(*cell, count);
        if !unit.confirm_node(node).await? {
            return Ok(Attempt::NotOwner);
        }
        let trouble = self.trouble(cell);
        let is_troubled = trouble.failures > 0 || trouble.one_by_one > 0;
        let concluded = match is_troubled {
            false => match self.publish(&waiting).await {
                Ok(()) => published::conclude(unit, &context, &waiting, None, node).await?,
                Err(error) => return Ok(self.failed(cell, &error)),
            },
            true => {
                let first = self.publish_first(unit, (&context, node), &waiting, trouble.failures);
                match first.await? {
                    Ok(concluded) => concluded,
                    Err(error) => return Ok(self.failed(cell, &error)),
                }
            }
        };
        self.note_success(cell);
        Ok(match concluded {
            true => Attempt::Made,
            false => Attempt::NotOwner,
        })
    }

    /// Publishes the first event alone, after a failure. If it was refused too often, the one after it is tried; if that is accepted, the
    /// first one is set aside. Returns whether this process still owns the outbox.
    async fn publish_first(
        &self,
        unit: &Unit,
        (context, node): (&CellContext, &ServerNodeId),
        waiting: &[WaitingEvent],
        failures: u32,
    ) -> Result<std::result::Result<bool, PublishError>> {
        let (first, rest) = waiting.split_at(1);
        let refusal = match self.publish(first).await {
            Ok(()) => {
                let concluded = published::conclude(unit, context, first, None, node).await?;
                return Ok(Ok(concluded));
            }
            Err(PublishError::Refused(reason)) if failures >= REFUSALS_MAX => reason,
            Err(error) => return Ok(Err(error)),
        };
        let (Some(first), Some(next)) = (first.first(), rest.get(..1)) else {
            return Ok(Err(PublishError::Refused(refusal)));
        };
        if let Err(error) = self.publish(next).await {
            return Ok(Err(error));
        }
        tracing::warn!(
            cell.id = %context.cell().id,
            event.id = %first.outgoing.id,
            reason = %refusal,
            "an event that the broker refuses was set aside"
        );
        let aside = Some((first, refusal.as_str()));
        let concluded = published::conclude(unit, context, next, aside, node).await?;
        Ok(Ok(concluded))
    }

    async fn publish(&self, events: &[WaitingEvent]) -> std::result::Result<(), PublishError> {
        let outgoing: Vec<OutgoingEvent> = events.iter().map(|it| it.outgoing.clone()).collect();
        let span = personium_trace::work("event.publish");
        span.set(Attribute::Items(outgoing.len() as u64));
        let published = span.scope(self.publisher.publish(&outgoing)).await;
        if published.is_err() {
            span.fail("publish");
        }
        published
    }

    fn note_success(&self, cell: &CellId) {
        let mut troubled = self.troubled.lock();
        if let Some(trouble) = troubled.get_mut(cell) {
            trouble.failures = 0;
            trouble.one_by_one = trouble.one_by_one.saturating_sub(1);
            if trouble.one_by_one == 0 {
                troubled.remove(cell);
            }
        }
    }

    fn failed(&self, cell: &CellId, error: &PublishError) -> Attempt {
        let mut troubled = self.troubled.lock();
        let trouble = troubled.entry(*cell).or_default();
        trouble.failures = trouble.failures.saturating_add(1);
        if matches!(error, PublishError::Refused(_)) {
            trouble.one_by_one = EVENTS_MAX;
        }
        tracing::debug!(cell.id = %cell, %error, "events were not published, will retry");
        Attempt::Failed
    }
}
