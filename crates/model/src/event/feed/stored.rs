//! The stored form of the events of a feed.

use std::sync::OnceLock;

use personium_store::Key;
use personium_types::Result;
use serde::{Deserialize, Serialize};

use super::super::record::Event;
use crate::event_feed::{FeedEvent, FeedPosition};
use crate::{keys, records};

/// A record of the feed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredFeedRecord {
    /// When it was posted, milliseconds since 1970.
    #[serde(rename = "t")]
    pub(super) at: i64,
    /// The event. Without one it only marks where a server node began to listen.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    event: Option<StoredFeedEvent>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFeedEvent {
    #[serde(rename = "x")]
    external: bool,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    info: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    request_key: Option<String>,
}

/// Encodes an event that is posted at this time. Its object must be an `http(s)` URL.
pub(super) fn encode(event: &Event, at: i64) -> Result<Vec<u8>> {
    let event = event.clone();
    records::encode(&StoredFeedRecord {
        at,
        event: Some(StoredFeedEvent {
            external: event.external,
            schema: event.schema.filter(|schema| !schema.is_empty()),
            subject: event.subject,
            kind: event.kind,
            object: event.object,
            info: event.info,
            request_key: event.request_key,
        }),
    })
}

/// Encodes a record that marks where a server node began to listen.
pub(super) fn encode_mark(at: i64) -> Result<Vec<u8>> {
    records::encode(&StoredFeedRecord { at, event: None })
}

/// The position of a record of the feed.
pub(super) fn position_of(key: &Key, at: i64) -> Option<FeedPosition> {
    let (seq, number) = keys::numbers_of_feed_event(key)?;
    Some(FeedPosition { seq, number, at })
}

/// The key of the record at a position.
pub(super) fn key_at(position: &FeedPosition) -> Key {
    keys::feed_event(position.seq, position.number)
}

impl StoredFeedRecord {
    /// The event at a position, if it is one.
    pub(super) fn into_event(self, position: FeedPosition) -> Option<FeedEvent> {
        let event = self.event?;
        Some(FeedEvent {
            position,
            external: event.external,
            schema: event.schema,
            subject: event.subject,
            kind: event.kind,
            object: event.object,
            info: event.info,
            request_key: event.request_key,
            text: OnceLock::new(),
        })
    }
}
