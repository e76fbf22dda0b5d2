//! Who sends what, and when.

use std::sync::Arc;
use std::time::Duration;

use personium_model::event::outbox::{self, OutboxEntry};
use personium_model::event::outbox_queue::OutboxPartition;
use personium_model::{CellContext, Unit};
use personium_types::Result;
use tokio::sync::Semaphore;

use crate::RequestSender;
use crate::request::{self, NO_ANSWER};

/// The pause after the store has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for one request with its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends what rules want to be sent, what a former run has left first, until it is dropped. The requests of `at_once`
/// rules are under way at the same time.
pub async fn run(unit: Arc<Unit>, sender: Arc<dyn RequestSender>, at_once: usize) {
    tokio::join!(find_left(&unit), work(&unit, &sender, at_once));
}

/// Looks for what a former run has left. A cell that cannot be read is looked at again and again, beside the work for others.
async fn find_left(unit: &Unit) {
    let again = |error: &dyn std::fmt::Display| {
        tracing::error!(
            "what rules had still to send before the start is looked for again: {error}"
        );
    };
    let mut cells = loop {
        match unit.outbox().announced(unit).await {
            Ok(cells) => break cells,
            Err(error) => again(&error),
        }
        tokio::time::sleep(PAUSE).await;
    };
    while !cells.is_empty() {
        let mut failed = Vec::new();
        for cell in cells {
            if let Err(error) = unit.outbox().ring_for(unit, cell).await {
                again(&error);
                failed.push(cell);
            }
        }
        cells = failed;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn work(unit: &Arc<Unit>, sender: &Arc<dyn RequestSender>, at_once: usize) {
    let places = Arc::new(Semaphore::new(at_once.max(1)));
    loop {
        let partition = unit.outbox().next().await;
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (unit, sender) = (Arc::clone(unit), Arc::clone(sender));
        tokio::spawn(async move {
            let emptied = empty(&unit, &*sender, &partition).await;
            drop(place);
            if let Err(error) = emptied {
                let cell = partition.cell;
                tracing::error!(cell.id = %cell, "what a rule of cell {cell} sends has to wait: {error}");
                tokio::time::sleep(PAUSE).await;
                unit.outbox().put_back(partition);
            }
        });
    }
}

/// Sends everything that a rule has to send.
///
/// # Errors
/// If the store fails; then there is more to send.
async fn empty(unit: &Unit, sender: &dyn RequestSender, partition: &OutboxPartition) -> Result<()> {
    loop {
        let is_empty = !send_next(unit, sender, partition).await?;
        if is_empty && unit.outbox().rest(partition) {
            return Ok(());
        }
    }
}

/// Sends the next request of a rule; `false` if there is none.
async fn send_next(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
) -> Result<bool> {
    let Some(context) = unit.find_cell_by_id(&partition.cell).await? else {
        // The cell is gone, and what it had to say with it.
        return Ok(false);
    };
    let Some((key, action)) = outbox::find_next(context.records(), &partition.rule).await? else {
        return Ok(false);
    };
    let outcome = perform(unit, sender, &context, &action).await?;
    outbox::finish(unit, &context, &key, &action, &outcome).await?;
    Ok(true)
}

/// Does what a rule wants; what came of it.
async fn perform(
    unit: &Unit,
    sender: &dyn RequestSender,
    context: &CellContext,
    action: &OutboxEntry,
) -> Result<String> {
    let sending = request::send(unit, sender, context, action);
    match tokio::time::timeout(PATIENCE, sending).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(NO_ANSWER.to_owned()),
    }
}
