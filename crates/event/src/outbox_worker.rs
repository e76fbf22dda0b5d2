//! The worker that empties the outboxes of the cells.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use personium_model::Unit;
use personium_model::backoff::monotonic_of;
use personium_model::event::pending;
use personium_model::event::published::EventPublisher;
use personium_model::event::waiting_counts;
use personium_model::outbox_queue::{OutboxPartition, PartitionKind};
use personium_trace::within;
use personium_types::error::chain;
use personium_types::{CellId, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::RequestSender;
use crate::delivery_worker::{self, Turn};
use crate::publisher::{BusTurn, BusWorker};
use crate::rule_turn::{self, Step};

/// The pause before a retry after a failure of the store.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time between two looks for requests that nobody works on.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two looks for messages that are due.
const DEFERRED_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest time between two counts of what waits.
const COUNT_INTERVAL: Duration = Duration::from_secs(2);
/// One cell takes at most this part of the turns of rules: 4 is a quarter of them.
const CELL_SHARE: usize = 4;
/// The number of cells whose events are published at the same time.
const PUBLISHED_CELLS_MAX: usize = 16;

/// Sends the requests of rules and delivers messages until it is dropped, beginning with those that the last run of the unit left, and
/// on a shared store also those of server nodes that are dead. The requests of at most `rules_max` rules are in flight at the same
/// time, and of a quarter as many of one cell, and messages of as many cells; each server node of a unit has these limits for itself.
/// Rules and cells take turns, so that targets of up to three cells that never answer delay their own rules only. Events are published if there is a
/// publisher; otherwise those that an earlier run left wait.
pub async fn run(
    unit: Arc<Unit>,
    sender: Arc<dyn RequestSender>,
    rules_max: usize,
    publisher: Option<Arc<dyn EventPublisher>>,
) {
    let bus = publisher.map(|publisher| Arc::new(BusWorker::new(publisher)));
    let publishing = async {
        if let Some(bus) = &bus {
            publish_events(&unit, bus).await;
        }
    };
    tokio::join!(
        enqueue_pending(&unit),
        enqueue_deferred(&unit),
        count_waiting(&unit),
        process_queue(&unit, &sender, (PartitionKind::Rule, rules_max)),
        process_queue(&unit, &sender, (PartitionKind::Messages, rules_max)),
        publishing
    );
}

/// Publishes the events of cells, of some at the same time.
async fn publish_events(unit: &Arc<Unit>, bus: &Arc<BusWorker>) {
    let permits = Arc::new(Semaphore::new(PUBLISHED_CELLS_MAX));
    // Dropped with this future, so that nothing is published any more.
    let mut tasks = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let partition = unit.outbox().next(PartitionKind::Published, 1).await;
        while tasks.try_join_next().is_some() {}
        let (unit, bus) = (Arc::clone(unit), Arc::clone(bus));
        let turn = async move {
            let turn = bus.process_turn(&unit, &partition).await;
            drop(permit);
            let turn = match turn {
                Ok(BusTurn::Over) => Ok(Turn::Over),
                Ok(BusTurn::HasMore) => Ok(Turn::HasMore),
                Ok(BusTurn::Later(pause)) => {
                    tokio::time::sleep(pause).await;
                    Ok(Turn::HasMore)
                }
                Err(error) => Err(error),
            };
            conclude_turn(&unit, partition, turn).await;
        };
        tasks.spawn(within(personium_trace::background(), turn));
    }
}

/// Gives back a partition after a turn.
async fn conclude_turn(unit: &Unit, partition: OutboxPartition, processed: Result<Turn>) {
    match processed {
        Ok(Turn::Over) => {}
        Ok(Turn::HasMore) => unit.outbox().requeue(partition),
        Err(error) => {
            log_failure(
                &partition.cell,
                "failed to process what waits in an outbox, will retry",
                &chain(&error),
            );
            tokio::time::sleep(RETRY_DELAY).await;
            unit.outbox().requeue(partition);
        }
    }
}

