//! Guards against the removal of an OData collection while its data or schema is changed.

use personium_store::{Batch, CommitSeq, Expect, Key};
use personium_types::{Code, Error, NodeId, Result};

use crate::locate::Located;
use crate::node::Node;
use crate::records::Records;

/// The record of an OData collection as it was read. While it is unchanged, the collection was neither removed nor
/// moved.
#[derive(Debug, Clone)]
pub(super) struct CollectionGuard {
    name: String,
    key: Key,
    id: NodeId,
    version: CommitSeq,
}

impl CollectionGuard {
    pub fn new(found: &Located) -> Self {
        Self {
            name: found.name.clone(),
            key: found.key.clone(),
            id: found.value().id,
            version: found.node.version,
        }
    }

    /// Adds to a batch that the collection is unchanged.
    pub fn assert(&self, batch: &mut Batch) {
        batch.assert(self.key.clone(), Expect::Version(self.version));
    }

    /// Returns the guard of the collection as it is stored now.
    ///
    /// # Errors
    /// [`Code::NoSuchResource`] if it was removed or moved; failures of the store.
    pub async fn reloaded(self, records: &Records) -> Result<Self> {
        let found = records.find::<Node>(&self.key).await?;
        match found.filter(|node| node.value.id == self.id) {
            Some(node) => Ok(Self {
                version: node.version,
                ..self
            }),
            None => Err(Error::new(Code::NoSuchResource).with(self.name)),
        }
    }
}
