//! What rules are still to do: requests that wait to be sent.

use personium_store::{Batch, Direction, Expect, Key};
use personium_types::Result;
use serde::{Deserialize, Serialize};

use super::Event;
use super::log::{self, Level};
use crate::records::Records;
use crate::unit::Invalidation;
use crate::{CellContext, Unit, keys};

/// The kinds of request that rules send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKind {
    /// `exec`: the event to a service of the cell.
    Exec,
    /// `relay`: the event to a URL.
    Relay,
    /// `relay.event`: the event to a cell, as an external event there.
    RelayEvent,
    /// `relay.data`: the entity that the event is about to an entity set elsewhere.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// The event, as everybody but rules sees it.
    #[serde(rename = "e")]
    pub event: Event,
    /// What kind of request.
    #[serde(rename = "k")]
    pub sending: RequestKind,
    /// Where to, as the rule said when the event happened, as an `http(s)` URL.
    #[serde(rename = "t")]
    pub target: String,
}

/// The number of requests that wait in a cell.
pub(super) fn waiting() -> Key {
    keys::single("event/waiting")
}

/// The next request that a rule has to send; `None` if there is none.
pub async fn find_next(records: &Records, rule: &str) -> Result<Option<(Key, OutboxEntry)>> {
    let range = keys::actions(rule);
    let found = records
        .list::<OutboxEntry>(&range, Direction::Up, 1)
        .await?;
    let next = found.into_iter().next();
    Ok(next.map(|(key, action)| (key, action.value)))
}

/// The rules of a cell that have something to send.
pub async fn list_rules(records: &Records) -> Result<Vec<String>> {
    let mut range = keys::all_actions();
    let mut out = Vec::new();
    loop {
        let found = records.list_keys(&range, Direction::Up, 1).await?;
        let Some(rule) = found.first().and_then(keys::rule_of_action) else {
            return Ok(out);
        };
        if let Some(next) = keys::actions(&rule).end {
            range.start = next;
        }
        out.push(rule);
    }
}

/// Forgets a request that was sent, and logs the event and what came of it: a status, or what stands for one.
pub async fn finish(
    unit: &Unit,
    context: &CellContext,
    key: &Key,
    action: &OutboxEntry,
    outcome: &str,
) -> Result<()> {
    let result = Event {
        kind: Some(action.sending.name().to_owned()),
        object: Some(action.target.clone()),
        info: Some(outcome.to_owned()),
        ..action.event.clone()
    };
    let now = unit.now_ms();
    let lines = [&action.event, &result].map(|event| log::line(event, Level::Info, now));
    let log_is_full = unit
        .transact(context, Invalidation::None, || async {
            let mut batch = Batch::new();
            if context.records().find_version(key).await?.is_none() {
                return Ok((batch, false));
            }
            batch.assert(key.clone(), Expect::Present);
            batch.delete(key.clone());
            batch.add(waiting(), -1);
            let full = log::append(unit, context.records(), &mut batch, lines.to_vec()).await?;
            Ok((batch, full))
        })
        .await?;
    if log_is_full {
        log::roll_later(unit, context);
    }
    Ok(())
}
