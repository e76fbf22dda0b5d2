//! Work that begins with a batch in a cell: its claim is put before, and seen by those who would remove it.

use std::sync::Arc;

use personium_store::{Batch, Expect, Key};
use personium_types::{CellId, Result, ServerNodeId};

use crate::server_node_state::KeyInUse;
use crate::{Unit, keys};

/// The claim of work that a batch in a cell will begin. Until the batch is committed or dropped, this process does not remove
/// the claim.
#[derive(Debug, Clone)]
pub struct WorkMark {
    in_use: Arc<KeyInUse>,
    /// The server node that claimed it.
    pub node: ServerNodeId,
    takeover: Expect,
}

impl WorkMark {
    /// Adds to the batch in the cell that no work in the cell was taken over since the claim. Without it, a batch that comes late
    /// could begin work after its claim was taken over, found to be without work, and removed.
    pub fn assert_in(&self, batch: &mut Batch) {
        batch.assert(keys::takeover(), self.takeover);
    }

    /// Ends the mark: the batch was committed or refused.
    pub(crate) fn end(&self) {
        self.in_use.end();
    }
}

impl Unit {
    /// Claims work that a batch in a cell will begin.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn begin_work(&self, cell: &CellId, key: Key) -> Result<WorkMark> {
        let found = self
            .cell_records(cell)
            .find_version(&keys::takeover())
            .await?;
        let takeover = found.map_or(Expect::Absent, Expect::Version);
        self.begin_work_after(takeover, key).await
    }

    /// As [`Self::begin_work`], for a caller that has read the state of [`keys::takeover`] in the cell.
    pub(crate) async fn begin_work_after(&self, takeover: Expect, key: Key) -> Result<WorkMark> {
        let in_use = Arc::new(KeyInUse::new(&self.server_node().marks, key));
        let claim = self.put_claim(in_use.key(), b"").await?;
        let node = match claim.owner {
            Some(node) => node,
            None => self.register_node().await?,
        };
        Ok(WorkMark {
            in_use,
            node,
            takeover,
        })
    }

    /// Whether a batch that begins work with this claim may be on its way. Whoever wants to remove the claim reads its version
    /// first, then asks this, then looks for work.
    pub(crate) fn is_marked(&self, key: &Key) -> bool {
        self.server_node().marks.contains(key)
    }

    /// Notes that this process does the work of a claim until the result is dropped.
    #[must_use]
    pub fn activate(&self, key: Key) -> KeyInUse {
        KeyInUse::new(&self.server_node().active, key)
    }

    /// Whether this process does the work of a claim.
    #[must_use]
    pub fn is_active(&self, key: &Key) -> bool {
        self.server_node().active.contains(key)
    }
}
