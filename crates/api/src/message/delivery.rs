//! The first attempt to deliver a message to cells of this unit and of others. Those that fail are repeated by `event`.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use personium_event::delivery::DeliveryAttempt;
use personium_model::CellContext;
use personium_model::odata::message::{
    AttemptOutcome, DeliveryResult, DeliverySender, OutgoingMessage,
};
use personium_types::{Code, Error, Result};

use crate::request_context::RequestContext;

/// The number of cells that a message is delivered to at the same time.
const MAX_CONCURRENT_DELIVERIES: usize = 16;
/// The time for the first attempts of a message. Those that take longer, and those that could not begin, are made afterwards.
const FIRST_ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(10);

/// Delivers a message to all its recipients as far as that succeeds at once. Returns what it has come to, in the order of the
/// recipients. At the time `expires_ms` or later there is no other attempt.
///
/// # Errors
/// [`Code::MessageUndelivered`] if none of them was reached, and no other attempt will be made.
pub(super) async fn deliver(
    request: &RequestContext,
    context: &CellContext,
    (message, sender): (&OutgoingMessage, &DeliverySender),
    expires_ms: i64,
) -> Result<Vec<DeliveryResult>> {
    let first = FirstAttempts {
        request,
        context,
        message,
        sender,
        deadline: request.unit.monotonic() + FIRST_ATTEMPTS_TIMEOUT,
    };
    let outcomes: Vec<AttemptOutcome> = stream::iter(message.recipients.iter().cloned())
        .map(|to| first.make(to))
        .buffered(MAX_CONCURRENT_DELIVERIES)
        .collect()
        .await;
    let mut is_lost = true;
    let mut results = Vec::with_capacity(outcomes.len());
    for (to, outcome) in message.recipients.iter().zip(outcomes) {
        let has_response = match &outcome {
            AttemptOutcome::Answered { .. } => true,
            AttemptOutcome::Failed { code, .. } => code.is_some(),
            AttemptOutcome::Unreachable { .. } | AttemptOutcome::Postponed(_) => false,
        };
        let result = DeliveryResult::after(&request.unit, to, (0, expires_ms), outcome);
        is_lost &= !has_response && result.is_final();
        results.push(result);
    }
    if is_lost {
        let recipients = message.recipients.join(" ");
        return Err(Error::new(Code::MessageUndelivered).with(recipients));
    }
    Ok(results)
}

/// The first attempts of a message.
struct FirstAttempts<'a> {
    request: &'a RequestContext,
    context: &'a CellContext,
    message: &'a OutgoingMessage,
    sender: &'a DeliverySender,
    deadline: Instant,
}

impl FirstAttempts<'_> {
    async fn make(&self, to: String) -> AttemptOutcome {
        let attempt = DeliveryAttempt {
            message: self.message,
            to: &to,
            sender: self.sender,
            attempts: 0,
        };
        let RequestContext {
            unit, http_client, ..
        } = self.request;
        let rest = self.deadline.saturating_duration_since(unit.monotonic());
        if rest.is_zero() {
            return AttemptOutcome::Postponed(None);
        }
        // The outbox begins a new sequence of requests, so rules and scripts can send messages too.
        if http_client.is_too_deep(&to) {
            return AttemptOutcome::Postponed(None);
        }
        let made = attempt.make(unit, self.context, http_client);
        let made = tokio::time::timeout(rest, made).await;
        made.unwrap_or_else(|_| AttemptOutcome::Failed {
            code: None,
            reason: "There was no response in time.".to_owned(),
        })
    }
}
