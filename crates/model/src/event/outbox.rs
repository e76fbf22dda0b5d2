//! The outbox of a cell: the requests of rules that wait to be sent.

mod stored;

use personium_store::{Batch, Direction, Expect, Key};
use personium_types::{Result, ServerNodeId};

use self::stored::StoredOutboxEntry;
use super::log::{self, LogLevel};
use super::outbox_owner;
use super::record::Event;
use crate::commit::Invalidation;
use crate::records::{self, Records};
use crate::{CellContext, Unit, keys};

/// The kinds of requests that rules send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// `exec`: sends the event to a service of the cell.
    Exec,
    /// `relay`: sends the event to a URL.
    Relay,
    /// `relay.event`: posts the event to a cell, as an external event.
    RelayEvent,
    /// `relay.data`: copies the entity that the event is about to another entity set.
    RelayData,
}

impl RequestKind {
    /// Its name in rules and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Relay => "relay",
            Self::RelayEvent => "relay.event",
            Self::RelayData => "relay.data",
        }
    }
}

/// A request that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The event, as logs and requests show it.
    pub event: Event,
    /// The kind of the request.
    pub kind: RequestKind,
    /// The target of the rule when the event was posted, as an `http(s)` URL.
    pub target: String,
}

impl OutboxEntry {
    /// Encodes the entry as it is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        records::encode(&StoredOutboxEntry::from(self))
    }
}

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

/// Removes the entry of a request that was sent, and logs the event and the outcome: a status, or a text in its place. Does nothing
/// if it was removed. `false` if the server node does not own the outbox of the cell any more; then the entry is left.
///
/// # Errors
/// A failure of the store.
pub async fn complete(
    unit: &Unit,
    context: &CellContext,
    (key, entry): (&Key, &OutboxEntry),
    outcome: &str,
    node: &ServerNodeId,
) -> Result<bool> {
    let result = Event {
        kind: Some(entry.kind.name().to_owned()),
        object: Some(entry.target.clone()),
        info: Some(outcome.to_owned()),
        ..entry.event.clone()
    };
    let now = unit.now_ms();
    let lines = [&entry.event, &result].map(|event| log::line(event, LogLevel::Info, now));
    let (is_owner, log_is_full) = unit
        .transact(context, Invalidation::None, || async {
            let mut batch = Batch::new();
            if !outbox_owner::assert_owner(context.records(), node, &mut batch).await? {
                return Ok((Batch::new(), (false, false)));
            }
            if context.records().find_version(key).await?.is_none() {
                return Ok((Batch::new(), (true, false)));
            }
            batch.assert(key.clone(), Expect::Present);
            batch.delete(key.clone());
            batch.add(keys::outbox_count(), -1);
            let is_full = log::append(unit, context.records(), &mut batch, lines.to_vec()).await?;
            Ok((batch, (true, is_full)))
        })
        .await?;
    if log_is_full {
        log::archive_in_background(unit, context);
    }
    Ok(is_owner)
}
