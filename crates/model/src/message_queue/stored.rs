//! The stored forms of messages.

use bytes::Bytes;
use personium_store::Message;
use personium_types::ServerNodeId;
use serde::{Deserialize, Serialize};

/// A message of a queue without its content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredQueuedMessage {
    /// The URL of the cell that sent it.
    #[serde(rename = "f")]
    pub(super) from: String,
    /// When it was sent, milliseconds since 1970.
    #[serde(rename = "t")]
    pub(super) sent_ms: i64,
    /// When it expires, milliseconds since 1970.
    #[serde(rename = "x")]
    pub(super) expires_ms: i64,
    /// The size of its content in bytes.
    #[serde(rename = "n")]
    pub(super) bytes: u64,
    /// The server node that has delivered it and waits for the acknowledgement.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<String>,
}

impl StoredQueuedMessage {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            from: message.from.clone(),
            sent_ms: message.sent_ms,
            expires_ms: message.expires_ms,
            bytes: message.body.len() as u64,
            lease: None,
        }
    }

    pub(super) fn into_message(self, body: Bytes) -> Message {
        Message {
            from: self.from,
            body,
            sent_ms: self.sent_ms,
            expires_ms: self.expires_ms,
        }
    }

    /// The same message, delivered by a server node.
    pub(super) fn leased_by(&self, node: &ServerNodeId) -> Self {
        Self {
            lease: Some(node.to_string()),
            ..self.clone()
        }
    }
}

/// A message of a topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredTopicMessage {
    /// The URL of the cell that sent it.
    #[serde(rename = "f")]
    pub(super) from: String,
    /// When it was sent, milliseconds since 1970.
    #[serde(rename = "t")]
    pub(super) sent_ms: i64,
    /// When it expires, milliseconds since 1970.
    #[serde(rename = "x")]
    pub(super) expires_ms: i64,
    /// Its content.
    #[serde(rename = "b")]
    pub(super) body: String,
}

impl StoredTopicMessage {
    pub(super) fn into_message(self) -> Message {
        Message {
            from: self.from,
            body: self.body.into(),
            sent_ms: self.sent_ms,
            expires_ms: self.expires_ms,
        }
    }
}
