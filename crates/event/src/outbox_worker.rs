//! The worker that empties the outboxes of the cells.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use personium_model::event::outbox::{self, OutboxEntry};
use personium_model::event::pending;
use personium_model::outbox_queue::OutboxPartition;
use personium_model::{CellContext, Unit};
use personium_types::error::chain;
use personium_types::{CellId, Result};
use tokio::sync::Semaphore;

use crate::RequestSender;
use crate::request::{self, NO_RESPONSE};

/// The pause before a retry after a failure of the store.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time-out of one request with its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends the requests of rules until it is dropped, beginning with those that the last run of the unit left. The requests of
/// at most `rules_max` rules are in flight at the same time.
pub async fn run(unit: Arc<Unit>, sender: Arc<dyn RequestSender>, rules_max: usize) {
    tokio::join!(
        enqueue_pending(&unit),
        process_queue(&unit, &sender, rules_max)
    );
}

/// Enqueues the requests that the last run left. A cell that cannot be read is retried, without delaying other cells.
async fn enqueue_pending(unit: &Unit) {
    let mut cells = loop {
        match pending::list_cells(unit).await {
            Ok(cells) => break cells,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(%error, "failed to list cells with pending rule requests, will retry");
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    };
    while !cells.is_empty() {
        let mut failed = Vec::new();
        for cell in cells {
            if let Err(error) = pending::enqueue_rules(unit, cell).await {
                log_failure(
                    &cell,
                    "failed to list pending rule requests, will retry",
                    &chain(&error),
                );
                failed.push(cell);
            }
        }
        cells = failed;
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

fn log_failure(cell: &CellId, message: &str, error: &dyn Display) {
    tracing::error!(cell.id = %cell, %error, "{message}");
}

async fn process_queue(unit: &Arc<Unit>, sender: &Arc<dyn RequestSender>, rules_max: usize) {
    let permits = Arc::new(Semaphore::new(rules_max.max(1)));
    loop {
        let partition = unit.outbox().next().await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (unit, sender) = (Arc::clone(unit), Arc::clone(sender));
        tokio::spawn(async move {
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

/// Sends all requests of a rule.
///
/// # Errors
/// A failure of the store; then there are more requests.
async fn process_partition(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
) -> Result<()> {
    loop {
        let is_empty = !send_next(unit, sender, partition).await?;
        if is_empty && unit.outbox().complete(partition) {
            return Ok(());
        }
    }
}

/// Sends the next request of a rule. Returns `false` if there is none.
async fn send_next(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
) -> Result<bool> {
    let Some(context) = unit.find_cell_by_id(&partition.cell).await? else {
        // The cell was removed, and its outbox with it.
        return Ok(false);
    };
    let Some((key, entry)) = outbox::find_next(context.records(), &partition.rule).await? else {
        return Ok(false);
    };
    let outcome = send_entry(unit, sender, &context, &entry).await?;
    outbox::complete(unit, &context, &key, &entry, &outcome).await?;
    Ok(true)
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
