//! The stored form of outbox entries. The names of members are stored: never change one.

use serde::{Deserialize, Serialize};

use super::{Attempts, OutboxEntry, RequestKind};
use crate::event::chain::RuleChain;
use crate::event::record::Event;

/// The stored form of an [`OutboxEntry`].
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::event) struct StoredOutboxEntry {
    #[serde(rename = "e")]
    event: StoredEvent,
    #[serde(rename = "k")]
    kind: StoredRequestKind,
    #[serde(rename = "t")]
    target: String,
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    at_ms: i64,
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    attempts: u32,
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    first_ms: i64,
    #[serde(rename = "x", default, skip_serializing_if = "is_zero")]
    next_ms: i64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// The stored form of an [`Event`].
#[derive(Debug, Serialize, Deserialize)]
struct StoredEvent {
    #[serde(rename = "e")]
    external: bool,
    #[serde(rename = "s", default)]
    schema: Option<String>,
    #[serde(rename = "u", default)]
    subject: Option<String>,
    #[serde(rename = "a", default)]
    account: Option<String>,
    #[serde(rename = "t", default)]
    kind: Option<String>,
    #[serde(rename = "o", default)]
    object: Option<String>,
    #[serde(rename = "i", default)]
    info: Option<String>,
    #[serde(rename = "k", default)]
    request_key: Option<String>,
    #[serde(rename = "n", default)]
    id: Option<String>,
    #[serde(rename = "h", default)]
    hops: Option<u32>,
    #[serde(rename = "c", default, skip_serializing_if = "is_zero")]
    claimed: u32,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    proofs: Vec<String>,
    #[serde(rename = "v", default)]
    via: Option<String>,
    #[serde(rename = "r", default)]
    roles: Vec<String>,
}

/// The stored form of a [`RequestKind`].
#[derive(Debug, Serialize, Deserialize)]
enum StoredRequestKind {
    Exec,
    Relay,
    RelayEvent,
    RelayData,
    Publish,
}

impl From<&OutboxEntry> for StoredOutboxEntry {
    fn from(entry: &OutboxEntry) -> Self {
        Self {
            event: StoredEvent::from(entry.event.clone()),
            kind: match entry.kind {
                RequestKind::Exec => StoredRequestKind::Exec,
                RequestKind::Relay => StoredRequestKind::Relay,
                RequestKind::RelayEvent => StoredRequestKind::RelayEvent,
                RequestKind::RelayData => StoredRequestKind::RelayData,
                RequestKind::Publish => StoredRequestKind::Publish,
            },
            target: entry.target.clone(),
            at_ms: entry.at_ms,
            attempts: entry.attempts.count,
            first_ms: entry.attempts.first_ms,
            next_ms: entry.attempts.next_ms,
        }
    }
}

impl From<StoredOutboxEntry> for OutboxEntry {
    fn from(stored: StoredOutboxEntry) -> Self {
        Self {
            event: stored.event.into(),
            kind: match stored.kind {
                StoredRequestKind::Exec => RequestKind::Exec,
                StoredRequestKind::Relay => RequestKind::Relay,
                StoredRequestKind::RelayEvent => RequestKind::RelayEvent,
                StoredRequestKind::RelayData => RequestKind::RelayData,
                StoredRequestKind::Publish => RequestKind::Publish,
            },
            target: stored.target,
            at_ms: stored.at_ms,
            attempts: Attempts {
                count: stored.attempts,
                first_ms: stored.first_ms,
                next_ms: stored.next_ms,
            },
        }
    }
}

impl From<Event> for StoredEvent {
    fn from(event: Event) -> Self {
        let Event {
            external,
            schema,
            subject,
            account,
            kind,
            object,
            info,
            request_key,
            id,
            chain,
            via,
            roles,
        } = event;
        Self {
            external,
            schema,
            subject,
            account,
            kind,
            object,
            info,
            request_key,
            id,
            hops: Some(chain.length),
            claimed: chain.claimed,
            proofs: chain.proofs,
            via,
            roles,
        }
    }
}

impl From<StoredEvent> for Event {
    fn from(stored: StoredEvent) -> Self {
        let StoredEvent {
            external,
            schema,
            subject,
            account,
            kind,
            object,
            info,
            request_key,
            id,
            hops,
            claimed,
            proofs,
            via,
            roles,
        } = stored;
        Self {
            external,
            schema,
            subject,
            account,
            kind,
            object,
            info,
            request_key,
            id,
            // It was no number, as clients could once send it.
            chain: RuleChain {
                length: hops.unwrap_or(u32::MAX),
                claimed,
                proofs,
            },
            via,
            roles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> OutboxEntry {
        let text = |text: &str| Some(text.to_owned());
        OutboxEntry {
            event: Event {
                external: true,
                schema: text("s"),
                subject: text("u"),
                account: None,
                kind: text("t"),
                object: text("o"),
                info: text("i"),
                request_key: text("k"),
                id: text("n"),
                chain: RuleChain::of_length(2),
                via: text("v"),
                roles: vec!["r".to_owned()],
            },
            kind: RequestKind::RelayEvent,
            target: "https://u.example/c/".to_owned(),
            at_ms: 0,
            attempts: Attempts::default(),
        }
    }

    const STORED: &str = r#"{"e":{"e":true,"s":"s","u":"u","a":null,"t":"t","o":"o","i":"i","k":"k","n":"n","h":2,"v":"v","r":["r"]},"k":"RelayEvent","t":"https://u.example/c/"}"#;

    #[test]
    fn outbox_entry_is_stored_with_short_names() {
        let stored = StoredOutboxEntry::from(&entry());
        assert_eq!(serde_json::to_string(&stored).unwrap(), STORED);
    }

    #[test]
    fn stored_outbox_entry_is_read_back() {
        let stored: StoredOutboxEntry = serde_json::from_str(STORED).unwrap();
        assert_eq!(OutboxEntry::from(stored), entry());
    }

    #[test]
    fn missing_members_of_a_stored_event_are_none() {
        let stored = r#"{"e":{"e":false},"k":"Exec","t":""}"#;
        let stored: StoredOutboxEntry = serde_json::from_str(stored).unwrap();
        let expected = OutboxEntry {
            event: Event {
                chain: RuleChain::of_length(u32::MAX),
                ..Event::internal()
            },
            kind: RequestKind::Exec,
            target: String::new(),
            at_ms: 0,
            attempts: Attempts::default(),
        };
        assert_eq!(OutboxEntry::from(stored), expected);
    }

    #[test]
    fn chain_of_a_stored_event_is_read_back() {
        let mut entry = entry();
        entry.event.chain.claimed = 7;
        entry.event.chain.proofs = vec!["1.2.x".to_owned()];
        let text = serde_json::to_string(&StoredOutboxEntry::from(&entry)).unwrap();
        assert!(text.contains(r#""h":2,"c":7,"p":["1.2.x"],"v""#), "{text}");
        let stored: StoredOutboxEntry = serde_json::from_str(&text).unwrap();
        assert_eq!(OutboxEntry::from(stored), entry);
    }

    #[test]
    fn attempts_are_stored_once_there_are_some() {
        let attempts = Attempts {
            count: 2,
            first_ms: 5,
            next_ms: 9,
        };
        let entry = OutboxEntry {
            attempts,
            at_ms: 3,
            ..entry()
        };
        let text = serde_json::to_string(&StoredOutboxEntry::from(&entry)).unwrap();
        assert!(text.ends_with(r#""m":3,"n":2,"f":5,"x":9}"#), "{text}");
        let stored: StoredOutboxEntry = serde_json::from_str(&text).unwrap();
        assert_eq!(OutboxEntry::from(stored), entry);
    }
}
