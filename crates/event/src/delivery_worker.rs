//! The worker that delivers the messages of a cell that wait for another attempt.
//!
//! A cell has its turn: some of the deliveries that are due, to many recipients at the same time, and to one recipient one after the
//! other. If a recipient cannot be reached, its other messages wait without an attempt. So one that never answers costs one time-out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use personium_model::backoff::{monotonic_of, next_attempt_ms};
use personium_model::odata::message::{AttemptOutcome, WaitingDelivery, waiting};
use personium_model::outbox_queue::OutboxPartition;
use personium_model::{CellContext, Unit};
use personium_types::{Result, ServerNodeId};

use crate::RequestSender;
use crate::delivery::DeliveryAttempt;
use crate::owner_sender::OwnerSender;

/// The largest number of deliveries of one turn.
const TURN_MAX: usize = 64;
/// The number of recipients of a cell that messages are delivered to at the same time.
const RECIPIENTS_MAX: usize = 16;
/// The time-out of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The rest of a partition after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing: it was given back.
    Over,
    /// It is to be enqueued again.
    HasMore,
}

/// The result of the attempts of one turn.
enum TurnResult {
    /// Attempts were made, and there may be more.
    Made,
    /// None was due. The next one is due at this time, milliseconds since 1970.
    NothingDue(Option<i64>),
    /// Another server node may make them.
    NotOwner,
}

/// Delivers messages of a cell that are due, as long as this process owns the outbox of the cell.
///
/// # Errors
/// A failure of the store; then there are more.
pub(crate) async fn process_turn(
    unit: &Arc<Unit>,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
) -> Result<Turn> {
    loop {
        let next = match unit.outbox().owner(&partition.cell) {
            None => None,
            Some(node) => match make_attempts(unit, sender, partition, &node).await? {
                TurnResult::Made => return Ok(Turn::HasMore),
                TurnResult::NothingDue(next) => next,
                TurnResult::NotOwner => {
                    unit.outbox().disown(&partition.cell);
                    None
                }
            },
        };
        let due = next.map(|next| monotonic_of(unit, next));
        unit.outbox().defer(partition, due);
        if unit.outbox().complete(partition) {
            return Ok(Turn::Over);
        }
    }
}

async fn make_attempts(
    unit: &Arc<Unit>,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
    node: &ServerNodeId,
) -> Result<TurnResult> {
    let Some(context) = unit.find_cell_by_id(&partition.cell).await? else {
        // The cell was removed, and its outbox with it.
        return Ok(TurnResult::NothingDue(None));
    };
    let found = waiting::list_due(unit, context.records(), TURN_MAX).await?;
    if found.due.is_empty() {
        return Ok(TurnResult::NothingDue(found.next_ms));
    }
    let sender = OwnerSender::new(unit, sender, node);
    let turn = DeliveryTurn {
        unit,
        context: &context,
        sender: &sender,
    };
    let made: Vec<_> = stream::iter(by_recipient(found.due))
        .map(|deliveries| turn.deliver_to_one(deliveries))
        .buffer_unordered(RECIPIENTS_MAX)
        .collect()
        .await;
    if sender.has_refused() {
        return match unit.confirm_node(node).await? {
            // The store could not be asked before.
            true => Ok(TurnResult::Made),
            false => Ok(TurnResult::NotOwner),
        };
    }
    let mut of_messages: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for made in made {
        for (delivery, outcome) in made? {
            let message = delivery.message().to_owned();
            let of_message = of_messages.entry(message).or_default();
            of_message.push((delivery, outcome));
        }
    }
    for attempts in of_messages.values() {
        if !waiting::conclude(unit, &context, attempts, node).await? {
            return Ok(TurnResult::NotOwner);
        }
    }
    Ok(TurnResult::Made)
}

/// The deliveries of each recipient, in their order.
fn by_recipient(due: Vec<WaitingDelivery>) -> Vec<Vec<WaitingDelivery>> {
    let mut out: BTreeMap<String, Vec<WaitingDelivery>> = BTreeMap::new();
    for delivery in due {
        let to = delivery.to().to_owned();
        out.entry(to).or_default().push(delivery);
    }
    out.into_values().collect()
}

/// The turn of a cell.
struct DeliveryTurn<'a> {
    unit: &'a Unit,
    context: &'a Arc<CellContext>,
    sender: &'a dyn RequestSender,
}

impl DeliveryTurn<'_> {
    /// Delivers messages to one recipient until one attempt fails.
    async fn deliver_to_one(
        &self,
        deliveries: Vec<WaitingDelivery>,
    ) -> Result<Vec<(WaitingDelivery, AttemptOutcome)>> {
        let most = deliveries.iter().map(WaitingDelivery::attempts).max();
        let most = most.unwrap_or(0).saturating_add(1);
        let mut postponed = None;
        let mut out = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let outcome = match postponed {
                Some(_) => AttemptOutcome::Postponed(postponed),
                None => self.attempt(&delivery).await?,
            };
            if matches!(outcome, AttemptOutcome::Failed { .. }) {
                postponed = Some(next_attempt_ms(self.unit, most));
            }
            out.push((delivery, outcome));
        }
        Ok(out)
    }

    async fn attempt(&self, delivery: &WaitingDelivery) -> Result<AttemptOutcome> {
        let Self { unit, context, .. } = *self;
        let Some(message) = waiting::find_message(unit, context, delivery).await? else {
            let reason = "The message was deleted.".to_owned();
            return Ok(AttemptOutcome::Unreachable { reason });
        };
        let attempt = DeliveryAttempt {
            message: &message,
            to: delivery.to(),
            sender: delivery.sender(),
            attempts: delivery.attempts(),
        };
        let made = attempt.make(unit, context, self.sender);
        let made = tokio::time::timeout(ATTEMPT_TIMEOUT, made).await;
        Ok(made.unwrap_or_else(|_| AttemptOutcome::Failed {
            code: None,
            reason: "There was no response in time.".to_owned(),
        }))
    }
}
