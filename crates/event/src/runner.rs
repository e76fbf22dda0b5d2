//! Who sends what, and when.

use std::sync::Arc;
use std::time::Duration;

use personium_model::event::action::{self, Action};
use personium_model::event::bell::Lane;
use personium_model::{CellView, Unit};
use personium_types::Result;
use tokio::sync::Semaphore;

use crate::Courier;
use crate::request::{self, NO_ANSWER};

/// The pause after the store has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for one request with its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends what rules want to be sent, what a former run has left first, until it is dropped. The requests of `at_once`
/// rules are under way at the same time.
pub async fn run(unit: Arc<Unit>, courier: Arc<dyn Courier>, at_once: usize) {
    tokio::join!(find_left(&unit), work(&unit, &courier, at_once));
}

/// Looks for what a former run has left. A cell that cannot be read is looked at again and again, beside the work for others.
async fn find_left(unit: &Unit) {
    let again = |error: &dyn std::fmt::Display| {
        tracing::error!(
            "what rules had still to send before the start is looked for again: {error}"
        );
    };
    let mut cells = loop {
        match unit.bell().announced(unit).await {
            Ok(cells) => break cells,
            Err(error) => again(&error),
        }
        tokio::time::sleep(PAUSE).await;
    };
    while !cells.is_empty() {
        let mut failed = Vec::new();
        for cell in cells {
            if let Err(error) = unit.bell().ring_for(unit, cell).await {
                again(&error);
                failed.push(cell);
            }
        }
        cells = failed;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn work(unit: &Arc<Unit>, courier: &Arc<dyn Courier>, at_once: usize) {
    let places = Arc::new(Semaphore::new(at_once.max(1)));
    loop {
        let lane = unit.bell().next().await;
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (unit, courier) = (Arc::clone(unit), Arc::clone(courier));
        tokio::spawn(async move {
            let emptied = empty(&unit, &*courier, &lane).await;
            drop(place);
            if let Err(error) = emptied {
                let cell = lane.cell;
                tracing::error!(cell.id = %cell, "what a rule of cell {cell} sends has to wait: {error}");
                tokio::time::sleep(PAUSE).await;
                unit.bell().put_back(lane);
            }
        });
    }
}

/// Sends everything that a rule has to send.
///
/// # Errors
/// If the store fails; then there is more to send.
async fn empty(unit: &Unit, courier: &dyn Courier, lane: &Lane) -> Result<()> {
    loop {
        let is_empty = !send_next(unit, courier, lane).await?;
        if is_empty && unit.bell().rest(lane) {
            return Ok(());
        }
    }
}

/// Sends the next request of a rule; `false` if there is none.
async fn send_next(unit: &Unit, courier: &dyn Courier, lane: &Lane) -> Result<bool> {
    let Some(view) = unit.find_cell_by_id(&lane.cell).await? else {
        // The cell is gone, and what it had to say with it.
        return Ok(false);
    };
    let Some((key, action)) = action::find_next(view.records(), &lane.rule).await? else {
        return Ok(false);
    };
    let outcome = perform(unit, courier, &view, &action).await?;
    action::finish(unit, &view, &key, &action, &outcome).await?;
    Ok(true)
}

/// Does what a rule wants; what came of it.
async fn perform(
    unit: &Unit,
    courier: &dyn Courier,
    view: &CellView,
    action: &Action,
) -> Result<String> {
    let sending = request::send(unit, courier, view, action);
    match tokio::time::timeout(PATIENCE, sending).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(NO_ANSWER.to_owned()),
    }
}
