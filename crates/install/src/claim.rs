//! The claim of an installation by the server node that runs it.

use personium_model::server_node::{KeyInUse, WorkMark};
use personium_model::{Unit, keys};
use personium_store::Batch;
use personium_types::{CellId, NodeId, Result, ServerNodeId};

use crate::progress::InstallationWorker;

/// The claim of an installation. As long as it is kept, this process works on it.
pub(crate) struct InstallationClaim {
    cell: CellId,
    /// The id of the installation.
    id: NodeId,
    mark: WorkMark,
    _active: KeyInUse,
}

impl InstallationClaim {
    /// Claims a new installation in a cell.
    ///
    /// # Errors
    /// Failures of the store.
    pub(crate) async fn begin(unit: &Unit, cell: &CellId) -> Result<Self> {
        let id = NodeId::random(unit.random());
        let key = keys::installation_marker(cell, Some(&id));
        let active = unit.activate(key.clone());
        Ok(Self {
            cell: *cell,
            id,
            mark: unit.begin_work(cell, key).await?,
            _active: active,
        })
    }

    /// The server node that claimed it.
    pub(crate) fn node(&self) -> &ServerNodeId {
        &self.mark.node
    }

    /// This process, as the worker of the installation.
    pub(crate) fn worker(&self) -> InstallationWorker {
        InstallationWorker {
            node: self.mark.node,
            claim: self.id,
            removes: false,
        }
    }

    /// Adds to the batch that creates the box that nobody has taken over the claim.
    pub(crate) fn assert_in(&self, batch: &mut Batch) {
        self.mark.assert_in(batch);
    }

    /// Removes the claim, unless it was taken over.
    ///
    /// # Errors
    /// Failures of the store.
    pub(crate) async fn release(&self, unit: &Unit) -> Result<()> {
        let key = keys::installation_marker(&self.cell, Some(&self.id));
        match unit.find_claim(&key).await? {
            Some(claim) if claim.owner == Some(self.mark.node) => {
                unit.release_claim(&claim).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}
