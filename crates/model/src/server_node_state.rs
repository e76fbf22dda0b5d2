//! The state of this process as a server node; see [`crate::server_node`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_store::{CommitSeq, Key};
use personium_types::ServerNodeId;
use serde::{Deserialize, Serialize};

/// The properties of a server node that operators see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNodeInfo {
    /// The name of its host.
    #[serde(rename = "h")]
    pub host: String,
    /// The address on which it listens.
    #[serde(rename = "a")]
    pub address: String,
    /// The version of the program.
    #[serde(rename = "v")]
    pub version: String,
    /// The start of the process by its own clock, milliseconds since 1970.
    #[serde(rename = "s")]
    pub started_at_ms: i64,
    /// The properties that all server nodes must have in common, by name.
    #[serde(rename = "c", default)]
    pub common: BTreeMap<String, String>,
    /// The time of the last renewal by its own clock, milliseconds since 1970. Nothing is decided by it.
    #[serde(rename = "t", default)]
    pub clock_ms: i64,
    /// Digests of the settings that all server nodes should have in common, by key; only of those that are not the default.
    #[serde(rename = "n", default)]
    pub settings: BTreeMap<String, String>,
    /// Digests of the files of its plugins, by name. `None` for an earlier version, which does not state them.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<BTreeMap<String, String>>,
}

/// The state of this process as a server node, and of the others as it sees them.
#[derive(Debug, Default)]
pub(crate) struct ServerNodeState {
    pub(crate) info: Mutex<ServerNodeInfo>,
    pub(crate) registration: Mutex<Option<Registration>>,
    /// Held while the record of this process is put or removed. `true` once the process has left.
    pub(crate) changing: tokio::sync::Mutex<bool>,
    /// The end of the last look at the others.
    pub(crate) last_look: Mutex<Option<Instant>>,
    pub(crate) observed: Mutex<HashMap<ServerNodeId, Observation>>,
    pub(crate) counts: Mutex<NodeCounts>,
    /// The markers for whose work a batch is being committed.
    pub(crate) marks: Arc<KeyCounts>,
    /// The markers whose work is being done by this process.
    pub(crate) active: Arc<KeyCounts>,
}

/// The server nodes of a unit, counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NodeCounts {
    /// Their number, by the version of their program.
    pub versions: BTreeMap<String, u64>,
    /// Those with other settings than this process.
    pub with_other_settings: u64,
}

/// The record of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) id: ServerNodeId,
    /// The start of the last renewal that succeeded.
    pub(crate) renewed_at: Instant,
}

/// The version of the record of another server node, and for how long it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    pub(crate) version: CommitSeq,
    /// The time in which it was seen unchanged.
    pub(crate) unchanged: Duration,
    /// Whether operators know that its clock differs.
    pub(crate) is_clock_reported: bool,
    /// The number of renewals since its plugins differ.
    pub(crate) renewals_with_other_plugins: u32,
}

/// How many times each key is in use.
#[derive(Debug, Default)]
pub(crate) struct KeyCounts(Mutex<HashMap<Key, usize>>);

impl KeyCounts {
    fn add(&self, key: &Key) {
        *self.0.lock().entry(key.clone()).or_default() += 1;
    }

    fn remove(&self, key: &Key) {
        let mut counts = self.0.lock();
        if let Some(count) = counts.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(key);
            }
        }
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.0.lock().contains_key(key)
    }
}

/// A key that is in use until this is dropped.
#[derive(Debug)]
pub struct KeyInUse {
    counts: Arc<KeyCounts>,
    key: Key,
    is_over: AtomicBool,
}

impl KeyInUse {
    pub(crate) fn new(counts: &Arc<KeyCounts>, key: Key) -> Self {
        counts.add(&key);
        Self {
            counts: Arc::clone(counts),
            key,
            is_over: AtomicBool::new(false),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn end(&self) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.counts.remove(&self.key);
        }
    }
}

impl Drop for KeyInUse {
    fn drop(&mut self) {
        self.end();
    }
}
