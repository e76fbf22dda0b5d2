//! Locates the target of a path below a box, with the access control lists that decide about it.

use std::sync::Arc;

use personium_store::{Batch, CommitSeq, Expect, Key};
use personium_types::{Need, NodeId, Operation, Result};

use crate::access::{BoxTarget, PermitTarget};
use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Node, NodeKind};
use crate::records::Versioned;
use crate::{Access, Acl, BoxInfo, CellContext, Permit, UnitUrls};

/// A node of a path, with its key.
#[derive(Debug, Clone)]
pub struct Located {
    /// The node and the version of its record; 0 for a box or cell node that is not stored yet.
    pub node: Arc<Versioned<Node>>,
    /// The key of its record.
    pub key: Key,
    /// The node that it is a member of; `None` for the root of a box.
    pub parent: Option<NodeId>,
    /// Its name; empty for the root of a box.
    pub name: String,
}

impl Located {
    /// The stored node.
    #[must_use]
    pub fn value(&self) -> &Node {
        &self.node.value
    }

    /// The version of its record, as [`crate::records::put_checked`] wants it: `None` if it is not stored yet.
    #[must_use]
    pub fn record_version(&self) -> Option<CommitSeq> {
        (self.node.version > 0).then_some(self.node.version)
    }
}

/// The target of a path below a box.
///
/// `found` begins with the root of the box and ends with the deepest node that exists, or with the first that has no nodes as
/// members (a file, an OData or stream collection, or a service collection but for its sources). `rest` are the segments
/// after it: empty if the path leads to a node.
#[derive(Clone)]
pub struct Target {
    /// The cell.
    pub context: Arc<CellContext>,
    /// The box.
    pub target_box: Arc<BoxInfo>,
    root: Located,
    found: Vec<Located>,
    /// The segments that no node stands for.
    pub rest: Vec<String>,
    cell_acl: Arc<Versioned<Node>>,
}

impl Target {
    /// The deepest node that was found.
    #[must_use]
    pub fn node(&self) -> &Located {
        self.found.last().unwrap_or(&self.root)
    }

    /// The nodes along the path, the root of the box first.
    #[must_use]
    pub fn found(&self) -> &[Located] {
        &self.found
    }

    /// The collection that holds the deepest node; `None` if that is the root of the box.
    #[must_use]
    pub fn parent(&self) -> Option<&Located> {
        self.found
            .len()
            .checked_sub(2)
            .and_then(|i| self.found.get(i))
    }

    /// Whether the whole path was found.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.rest.is_empty()
    }

    /// The access control lists of the first nodes along the path, the last of them first, and that of the cell.
    fn acls_from(&self, depth: usize) -> impl Iterator<Item = &Acl> + Clone {
        let nodes = self.found.get(..depth).unwrap_or(&self.found);
        nodes
            .iter()
            .rev()
            .map(|l| &l.node.value.acl)
            .chain(std::iter::once(&self.cell_acl.value.acl))
    }

    /// Adds to a batch the assertions that the box and the nodes of the path, including the deepest one, are unchanged: so
    /// nothing is changed below a node that was deleted, moved or protected meanwhile.
    pub fn assert_found(&self, batch: &mut Batch) {
        self.assert_nodes(batch, &self.found);
    }

    /// As [`Self::assert_found`], without the deepest node, which the caller changes.
    pub fn assert_ancestors(&self, batch: &mut Batch) {
        let above = self.found.len().saturating_sub(1);
        self.assert_nodes(batch, self.found.get(..above).unwrap_or_default());
    }

    fn assert_nodes(&self, batch: &mut Batch, nodes: &[Located]) {
        if !self.target_box.is_main() {
            let set = SetKey::control(ControlSet::Box);
            let key = keys::entity(&set, &self.target_box.id.to_string());
            batch.assert(key, Expect::Present);
        }
        for node in nodes {
            batch.assert(
                node.key.clone(),
                node.record_version()
                    .map_or(Expect::Absent, Expect::Version),
            );
        }
    }

    /// Whether the deepest node is the source collection of a service.
    #[must_use]
    pub fn is_service_source(&self) -> bool {
        self.parent()
            .is_some_and(|p| p.value().kind == NodeKind::Service)
    }

    /// Whether the deepest node lies in the source collection of a service, that collection not included.
    #[must_use]
    pub fn is_in_service_source(&self) -> bool {
        let above = self.found.len().saturating_sub(2);
        self.found
            .get(..above)
            .unwrap_or_default()
            .iter()
            .any(|n| n.value().kind == NodeKind::Service)
    }

    /// Checks that a request may do an operation to the deepest node, and returns the permit. For an operation that needs a
    /// privilege on the parent, the lists of the parent of the deepest node decide if the whole path was found, else those of
    /// the deepest node.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the code of invalid credentials; the code of the first check that fails: of the application, the
    /// privilege or the scope.
    ///
    /// [`Code::AuthRequired`]: personium_types::Code::AuthRequired
    pub fn permit(&self, urls: &UnitUrls, access: &Access, operation: Operation) -> Result<Permit> {
        let depth = match operation.need() {
            Need::OnParent(_) if self.exists() => self.found.len().saturating_sub(1).max(1),
            _ => self.found.len(),
        };
        let target = BoxTarget {
            cell: self.context.cell(),
            target_box: &self.target_box,
            acls: self.acls_from(depth),
            node: self.node().value().id,
        };
        access.permit_box(urls, &target, operation)
    }

    /// The target of a permit for the deepest node.
    #[must_use]
    pub fn permit_target(&self) -> PermitTarget {
        PermitTarget::Node {
            cell: self.context.cell().id,
            node: self.node().value().id,
        }
    }
}