/// Enqueues the cells with messages whose next attempt is due.
async fn enqueue_deferred(unit: &Unit) {
    loop {
        tokio::time::sleep(DEFERRED_INTERVAL).await;
        unit.outbox().enqueue_due(unit.monotonic());
    }
}

/// Counts what waits, for metrics. With many cells it takes a tenth of the time at most.
async fn count_waiting(unit: &Unit) {
    let mut pause = COUNT_INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let start = unit.monotonic();
        if let Err(error) = waiting_counts::count_waiting(unit).await {
            let error = chain(&error);
            tracing::debug!(%error, "failed to count what waits in outboxes, will retry");
        }
        let taken = unit.monotonic().saturating_duration_since(start);
        pause = COUNT_INTERVAL.max(taken.saturating_mul(9));
    }
}

/// Enqueues requests that nobody works on. A cell that cannot be read is retried, without delaying other cells. If the store is
/// not shared, there are none after the first time.
async fn enqueue_pending(unit: &Unit) {
    loop {
        let all_resumed = resume_idle(unit).await;
        if unit.store().is_shared() {
            for (cell, error) in pending::look_for_requests(unit).await {
                let message = "failed to look for rule requests of other server nodes, will retry";
                log_failure(&cell, message, &chain(&error));
            }
        } else if all_resumed {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Resumes the outboxes that nobody works on. Returns `false` if some could not be.
async fn resume_idle(unit: &Unit) -> bool {
    let cells = match pending::list_claims(unit).await {
        Ok(cells) => cells,
        Err(error) => {
            let error = chain(&error);
            tracing::error!(%error, "failed to list cells with pending rule requests, will retry");
            return false;
        }
    };
    let mut all_resumed = true;
    for (cell, claim) in cells {
        if let Err(error) = pending::resume(unit, cell, &claim).await {
            log_failure(
                &cell,
                "failed to list pending rule requests, will retry",
                &chain(&error),
            );
            all_resumed = false;
        }
    }
    all_resumed
}

fn log_failure(cell: &CellId, message: &str, error: &dyn Display) {
    tracing::error!(cell.id = %cell, %error, "{message}");
}

async fn process_queue(
    unit: &Arc<Unit>,
    sender: &Arc<dyn RequestSender>,
    (kind, partitions_max): (PartitionKind, usize),
) {
    let permits = Arc::new(Semaphore::new(partitions_max.max(1)));
    let cell_max = partitions_max.div_ceil(CELL_SHARE).max(1);
    // Dropped with this future, so that nothing is sent any more.
    let mut tasks = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let partition = unit.outbox().next(kind, cell_max).await;
        while tasks.try_join_next().is_some() {}
        let (unit, sender) = (Arc::clone(unit), Arc::clone(sender));
        let turn = async move {
            let processed = match kind {
                PartitionKind::Rule => process_partition(&unit, &*sender, &partition).await,
                PartitionKind::Published => Ok(Turn::Over),
                PartitionKind::Messages => {
                    delivery_worker::process_turn(&unit, &*sender, &partition).await
                }
            };
            drop(permit);
            conclude_turn(&unit, partition, processed).await;
        };
        tasks.spawn(within(personium_trace::background(), turn));
    }
}

/// Sends requests of a rule for one turn, as long as this process owns the outbox of the cell.
///
/// # Errors
/// A failure of the store; then there are more requests.
async fn process_partition(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
) -> Result<Turn> {
    loop {
        let step = match unit.outbox().owner(&partition.cell) {
            None => Step::Empty,
            Some(node) => rule_turn::take(unit, sender, partition, node).await?,
        };
        let next = match step {
            Step::Sent => return Ok(Turn::HasMore),
            Step::Later(next) => Some(next),
            Step::Empty => None,
            Step::NotOwner => {
                unit.outbox().disown(&partition.cell);
                None
            }
        };
        let due = next.map(|next| monotonic_of(unit, next));
        unit.outbox().defer(partition, due);
        if unit.outbox().complete(partition) {
            return Ok(Turn::Over);
        }
    }
}
