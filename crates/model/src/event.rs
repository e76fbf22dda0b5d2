//! Events of a cell, the rules that match them, the event log, and the outbox of requests.
//!
//! A posted event is compared with the rules that exist then. Its effects are one batch: lines of the log, and an outbox
//! entry for each request of a rule. So a crash loses nothing of an acknowledged event. The requests are sent afterwards, at
//! least once, for each rule in the order of events.

pub mod log;
pub mod outbox;
mod outbox_owner;
pub mod pending;
mod record;
pub mod rule;

use std::sync::Arc;

use personium_store::Batch;
use personium_types::{Code, Operation, Result};

use self::outbox::OutboxEntry;
use self::outbox_owner::OutboxState;
pub use self::record::{EVENT_ID, Event, MAX_TEXT_UTF16_UNITS, RULE_CHAIN, VIA};
use self::rule::{EventRule, RuleAction};
use crate::outbox_queue::OutboxPartition;
use crate::{CellContext, Permit, PermitTarget, PostCommit, Unit, keys};

/// The limit on the bytes of log lines and requests of one event. When it is exceeded, the remaining rules are skipped.
const OUTPUT_MAX_BYTES: usize = 8 << 20;
/// The largest number of requests in the outbox of a cell.
const OUTBOX_MAX: i64 = 10_000;

/// Posts an event to the rules of a cell. When this returns, their log lines and outbox entries are stored.
///
/// # Errors
/// [`Code::ServerBusy`] if the outbox of the cell is full: then nothing of the event is stored. A failure of the store. An
/// internal error if the permit is not for events of this cell.
pub async fn post(unit: &Unit, context: &CellContext, permit: &Permit, event: Event) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::PostEvent, &target)?;
    let rules = rule::load(unit, context).await?;
    let matching = rules.matching(&event, unit.settings().events.hops_max);
    if matching.is_empty() {
        return Ok(());
    }
    let event = event.to_external(&unit.urls().cell(&context.cell().name), unit.random());
    let log_is_full = unit
        .transact_with(context.records(), || {
            apply_rules(unit, context, &event, &matching)
        })
        .await?;
    if log_is_full {
        log::archive_in_background(unit, context);
    }
    Ok(())
}

/// The batch of an event with its post-commit actions, and whether the log is full after it.
async fn apply_rules(
    unit: &Unit,
    context: &CellContext,
    event: &Event,
    matching: &[Arc<EventRule>],
) -> Result<(Batch, PostCommit, bool)> {
    let mut batch = Batch::new();
    let (mut lines, mut senders) = (Vec::new(), Vec::new());
    let mut output_bytes = 0;
    for (index, rule) in matching.iter().enumerate() {
        match rule.action {
            RuleAction::Log(level) => {
                let line = log::line(event, level, unit.now_ms());
                output_bytes += line.len();
                lines.push(line);
            }
            RuleAction::Send(kind) => {
                let entry = OutboxEntry {
                    event: event.clone(),
                    kind,
                    target: rule.target.clone().unwrap_or_default(),
                };
                let record = entry.encode()?;
                output_bytes += record.len();
                let key = outbox::next_key(unit, context.records(), &rule.id).await?;
                batch.put(key, record);
                senders.push(rule.id.clone());
            }
        }
        batch.add(keys::rule_hits(&rule.id), 1);
        if output_bytes > OUTPUT_MAX_BYTES {
            let skipped = matching.len() - index - 1;
            tracing::warn!(
                cell.id = %context.cell().id,
                rules.skipped = skipped,
                "event exceeded the output limit, rules skipped"
            );
            break;
        }
    }
    let post_commit = add_requests(unit, context, &mut batch, senders).await?;
    let log_is_full = log::append(unit, context.records(), &mut batch, lines).await?;
    Ok((batch, post_commit, log_is_full))
}

/// Adds to a batch what comes with new requests of these rules, and returns the post-commit actions.
async fn add_requests(
    unit: &Unit,
    context: &CellContext,
    batch: &mut Batch,
    rules: Vec<String>,
) -> Result<PostCommit> {
    let mut post_commit = PostCommit::none();
    if rules.is_empty() {
        return Ok(post_commit);
    }
    let cell = context.cell().id;
    let state = OutboxState::read(context.records()).await?;
    let requests = i64::try_from(rules.len()).unwrap_or(i64::MAX);
    if state.waiting.saturating_add(requests) > OUTBOX_MAX {
        return Err(Code::ServerBusy.into());
    }
    batch.add(keys::outbox_count(), requests);
    let owner = state.add_owner(unit, &cell, batch).await?;
    if let Some(mark) = &owner.mark {
        post_commit = post_commit.with_mark(mark);
    }
    // Another owner finds them by itself.
    if unit.node_id() == Some(owner.node) {
        post_commit = post_commit.own_outbox(cell, owner.node);
        for rule in rules {
            post_commit = post_commit.enqueue(OutboxPartition { cell, rule });
        }
    }
    Ok(post_commit)
}
