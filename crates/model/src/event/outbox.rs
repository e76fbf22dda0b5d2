//! The outbox of a cell: the requests of rules that wait to be sent.

use std::sync::Arc;

use personium_store::{Batch, Direction, Expect, Key, Limit};
use personium_types::{Result, ServerNodeId};
use tokio::task::JoinHandle;

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

/// The size of entries from which on no more are listed at once, in bytes.
const LISTED_BYTES_MAX: usize = 256 << 10;

/// A request that was sent once more, and the outcome.
#[derive(Debug, Clone)]
pub struct SentRequest {
    /// The key of its entry.
    pub key: Key,
    /// Its entry before.
    pub entry: OutboxEntry,
    /// The outcome.
    pub outcome: RequestOutcome,
}

/// The oldest entries of a rule with their keys: `max` at most, and fewer of long ones.
///
/// # Errors
/// A failure of the store.
pub async fn list_next(
    records: &Records,
    rule: &str,
    max: usize,
) -> Result<Vec<(Key, OutboxEntry)>> {
    let range = keys::outbox_entries(rule);
    let limit = Limit {
        records: max,
        bytes: LISTED_BYTES_MAX,
    };
    let found = records.list_within::<StoredOutboxEntry>(&range, Direction::Up, limit);
    let (found, _) = found.await?;
    let entries = found.into_iter();
    Ok(entries
        .map(|(key, stored)| (key, stored.value.into()))
        .collect())
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

/// Concludes attempts to send requests of one rule, in their order and in one batch. If another one follows, the entry says when.
/// Otherwise it is removed, the event and the outcome are logged, and a request without success is kept among those that were given
/// up. Entries that were removed are left out. `false` if the server node does not own the outbox of the cell any more; then the
/// entries are left.
///
/// # Errors
/// A failure of the store.
pub async fn complete(
    unit: &Unit,
    context: &CellContext,
    sent: &[SentRequest],
    node: &ServerNodeId,
) -> Result<bool> {
    let now = unit.now_ms();
    let attempts: Vec<_> = sent
        .iter()
        .map(|sent| ConcludedAttempt::new(unit, sent, now))
        .collect();
    let (is_owner, failed, log_is_full) = unit
        .transact(context, Invalidation::None, || async {
            let records = context.records();
            let mut batch = Batch::new();
            if !outbox_owner::assert_owner(records, node, &mut batch).await? {
                return Ok((Batch::new(), (false, 0, false)));
            }
            let keys: Vec<_> = sent.iter().map(|sent| sent.key.clone()).collect();
            let are_present = records.are_present(&keys).await?.into_iter();
            let present: Vec<_> = attempts
                .iter()
                .zip(are_present)
                .filter_map(|(attempt, is_present)| is_present.then_some(attempt))
                .collect();
            let Some(last) = present.last() else {
                return Ok((Batch::new(), (true, 0, false)));
            };
            rule_state::put(records, &mut batch, &last.rule, &last.state(now)).await?;
            let (mut letters, mut lines) = (Vec::new(), Vec::new());
            let mut removed = 0;
            for attempt in present {
                let key = &attempt.sent.key;
                batch.assert(key.clone(), Expect::Present);
                if !attempt.is_last {
                    batch.put(key.clone(), attempt.entry().encode()?);
                    continue;
                }
                if !attempt.is_success() {
                    letters.push(attempt.letter(now));
                }
                batch.delete(key.clone());
                removed += 1;
                lines.extend(attempt.lines(unit, now));
            }
            if removed > 0 {
                batch.add(keys::outbox_count(), -removed);
            }
            dead_letter::add(unit, records, &mut batch, &letters).await?;
            let is_full = log::append(unit, records, &mut batch, lines).await?;
            Ok((batch, (true, letters.len(), is_full)))
        })
        .await?;
    for _ in 0..failed {
        unit.outbox().totals().note_failed_request();
    }
    if log_is_full {
        log::archive_in_background(unit, context);
    }
    Ok(is_owner)
}

/// Concludes attempts as [`complete`], in a task of its own, which goes on if the caller is cancelled. The unit waits for it before
/// the store is closed.
pub fn complete_in_background(
    unit: &Unit,
    context: &Arc<CellContext>,
    sent: Vec<SentRequest>,
    node: ServerNodeId,
) -> JoinHandle<Result<bool>> {
    let (unit, context) = (unit.share(), Arc::clone(context));
    // Not awaited: the unit may wait for the commits in flight already. The batches of the task take no such lock.
    let in_flight = Arc::clone(unit.commits()).try_read_owned();
    tokio::spawn(async move {
        let completed = complete(&unit, &context, &sent, &node).await;
        drop(in_flight);
        completed
    })
}

/// A concluded attempt to send a request.
struct ConcludedAttempt<'a> {
    sent: &'a SentRequest,
    rule: String,
    attempts: Attempts,
    is_last: bool,
}

impl<'a> ConcludedAttempt<'a> {
    fn new(unit: &Unit, sent: &'a SentRequest, now: i64) -> Self {
        let attempts = sent.entry.attempts.after(unit, now);
        Self {
            rule: keys::rule_of_outbox_entry(&sent.key).unwrap_or_default(),
            is_last: sent.outcome.kind != OutcomeKind::Temporary || attempts.is_over(unit, now),
            attempts,
            sent,
        }
    }

    fn is_success(&self) -> bool {
        self.sent.outcome.kind == OutcomeKind::Success
    }

    /// The entry after the attempt.
    fn entry(&self) -> OutboxEntry {
        OutboxEntry {
            attempts: self.attempts,
            ..self.sent.entry.clone()
        }
    }

    /// The state of the rule after the attempt.
    fn state(&self, now: i64) -> RuleState {
        RuleState {
            last_ms: now,
            outcome: self.sent.outcome.text.clone(),
            is_success: self.is_success(),
            attempts: self.attempts.count,
            next_ms: (!self.is_last).then_some(self.attempts.next_ms),
        }
    }

    /// The request, which is given up.
    fn letter(&self, now: i64) -> DeadLetter {
        DeadLetter {
            rule: self.rule.clone(),
            entry: self.entry(),
            outcome: self.sent.outcome.text.clone(),
            given_up_ms: now,
        }
    }

    /// The lines of the event log: the event, and the result, both at the time of the event.
    fn lines(&self, unit: &Unit, now: i64) -> [String; 2] {
        let SentRequest { entry, outcome, .. } = self.sent;
        let event = log::with_request_key(unit, &entry.event);
        let result = Event {
            kind: Some(entry.kind.name().to_owned()),
            object: Some(entry.target.clone()),
            info: Some(outcome.text.clone()),
            ..(*event).clone()
        };
        // Requests that an earlier version stored have no time.
        let at = if entry.at_ms == 0 { now } else { entry.at_ms };
        [&*event, &result].map(|event| log::line(event, LogLevel::Info, at))
    }
}
