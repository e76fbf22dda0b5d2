//! The server node that sends the requests of a cell: the owner of its outbox.
//!
//! A record of the cell names the owner. The batch of an event that stores requests asserts it, or makes its own server node the
//! owner if there is none; so requests are never stored in an outbox that nobody owns, and a late batch of a former owner is
//! refused.

use personium_store::{Batch, Expect};
use personium_types::{CellId, Result, ServerNodeId};

use crate::records::{self, Records};
use crate::server_node::WorkMark;
use crate::{Unit, keys};

/// The state of an outbox that a batch with new requests depends on.
pub(crate) struct OutboxState {
    /// The number of requests that wait.
    pub waiting: i64,
    owner: Option<(ServerNodeId, Expect)>,
    takeover: Expect,
}

/// The owner of an outbox, as a batch asserts or makes it.
pub(crate) struct OutboxOwner {
    /// The owner.
    pub node: ServerNodeId,
    /// The claim, if the batch makes this process the owner.
    pub mark: Option<WorkMark>,
}

impl OutboxState {
    /// Reads the state of the outbox of a cell.
    pub(crate) async fn read(cell: &Records) -> Result<Self> {
        let wanted = [keys::outbox_count(), keys::outbox_owner(), keys::takeover()];
        let mut found = cell.find_records(&wanted).await?.into_iter();
        let mut next = || found.next().flatten();
        let waiting = next().map_or(0, |record| records::count_of(&record.value));
        let owner = next().map(|record| (owner_id(&record.value), Expect::Version(record.version)));
        let takeover = next().map_or(Expect::Absent, |record| Expect::Version(record.version));
        Ok(Self {
            waiting,
            owner,
            takeover,
        })
    }

    /// Adds to a batch with new requests that the owner stays the same. Without an owner, this process becomes it.
    pub(crate) async fn add_owner(
        self,
        unit: &Unit,
        cell: &CellId,
        batch: &mut Batch,
    ) -> Result<OutboxOwner> {
        let key = keys::outbox_owner();
        if let Some((node, unchanged)) = self.owner {
            batch.assert(key, unchanged);
            return Ok(OutboxOwner { node, mark: None });
        }
        let marker = keys::outbox_marker(cell);
        let mark = unit.begin_work_after(self.takeover, marker).await?;
        mark.assert_in(batch);
        batch.assert(key.clone(), Expect::Absent);
        batch.put(key, mark.node.as_bytes().to_vec());
        Ok(OutboxOwner {
            node: mark.node,
            mark: Some(mark),
        })
    }
}

/// The server node in the record of an owner. One that cannot be read is like one that is dead.
fn owner_id(value: &[u8]) -> ServerNodeId {
    ServerNodeId::from_bytes(value.try_into().unwrap_or_default())
}

/// The owner of the outbox of a cell, and the state of the record that names it.
pub(crate) async fn find_owner(cell: &Records) -> Result<(Option<ServerNodeId>, Expect)> {
    let found = cell.find_records(&[keys::outbox_owner()]).await?;
    Ok(match found.into_iter().next().flatten() {
        Some(record) => (
            Some(owner_id(&record.value)),
            Expect::Version(record.version),
        ),
        None => (None, Expect::Absent),
    })
}

/// Adds to a batch that the server node owns the outbox. `false` if it does not.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn assert_owner(
    cell: &Records,
    node: &ServerNodeId,
    batch: &mut Batch,
) -> Result<bool> {
    let (owner, unchanged) = find_owner(cell).await?;
    batch.assert(keys::outbox_owner(), unchanged);
    Ok(owner == Some(*node))
}
