//! The worker that empties the outboxes of the cells.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use personium_model::event::outbox::{self, OutboxEntry};
use personium_model::event::pending;
use personium_model::outbox_queue::OutboxPartition;
use personium_model::{CellContext, Unit};
use personium_types::error::chain;
use personium_types::{CellId, Result, ServerNodeId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::request::{self, NO_RESPONSE};
use crate::{ReceivedResponse, RequestSender};

/// The pause before a retry after a failure of the store.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time between two looks for requests that nobody works on.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The time-out of one request with its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends the requests of rules until it is dropped, beginning with those that the last run of the unit left, and on a shared store
/// also those of server nodes that are dead. The requests of at most `rules_max` rules are in flight at the same time; each
/// server node of a unit has this limit for itself.
pub async fn run(unit: Arc<Unit>, sender: Arc<dyn RequestSender>, rules_max: usize) {
    tokio::join!(
        enqueue_pending(&unit),
        process_queue(&unit, &sender, rules_max)
    );
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

async fn process_queue(unit: &Arc<Unit>, sender: &Arc<dyn RequestSender>, rules_max: usize) {
    let permits = Arc::new(Semaphore::new(rules_max.max(1)));
    // Dropped with this future, so that nothing is sent any more.
    let mut tasks = JoinSet::new();
    loop {
        let partition = unit.outbox().next().await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while tasks.try_join_next().is_some() {}
        let (unit, sender) = (Arc::clone(unit), Arc::clone(sender));
        tasks.spawn(async move {
            let processed = process_partition(&unit, &*sender, &partition).await;
            drop(permit);
            if let Err(error) = processed {
                log_failure(
                    &partition.cell,
                    "failed to deliver queued rule requests, will retry",
                    &chain(&error),
                );
                tokio::time::sleep(RETRY_DELAY).await;
                unit.outbox().requeue(partition);
            }
        });
    }
}

/// Sends all requests of a rule, as long as this process owns the outbox of the cell.
///
/// # Errors
/// A failure of the store; then there are more requests.
async fn process_partition(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
) -> Result<()> {
    loop {
        let is_done = match unit.outbox().owner(&partition.cell) {
            None => true,
            Some(node) => {
                let step = send_next(unit, sender, partition, &node).await?;
                if step == Step::NotOwner {
                    unit.outbox().disown(&partition.cell);
                }
                step != Step::Sent
            }
        };
        if is_done && unit.outbox().complete(partition) {
            return Ok(());
        }
    }
}

/// The result of an attempt to send the next request of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was sent, and there may be more.
    Sent,
    /// There is none.
    Empty,
    /// Another server node may send it.
    NotOwner,
}

/// Sends the next request of a rule.
async fn send_next(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
    node: &ServerNodeId,
) -> Result<Step> {
    let Some(context) = unit.find_cell_by_id(&partition.cell).await? else {
        // The cell was removed, and its outbox with it.
        return Ok(Step::Empty);
    };
    let Some((key, entry)) = outbox::find_next(context.records(), &partition.rule).await? else {
        return Ok(Step::Empty);
    };
    let sender = OwnerSender {
        unit,
        sender,
        node,
        refused: AtomicBool::new(false),
    };
    let outcome = send_entry(unit, &sender, &context, &entry).await?;
    if sender.refused.load(Ordering::Acquire) {
        return match unit.confirm_node(node).await? {
            // The store could not be asked before.
            true => Ok(Step::Sent),
            false => Ok(Step::NotOwner),
        };
    }
    let completed = outbox::complete(unit, &context, (&key, &entry), &outcome, node).await?;
    Ok(match completed {
        true => Step::Sent,
        false => Step::NotOwner,
    })
}

/// A sender that sends nothing when another server node may have taken over the outbox.
struct OwnerSender<'a> {
    unit: &'a Unit,
    sender: &'a dyn RequestSender,
    node: &'a ServerNodeId,
    refused: AtomicBool,
}

#[async_trait]
impl RequestSender for OwnerSender<'_> {
    async fn send(&self, request: Request<Bytes>) -> Option<ReceivedResponse> {
        // Immediately before the request: what comes before it may have taken long.
        if !matches!(self.unit.confirm_node(self.node).await, Ok(true)) {
            self.refused.store(true, Ordering::Release);
            return None;
        }
        self.sender.send(request).await
    }
}

/// Sends a request and returns its outcome.
async fn send_entry(
    unit: &Unit,
    sender: &dyn RequestSender,
    context: &CellContext,
    entry: &OutboxEntry,
) -> Result<String> {
    let sending = request::send(unit, sender, context, entry);
    match tokio::time::timeout(REQUEST_TIMEOUT, sending).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(NO_RESPONSE.to_owned()),
    }
}
