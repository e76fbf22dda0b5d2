//! The firing of the timers of rules.
//!
//! The batch that a timer fires with asserts the record that says when it is due, and replaces it. So a timer fires once for each
//! due time, on whichever server node, and also if that is killed meanwhile.

use std::sync::Arc;

use personium_store::{Batch, Expect, StoreError};
use personium_types::error::chain;
use personium_types::{CellId, Code, Result};

use super::EventSource;
use super::cause::EventCause;
use super::record::Event;
use super::rule::{self, EventRule};
use crate::records::store_error;
use crate::server_node::Claim;
use crate::timer_index::{self, Timer};
use crate::{CellContext, PostCommit, PostedEvent, Unit, keys};

/// The number of cells that are looked into at once.
const CELLS_PER_LOOK: usize = 100;
/// The number of timers of a cell that are listed at once.
const TIMERS_AT_ONCE: usize = 100;
/// The number of times in a row that no timer of a cell can be fired before the cell is left for later.
const MAX_ATTEMPTS: usize = 8;

/// A timer of a cell as it is shown.
#[derive(Debug, Clone)]
pub struct ShownTimer {
    /// The rule.
    pub rule: Arc<EventRule>,
    /// The timer.
    pub timer: Timer,
}

/// The timers of a cell that wait, up to 1,000 of them, in the order in which they are due.
///
/// # Errors
/// A failure of the store.
pub async fn list(unit: &Unit, context: &CellContext) -> Result<Vec<ShownTimer>> {
    const SHOWN_MAX: usize = 1_000;
    let rules = rule::load(unit, context).await?;
    let records = context.records();
    let mut out = Vec::new();
    for (_, id) in timer_index::list(records, None, SHOWN_MAX).await? {
        let found = timer_index::find(records, &id).await?;
        if let (Some(timer), Some(rule)) = (found, rules.find(&id)) {
            let timer = timer.value;
            out.push(ShownTimer { rule, timer });
        }
    }
    Ok(out)
}

/// Fires the timers of the unit that are due. On a shared store one server node does so, and another one after its death.
/// Returns whether there may be more that are due.
///
/// # Errors
/// A failure of the store.
pub async fn fire_due(unit: &Unit) -> Result<bool> {
    let now = unit.now_ms();
    let cells = timer_index::list_cells(unit, now, CELLS_PER_LOOK).await?;
    if cells.is_empty() || acquire(unit).await?.is_none() {
        return Ok(false);
    }
    let is_cut = cells.len() == CELLS_PER_LOOK;
    for due in cells {
        let cell = due.cell;
        // A cell that cannot be read must not delay the others.
        match fire_in(unit, &cell, now).await {
            Ok(has_fired) => timer_index::remove_cell(unit, &due, has_fired).await?,
            Err(error) => {
                tracing::error!(
                    cell.id = %cell,
                    error = %chain(&error),
                    "failed to fire timers, will retry"
                );
                timer_index::postpone(unit, &due).await?;
            }
        }
    }
    Ok(is_cut)
}

/// The claim to fire timers.
async fn acquire(unit: &Unit) -> Result<Option<Claim>> {
    unit.acquire_claim(&keys::timer_claim()).await
}

/// Fires the due timers of a cell. Returns whether there were any, or the cell is gone.
async fn fire_in(unit: &Unit, cell: &CellId, now: i64) -> Result<bool> {
    let Some(context) = unit.find_cell_by_id(cell).await? else {
        // The cell was removed, and its timers with it.
        return Ok(true);
    };
    let mut has_fired = false;
    let mut idle = 0;
    while idle < MAX_ATTEMPTS {
        let records = context.records();
        let due = timer_index::list(records, Some(now), TIMERS_AT_ONCE).await?;
        if due.is_empty() {
            return Ok(has_fired);
        }
        idle += 1;
        for (_, rule) in due {
            if fire(unit, &context, &rule, now).await? {
                has_fired = true;
                idle = 0;
            }
        }
    }
    Err(Code::Conflict.into())
}

/// Fires the timer of a rule. `false` if it was not due, or another server node has fired it.
async fn fire(unit: &Unit, context: &CellContext, id: &str, now: i64) -> Result<bool> {
    let records = context.records();
    let Some(found) = timer_index::find(records, id).await? else {
        return Ok(false);
    };
    let timer = found.value;
    if timer.plan.due > now {
        return Ok(false);
    }
    let mut batch = Batch::new();
    batch.assert(keys::timer(id), Expect::Version(found.version));
    batch.delete(keys::due_timer(timer.plan.due, id));
    let next = timer.plan.after(now);
    match next {
        Some(plan) => {
            let next = Timer {
                plan,
                fired: timer.fired + 1,
                ..timer.clone()
            };
            timer_index::put(unit, &context.cell().id, &mut batch, &next).await?;
        }
        None => batch.delete(keys::timer(id)),
    }
    let post_commit = match cause_of(unit, context, id).await? {
        Some((cause, event)) => {
            let source = EventSource {
                unit,
                context,
                records,
                cause: &cause,
            };
            Box::pin(source.add(&mut batch, vec![event])).await?
        }
        None => PostCommit::none(),
    };
    match unit.commit(records, batch, post_commit).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict | StoreError::Sealed) => Ok(false),
        Err(other) => Err(store_error(other)),
    }
}

/// The event of a timer with its cause. `None` if its rule is gone or not for timers any more.
async fn cause_of(
    unit: &Unit,
    context: &CellContext,
    id: &str,
) -> Result<Option<(EventCause, PostedEvent)>> {
    let rules = rule::load(unit, context).await?;
    let Some(rule) = rules.find(id) else {
        return Ok(None);
    };
    let text = |name| rule.stored.text(name);
    let (Some(kind), Some(object)) = (text("EventType"), text("EventObject")) else {
        return Ok(None);
    };
    if !timer_index::is_timer(&kind) {
        return Ok(None);
    }
    let subject = rule.subject().map(str::to_owned);
    // Nobody outside of the cell is impersonated.
    let own = format!("{}#", unit.urls().cell(&context.cell().name));
    let account = subject
        .as_deref()
        .and_then(|subject| subject.strip_prefix(&own));
    let account = match account {
        Some(name) => context
            .find_account(name)
            .await?
            .map(|account| account.id.clone()),
        None => None,
    };
    let template = Event {
        schema: rule.schema().map(str::to_owned),
        subject,
        account,
        info: text("EventInfo"),
        ..Event::internal()
    };
    let event = PostedEvent {
        kind: kind.into(),
        object,
        info: String::new(),
    };
    let cause = EventCause::of_timer(unit, context, &rules, (id, template)).await?;
    Ok(Some((cause, event)))
}
