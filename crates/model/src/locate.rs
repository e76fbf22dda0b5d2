//! Locates the target of a path below a box, with the access control lists that decide about it.

use std::sync::Arc;

use personium_store::{Batch, CommitSeq, Expect, Key, Record};
use personium_types::{Need, NodeId, Operation, Result};

use crate::access::{BoxTarget, PermitTarget, SnapshotTarget};
use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Node, NodeKind};
use crate::records::{self, Versioned};
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

/// The record that is read in the same call as a node of a path, because the request probably needs it next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefetch {
    /// Nothing.
    #[default]
    Nothing,
    /// The body of a small file, if it is known where it was when the file was last seen.
    InlineBody,
    /// The number of members of the collection.
    MemberCount,
}

/// A record that was read together with a node, or its absence.
#[derive(Debug, Clone)]
struct PrefetchedRecord {
    key: Key,
    record: Option<Record>,
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
    prefetched: Option<PrefetchedRecord>,
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

    /// The record of a key, if it was read together with the deepest node: from the same snapshot.
    pub(crate) fn prefetched(&self, key: &Key) -> Option<Option<&Record>> {
        let prefetched = self.prefetched.as_ref().filter(|found| found.key == *key)?;
        Some(prefetched.record.as_ref())
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
        if !self.target_box.is_main() && !self.target_box.is_snapshot_folder() {
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

    /// The box that role URLs in lists are relative to: the main box for what is in no box.
    #[must_use]
    pub fn role_box(&self) -> Arc<BoxInfo> {
        match self.target_box.is_snapshot_folder() {
            true => self.context.main_box(),
            false => Arc::clone(&self.target_box),
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
        if self.target_box.is_snapshot_folder() {
            let target = SnapshotTarget {
                cell: self.context.cell(),
                acl: &self.cell_acl.value.acl,
                node: self.node().value().id,
            };
            return access.permit_snapshots(urls, &target, operation);
        }
        let depth = match operation.need() {
            Need::OnParent(_) if self.exists() => self.found.len().saturating_sub(1).max(1),
            _ => self.found.len(),
        };
        let target = BoxTarget {
            cell: self.context.cell(),
            target_box: &self.target_box,
            acls: self.acls_from(depth),
            own_level: self.found.last().and_then(|n| n.value().acl.schema_level),
            node: self.node().value().id,
        };
        access.permit_box(urls, &target, operation)
    }

    /// Checks that a request may do an operation to the cell of the target, and returns the permit.
    ///
    /// # Errors
    /// As [`Access::permit_cell`].
    pub(crate) fn permit_cell(
        &self,
        urls: &UnitUrls,
        access: &Access,
        operation: Operation,
    ) -> Result<Permit> {
        let cell = self.context.cell();
        access.permit_cell(urls, cell, &self.cell_acl.value.acl, operation)
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
    locate_with(context, target_box, segments, Prefetch::Nothing).await
}

/// As [`locate`], and reads what the request probably needs next.
///
/// # Errors
/// A failure of the store.
pub async fn locate_with(
    context: &Arc<CellContext>,
    target_box: &Arc<BoxInfo>,
    segments: &[String],
    prefetch: Prefetch,
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
    let mut prefetched = None;
    for name in segments {
        let has_nodes = match kind {
            NodeKind::Box | NodeKind::Collection => true,
            NodeKind::Service => name == crate::node::SERVICE_SOURCE,
            NodeKind::Cell | NodeKind::Odata | NodeKind::Stream | NodeKind::File => false,
        };
        if !has_nodes {
            break;
        }
        let (next, read_with_it) = child_with(context, &parent, name, prefetch).await?;
        prefetched = read_with_it;
        let Some(next) = next else {
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
        prefetched,
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
    let (found, _) = child_with(context, parent, name, Prefetch::Nothing).await?;
    Ok(found)
}

/// As [`child`], with the record that was read in the same call.
async fn child_with(
    context: &CellContext,
    parent: &NodeId,
    name: &str,
    prefetch: Prefetch,
) -> Result<(Option<Located>, Option<PrefetchedRecord>)> {
    let cache_key = format!("node/{parent}/{name}");
    let key = keys::node(parent, name);
    let mut prefetched = None;
    let node = match context.get_cached::<Versioned<Node>>(&cache_key) {
        Some(node) => Some(node),
        None => {
            let node;
            (node, prefetched) = read_node(context, parent, &key, prefetch).await?;
            node.map(|node| match node.value.kind {
                // Changes of files do not invalidate the context, so only collections are cached, and no large ones.
                NodeKind::File => Arc::new(node),
                _ if !is_small(&node.value) => Arc::new(node),
                _ => context.insert_cached(cache_key, node),
            })
        }
    };
    let located = node.map(|node| Located {
        node,
        key,
        parent: Some(*parent),
        name: name.to_owned(),
    });
    Ok((located, prefetched))
}

/// Reads a node, and in the same call what is probably needed next.
async fn read_node(
    context: &CellContext,
    parent: &NodeId,
    key: &Key,
    prefetch: Prefetch,
) -> Result<(Option<Versioned<Node>>, Option<PrefetchedRecord>)> {
    let also = match prefetch {
        Prefetch::Nothing => None,
        Prefetch::InlineBody => context
            .body_hints()
            .find(key)
            .map(|body| keys::inline_body(&body)),
        Prefetch::MemberCount => Some(keys::child_count(parent)),
    };
    let wanted: Vec<Key> = std::iter::once(key.clone()).chain(also.clone()).collect();
    let mut found = context.records().find_records(&wanted).await?.into_iter();
    let node = match found.next().flatten() {
        None => None,
        Some(record) => Some(Versioned {
            value: records::decode::<Node>(&record.value)?,
            version: record.version,
            bytes: record.value.len(),
        }),
    };
    let prefetched = also.map(|key| PrefetchedRecord {
        key,
        record: found.next().flatten(),
    });
    Ok((node, prefetched))
}
