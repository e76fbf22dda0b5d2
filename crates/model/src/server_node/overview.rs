//! The server nodes of a unit, as operators see them.

use personium_store::{CommitSeq, Record};
use personium_types::{Result, ServerNodeId};

use super::ServerNodeInfo;
use crate::records::{self, Records};
use crate::server_node_state::NodeCounts;
use crate::{Unit, keys};

/// The largest number of server nodes that are looked at.
pub(super) const NODES_MAX: usize = 1_000;

/// A server node that runs, or that was not found dead yet.
#[derive(Debug, Clone)]
pub struct ListedNode {
    /// Its id.
    pub id: ServerNodeId,
    /// The version of its record: it changes with each renewal.
    pub version: CommitSeq,
    /// The properties in its record.
    pub info: ServerNodeInfo,
}

/// The server nodes of the unit with these records.
///
/// # Errors
/// A failure of the store.
pub async fn list(unit: &Records) -> Result<Vec<ListedNode>> {
    let found = unit.list_records(&keys::server_nodes(), NODES_MAX).await?;
    let listed = found.into_iter().filter_map(|(key, record)| {
        let id = keys::id_of_server_node(&key)?;
        let version = record.version;
        let info = records::decode(&record.value);
        Some(info.map(|info| ListedNode { id, version, info }))
    });
    listed.collect()
}

impl Unit {
    /// The server nodes that this process saw last, itself included.
    #[must_use]
    pub fn node_counts(&self) -> NodeCounts {
        if self.store().is_shared() {
            return self.server_node().counts.lock().clone();
        }
        let version = self.server_node().info.lock().version.clone();
        NodeCounts {
            versions: [(version, 1)].into(),
            with_other_settings: 0,
        }
    }
}

/// Counts the server nodes that were found.
pub(super) fn count(unit: &Unit, found: &[(ServerNodeId, Record)]) -> Result<()> {
    let own = unit.node_info();
    let mut counts = NodeCounts::default();
    for (_, record) in found {
        let other: ServerNodeInfo = records::decode(&record.value)?;
        counts.with_other_settings += u64::from(!own.different_settings(&other).is_empty());
        *counts.versions.entry(other.version).or_default() += 1;
    }
    *unit.server_node().counts.lock() = counts;
    Ok(())
}
