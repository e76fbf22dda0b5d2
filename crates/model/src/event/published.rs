//! Events of a cell for other systems: they wait in the outbox of the cell until a broker has stored them.
//!
//! They are sequenced records in the batch of their change, so they are published in the order of commits. The owner of the outbox
//! publishes them; after a crash the last ones may be published again, with the same ids.

use personium_store::{Batch, Direction, Expect, Key, KeyRange};
pub use personium_store::{EventPublisher, OutgoingEvent, PublishError};
use personium_types::{CellId, Result, ServerNodeId};
use serde::Serialize;

use super::dead_letter::{self, DeadLetter};
use super::outbox_owner;
use super::record::Event;
use super::rule_request::stored::StoredOutboxEntry;
use super::rule_request::{Attempts, OutboxEntry, RequestKind};
use crate::commit::Invalidation;
use crate::records::Records;
use crate::{CellContext, Unit, keys};

/// The endings of the types of events that report that something was read. They are not published.
const READING: [&str; 3] = [".get", ".list", ".propfind"];

/// An event that waits to be published.
#[derive(Debug, Clone)]
pub struct WaitingEvent {
    key: Key,
    entry: OutboxEntry,
    /// The event as other systems get it.
    pub outgoing: OutgoingEvent,
}

/// An event as JSON.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventBody<'a> {
    id: &'a str,
    cell: &'a str,
    external: bool,
    schema: Option<&'a str>,
    subject: Option<&'a str>,
    r#type: Option<&'a str>,
    object: Option<&'a str>,
    info: Option<&'a str>,
    request_key: Option<&'a str>,
    event_id: Option<&'a str>,
    timestamp: i64,
}

/// Whether events of the unit of this type are published: those of changes are.
pub(super) fn is_change(kind: &str) -> bool {
    !READING.iter().any(|reading| kind.ends_with(reading))
}

/// Whether an event is published.
pub(super) fn is_published(event: &Event) -> bool {
    event.external || event.kind.as_deref().is_some_and(is_change)
}

/// Encodes an event as it waits. Its object must be an `http(s)` URL.
pub(super) fn encode(event: &Event, now_ms: i64) -> Result<Vec<u8>> {
    let mut event = event.clone();
    if !event.external {
        // A query of a request may have secrets of its client.
        event.info = event.info.map(|info| without_query(&info));
    }
    let entry = OutboxEntry {
        event,
        kind: RequestKind::Publish,
        target: String::new(),
        at_ms: now_ms,
        attempts: Attempts {
            first_ms: now_ms,
            ..Attempts::default()
        },
    };
    entry.encode()
}

fn without_query(info: &str) -> String {
    info.split_once('?')
        .map_or(info, |(before, _)| before)
        .to_owned()
}

/// The oldest events of a cell that wait to be published, in the order of their commits.
///
/// # Errors
/// A failure of the store.
pub async fn list(unit: &Unit, context: &CellContext, max: usize) -> Result<Vec<WaitingEvent>> {
    let range = KeyRange::prefix(&keys::published_events_prefix());
    let found = context
        .records()
        .list::<StoredOutboxEntry>(&range, Direction::Up, max)
        .await?;
    let cell = context.cell().id;
    let cell_url = unit.urls().cell(&context.cell().name);
    let waiting = found.into_iter().map(|(key, stored)| {
        let entry = OutboxEntry::from(stored.value);
        let outgoing = outgoing(&key, &entry, (&cell, &cell_url))?;
        Ok(WaitingEvent {
            key,
            entry,
            outgoing,
        })
    });
    waiting.collect()
}

fn outgoing(key: &Key, entry: &OutboxEntry, (cell, url): (&CellId, &str)) -> Result<OutgoingEvent> {
    let (seq, number) = keys::numbers_of_published_event(key).unwrap_or_default();
    let id = format!("{cell}-{seq:016x}-{number:08x}");
    let event = &entry.event;
    let body = EventBody {
        id: &id,
        cell: url,
        external: event.external,
        schema: event.schema.as_deref().filter(|schema| !schema.is_empty()),
        subject: event.subject.as_deref(),
        r#type: event.kind.as_deref(),
        object: event.object.as_deref(),
        info: event.info.as_deref(),
        request_key: event.request_key.as_deref(),
        event_id: event.id.as_deref(),
        timestamp: entry.attempts.first_ms,
    };
    let body = serde_json::to_vec(&body).map_err(personium_types::Error::internal)?;
    Ok(OutgoingEvent {
        cell: url.to_owned(),
        kind: event.kind.clone().unwrap_or_default(),
        body: body.into(),
        id,
    })
}

/// The number of events of a cell that wait to be published.
///
/// # Errors
/// A failure of the store.
pub async fn count(records: &Records) -> Result<u64> {
    let count = records.counter(&keys::published_count()).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Removes events that were published, and the one that was set aside, if there is one, which is kept with the reason among the
/// requests that were given up. `false` if the server node does not own the outbox of the cell any more; then all are left.
///
/// # Errors
/// A failure of the store.
pub async fn conclude(
    unit: &Unit,
    context: &CellContext,
    published: &[WaitingEvent],
    set_aside: Option<(&WaitingEvent, &str)>,
    node: &ServerNodeId,
) -> Result<bool> {
    let records = context.records();
    let is_owner = unit
        .transact(context, Invalidation::None, || async {
            let mut batch = Batch::new();
            if !outbox_owner::assert_owner(records, node, &mut batch).await? {
                return Ok((Batch::new(), false));
            }
            let mut removed = 0;
            let aside = set_aside.map(|(event, _)| event);
            for event in published.iter().chain(aside) {
                batch.assert(event.key.clone(), Expect::Present);
                batch.delete(event.key.clone());
                removed += 1;
            }
            batch.add(keys::published_count(), -removed);
            if let Some((event, reason)) = set_aside {
                let letter = DeadLetter {
                    rule: keys::PUBLISHED.to_owned(),
                    entry: event.entry.clone(),
                    outcome: reason.to_owned(),
                    given_up_ms: unit.now_ms(),
                };
                dead_letter::add(unit, records, &mut batch, &[letter]).await?;
            }
            Ok((batch, true))
        })
        .await?;
    if is_owner {
        unit.event_bus().note_published(published.len() as u64);
        if set_aside.is_some() {
            unit.event_bus().note_set_aside();
        }
    }
    Ok(is_owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_of_changes_and_of_clients_are_published() {
        let of = |external, kind: &str| {
            let kind = Some(kind.to_owned());
            is_published(&Event {
                external,
                kind,
                ..Event::internal()
            })
        };
        for kind in [
            "odata.create",
            "davfile.update",
            "cell.acl",
            "timer.oneshot",
        ] {
            assert!(of(false, kind), "{kind}");
        }
        for kind in [
            "odata.get",
            "cellctl.Role.links.Account.list",
            "box.propfind",
        ] {
            assert!(!of(false, kind) && of(true, kind), "{kind}");
        }
        assert!(!is_published(&Event::internal()));
    }

    #[test]
    fn query_of_a_request_is_left_out() {
        let info = "201,https://unit.example/c/b/o/E?access_token=secret";
        assert_eq!(without_query(info), "201,https://unit.example/c/b/o/E");
        assert_eq!(without_query("204"), "204");
    }
}
