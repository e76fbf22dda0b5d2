//! Sends some requests of a rule, one after the other.
//!
//! Their outcomes are stored while the next ones are sent, several in one batch. What was sent and not yet concluded when the process dies
//! is sent again, so requests that must not be repeated without need are concluded before the next one.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use personium_model::backoff::LONGEST_DELAY_MS;
use personium_model::event::outbox::{
    self, OutcomeKind, RequestKind, SentRequest, complete_in_background,
};
use personium_model::outbox_queue::OutboxPartition;
use personium_model::{CellContext, Unit};
use personium_types::{Error, Result, ServerNodeId};
use tokio::task::JoinHandle;

use crate::RequestSender;
use crate::owner_sender::OwnerSender;
use crate::request::send_entry;

/// The largest number of requests of a turn: so many are sent again at most if the process dies.
const REQUESTS_MAX: usize = 16;
/// The time of a turn after which no further request is sent: other rules wait.
const TURN_MAX: Duration = Duration::from_secs(1);

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Requests were sent, and there may be more.
    Sent,
    /// The next attempt is due at this time, milliseconds since 1970.
    Later(i64),
    /// There is none.
    Empty,
    /// Another server node may send them.
    NotOwner,
}

/// Sends the next requests of a rule.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn take(
    unit: &Unit,
    sender: &dyn RequestSender,
    partition: &OutboxPartition,
    node: ServerNodeId,
) -> Result<Step> {
    let Some(mut context) = unit.find_cell_by_id(&partition.cell).await? else {
        // The cell was removed, and its outbox with it.
        return Ok(Step::Empty);
    };
    let next = outbox::list_next(context.records(), &partition.rule, REQUESTS_MAX).await?;
    if next.is_empty() {
        return Ok(Step::Empty);
    }
    let sender = OwnerSender::new(unit, sender, &node);
    let mut conclusions = Conclusions::new(unit, &context, node);
    let start = unit.monotonic();
    for (number, (key, entry)) in next.into_iter().enumerate() {
        if number > 0 {
            if unit.monotonic().saturating_duration_since(start) >= TURN_MAX {
                break;
            }
            // Accounts, roles and the cell itself may have changed since.
            match unit.find_cell_by_id(&partition.cell).await? {
                Some(now) => context = now,
                None => return Ok(Step::Empty),
            }
            if context.records().find_version(&key).await?.is_none() {
                continue;
            }
        }
        let (now, due) = (unit.now_ms(), entry.attempts.next_ms);
        // If the clock was set back, it would wait too long.
        if due > now && due <= now.saturating_add(LONGEST_DELAY_MS) {
            return Ok(match conclusions.finish().await? {
                true => Step::Later(due),
                false => Step::NotOwner,
            });
        }
        let sending = send_entry(unit, &sender, &context, &entry);
        let outcome = conclusions.store_during(sending).await?;
        if sender.has_refused() {
            let is_owner = conclusions.finish().await? && unit.confirm_node(&node).await?;
            return Ok(match is_owner {
                // The store could not be asked before.
                true => Step::Sent,
                false => Step::NotOwner,
            });
        }
        let may_follow = is_repeatable(entry.kind);
        let is_temporary = outcome.kind == OutcomeKind::Temporary;
        conclusions.sent.push(SentRequest {
            key,
            entry,
            outcome,
        });
        if is_temporary {
            // Those that follow wait if it is sent again.
            break;
        }
        let is_stored = matches!(conclusions.stored, Ok(true));
        if (!may_follow || !is_stored) && !conclusions.finish().await? {
            return Ok(Step::NotOwner);
        }
    }
    Ok(match conclusions.finish().await? {
        true => Step::Sent,
        false => Step::NotOwner,
    })
}

/// The conclusions of the requests of a turn. What is not stored yet when it is dropped is stored in the background.
struct Conclusions<'a> {
    unit: &'a Unit,
    context: Arc<CellContext>,
    node: ServerNodeId,
    /// The requests that were sent and are not being concluded.
    sent: Vec<SentRequest>,
    /// The batch that concludes earlier ones.
    storing: Option<JoinHandle<Result<bool>>>,
    /// Whether the earlier ones were stored, and the process has owned the outbox.
    stored: Result<bool>,
}

impl<'a> Conclusions<'a> {
    fn new(unit: &'a Unit, context: &Arc<CellContext>, node: ServerNodeId) -> Self {
        Self {
            unit,
            context: Arc::clone(context),
            node,
            sent: Vec::new(),
            storing: None,
            stored: Ok(true),
        }
    }

    /// Runs the sending of a request, and concludes earlier ones meanwhile.
    async fn store_during<T>(&mut self, sending: impl Future<Output = T>) -> T {
        let mut sending = pin!(sending);
        loop {
            if self.storing.is_none() {
                self.store();
            }
            if self.storing.is_none() {
                return sending.await;
            }
            tokio::select! {
                biased;
                sent = &mut sending => return sent,
                () = self.wait() => {}
            }
        }
    }

    /// Concludes all. `false` if the process does not own the outbox any more.
    ///
    /// # Errors
    /// A failure of the store.
    async fn finish(&mut self) -> Result<bool> {
        self.wait().await;
        self.store();
        self.wait().await;
        std::mem::replace(&mut self.stored, Ok(true))
    }

    /// Waits for the batch that is being stored.
    async fn wait(&mut self) {
        let Some(storing) = &mut self.storing else {
            return;
        };
        let stored = storing.await.map_err(Error::internal).flatten();
        self.storing = None;
        if !matches!(stored, Ok(true)) {
            self.stored = stored;
        }
    }

    /// Begins to conclude what was sent.
    fn store(&mut self) {
        if !self.sent.is_empty() {
            let sent = std::mem::take(&mut self.sent);
            let storing = complete_in_background(self.unit, &self.context, sent, self.node);
            self.storing = Some(storing);
        }
    }
}

impl Drop for Conclusions<'_> {
    fn drop(&mut self) {
        self.store();
    }
}

/// Whether a repeated request does little harm: the receiver knows the event by its id. A script would run twice, and a copy of an entity
/// would be refused because it exists.
const fn is_repeatable(kind: RequestKind) -> bool {
    matches!(kind, RequestKind::Relay | RequestKind::RelayEvent)
}

#[cfg(test)]
mod tests {
    use personium_model::event::outbox::RequestOutcome;
    use personium_model::odata::ServiceRoot;
    use personium_testkit::ModelUnit;

    use super::*;

    #[tokio::test]
    async fn outcomes_that_wait_are_stored_when_the_turn_is_cancelled() {
        let unit = ModelUnit::new().await;
        let context = unit.context().await;
        let root = ServiceRoot::of_cell(unit.model.clone(), Arc::clone(&context));
        let rule = unit.create_relay_rule(&root).await;
        let context = unit.context().await;
        unit.post_event(&context).await;
        let next = async || {
            outbox::list_next(context.records(), &rule, 9)
                .await
                .unwrap()
        };
        let (key, entry) = next().await.remove(0);
        let node = unit.model.node_id().unwrap();
        let mut conclusions = Conclusions::new(&unit.model, &context, node);
        conclusions.sent.push(SentRequest {
            key,
            entry,
            outcome: RequestOutcome {
                text: "200".to_owned(),
                kind: OutcomeKind::Success,
            },
        });
        drop(conclusions);
        unit.model.finish_commits().await;
        assert!(next().await.is_empty());
    }
}
