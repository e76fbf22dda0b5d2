//! The outbox of a cell: the requests of rules that wait to be sent.

use personium_store::{Batch, Direction, Expect, Key};
use personium_types::{Result, ServerNodeId};

use super::dead_letter::{self, DeadLetter};
use super::log::{self, LogLevel};
use super::outbox_owner;
use super::record::Event;
use super::rule_request::stored::StoredOutboxEntry;
pub use super::rule_request::{Attempts, OutboxEntry, OutcomeKind, RequestKind, RequestOutcome};
use super::rule_state::{self, RuleState};
use crate::commit::Invalidation;
use crate::records::Records;
use crate::{CellContext, Unit, keys};

/// The oldest entry of a rule, with its key; `None` if there is none.
///
/// # Errors
/// A failure of the store.
pub async fn find_next(records: &Records, rule: &str) -> Result<Option<(Key, OutboxEntry)>> {
    let range = keys::outbox_entries(rule);
    let found = records
        .list::<StoredOutboxEntry>(&range, Direction::Up, 1)
        .await?;
    let next = found.into_iter().next();
    Ok(next.map(|(key, stored)| (key, stored.value.into())))
}

/// The key of the next entry of a rule: after all that wait, also those of server nodes whose clocks are ahead.
pub(super) async fn next_key(unit: &Unit, records: &Records, rule: &str) -> Result<Key> {
    let key = keys::outbox_entry(rule, &unit.next_event_id());
    if !unit.store().is_shared() {
        return Ok(key);
    }
    let entries = keys::outbox_entries(rule);
    let last = records.list_keys(&entries, Direction::Down, 1).await?;
    let after = last.first().filter(|last| **last >= key);
    let after = after.and_then(keys::event_id_of_outbox_entry);
    Ok(match after {
        Some(id) => keys::outbox_entry(rule, &keys::successor_of_event_id(&id)),
        None => key,
    })
}

/// The rules of a cell that have entries.
///
/// # Errors
/// A failure of the store.
pub async fn list_rules(records: &Records) -> Result<Vec<String>> {
    let mut range = keys::all_outbox_entries();
    let mut out = Vec::new();
    loop {
        let found = records.list_keys(&range, Direction::Up, 1).await?;
        let Some(rule) = found.first().and_then(keys::rule_of_outbox_entry) else {
            return Ok(out);
        };
        if let Some(next) = keys::outbox_entries(&rule).end {
            range.start = next;
        }
        out.push(rule);
    }
}

/// Concludes an attempt to send a request. If another one follows, the entry says when. Otherwise it is removed, the event and the
/// outcome are logged, and a request without success is kept among those that were given up. Does nothing if the entry was
/// removed. `false` if the server node does not own the outbox of the cell any more; then the entry is left.
///
/// # Errors
/// A failure of the store.
pub async fn complete(
    unit: &Unit,
    context: &CellContext,
    (key, entry): (&Key, &OutboxEntry),
    outcome: &RequestOutcome,
    node: &ServerNodeId,
) -> Result<bool> {
    let result = Event {
        kind: Some(entry.kind.name().to_owned()),
        object: Some(entry.target.clone()),
        info: Some(outcome.text.clone()),
        ..entry.event.clone()
    };
    let now = unit.now_ms();
    let attempts = entry.attempts.after(unit, now);
    let is_last = outcome.kind != OutcomeKind::Temporary || attempts.is_over(unit, now);
    let rule = keys::rule_of_outbox_entry(key).unwrap_or_default();
    let state = RuleState {
        last_ms: now,
        outcome: outcome.text.clone(),
        is_success: outcome.kind == OutcomeKind::Success,
        attempts: attempts.count,
        next_ms: (!is_last).then_some(attempts.next_ms),
    };
    let lines = [&entry.event, &result].map(|event| log::line(event, LogLevel::Info, now));
    let (is_owner, is_failed, log_is_full) = unit
        .transact(context, Invalidation::None, || async {
            let mut batch = Batch::new();
            if !outbox_owner::assert_owner(context.records(), node, &mut batch).await? {
                return Ok((Batch::new(), (false, false, false)));
            }
            if context.records().find_version(key).await?.is_none() {
                return Ok((Batch::new(), (true, false, false)));
            }
            batch.assert(key.clone(), Expect::Present);
            rule_state::put(context.records(), &mut batch, &rule, &state).await?;
            let entry = OutboxEntry {
                attempts,
                ..entry.clone()
            };
            if !is_last {
                batch.put(key.clone(), entry.encode()?);
                return Ok((batch, (true, false, false)));
            }
            if outcome.kind != OutcomeKind::Success {
                let letter = DeadLetter {
                    rule: rule.clone(),
                    entry,
                    outcome: outcome.text.clone(),
                    given_up_ms: now,
                };
                dead_letter::add(unit, context.records(), &mut batch, &letter).await?;
            }
            batch.delete(key.clone());
            batch.add(keys::outbox_count(), -1);
            let is_full = log::append(unit, context.records(), &mut batch, lines.to_vec()).await?;
            let is_failed = outcome.kind != OutcomeKind::Success;
            Ok((batch, (true, is_failed, is_full)))
        })
        .await?;
    if is_failed {
        unit.outbox().totals().note_failed_request();
    }
    if log_is_full {
        log::archive_in_background(unit, context);
    }
    Ok(is_owner)
}