/// Locates the target of a path below a box. `segments` are decoded and not empty.
///
/// # Errors
/// A failure of the store.
pub async fn locate(
    context: &Arc<CellContext>,
    target_box: &Arc<BoxInfo>,
    segments: &[String],
) -> Result<Target> {
    let root = context.box_node(target_box).await?;
    let root = Located {
        node: root,
        key: keys::box_node(&target_box.id),
        parent: None,
        name: String::new(),
    };
    let mut found = vec![root.clone()];
    let mut used = 0;
    let mut parent = target_box.id;
    let mut kind = NodeKind::Box;
    for name in segments {
        let has_nodes = match kind {
            NodeKind::Box | NodeKind::Collection => true,
            NodeKind::Service => name == crate::node::SERVICE_SOURCE,
            NodeKind::Cell | NodeKind::Odata | NodeKind::Stream | NodeKind::File => false,
        };
        if !has_nodes {
            break;
        }
        let Some(next) = child(context, &parent, name).await? else {
            break;
        };
        parent = next.node.value.id;
        kind = next.node.value.kind;
        found.push(next);
        used += 1;
    }
    let rest = segments.get(used..).unwrap_or_default().to_vec();
    let cell_acl = context.cell_node().await?;
    Ok(Target {
        context: Arc::clone(context),
        target_box: Arc::clone(target_box),
        root,
        found,
        rest,
        cell_acl,
    })
}

/// The largest size of the properties of a collection that is cached.
const CACHED_PROPERTIES_MAX_BYTES: usize = 16 << 10;

fn is_small(node: &Node) -> bool {
    let texts = node.properties.values();
    texts.map(String::len).sum::<usize>() <= CACHED_PROPERTIES_MAX_BYTES
}

/// The member of a collection with this name.
///
/// # Errors
/// A failure of the store.
pub async fn child(context: &CellContext, parent: &NodeId, name: &str) -> Result<Option<Located>> {
    let cache_key = format!("node/{parent}/{name}");
    let key = keys::node(parent, name);
    let node = match context.get_cached::<Versioned<Node>>(&cache_key) {
        Some(node) => node,
        None => match context.records().find::<Node>(&key).await? {
            // Changes of files do not invalidate the context, so only collections are cached, and no large ones.
            Some(node) if node.value.kind != NodeKind::File && is_small(&node.value) => {
                context.insert_cached(cache_key, node)
            }
            Some(node) => Arc::new(node),
            None => return Ok(None),
        },
    };
    Ok(Some(Located {
        node,
        key,
        parent: Some(*parent),
        name: name.to_owned(),
    }))
}
