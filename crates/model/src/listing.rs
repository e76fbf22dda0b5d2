//! The members of a collection, page by page.

use personium_store::{Direction, KeyRange, Limit};
use personium_types::{NodeId, Result};

use crate::keys;
use crate::locate::Target;
use crate::node::{Node, NodeKind};
use crate::records::Records;

/// The limits of one page: 64 members, or 128 KiB of properties and access control lists.
const PAGE_LIMIT: Limit = Limit::records(64).or_bytes(128 << 10);

/// Reads the members of a collection in the order of their names. Those that are added or removed meanwhile may or may not be
/// among them.
#[derive(Clone)]
pub struct Members {
    records: Records,
    rest: Option<KeyRange>,
    prefix: usize,
}

/// A member with its name.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The node.
    pub node: Node,
}

impl Members {
    /// The members of a node. OData collections, stream collections and files have none.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let node = target.node().value();
        let mut all = Self::of_collection(target.context.records().clone(), &node.id);
        if !target.exists() || !has_members(node) {
            all.rest = None;
        }
        all
    }

    /// The members of one of these members; `None` if it is of a kind that has none.
    #[must_use]
    pub fn below(&self, member: &Node) -> Option<Self> {
        has_members(member).then(|| Self::of_collection(self.records.clone(), &member.id))
    }

    /// Whether there are at most so many resources among the members that were not read yet, their members, and so on.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn has_at_most(self, max: usize) -> Result<bool> {
        let mut left = max;
        let mut collections = vec![self];
        while let Some(mut members) = collections.pop() {
            while !members.is_finished() {
                let page = members.next_page().await?;
                let Some(after) = left.checked_sub(page.len()) else {
                    return Ok(false);
                };
                left = after;
                collections.extend(page.iter().filter_map(|m| members.below(&m.node)));
            }
        }
        Ok(true)
    }

    /// The members of the collection with this id.
    #[must_use]
    pub fn of_collection(records: Records, id: &NodeId) -> Self {
        let range = keys::children(id);
        Self {
            records,
            prefix: range.start.as_bytes().len(),
            rest: Some(range),
        }
    }

    /// Whether all members were read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rest.is_none()
    }

    /// The next members; none when all were read.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next_page(&mut self) -> Result<Vec<Member>> {
        let Some(range) = self.rest.take() else {
            return Ok(Vec::new());
        };
        let (found, is_cut) = self
            .records
            .list_within::<Node>(&range, Direction::Up, PAGE_LIMIT)
            .await?;
        if is_cut {
            self.rest = found.last().map(|(key, _)| range.after(key));
        }
        Ok(found
            .into_iter()
            .filter_map(|(key, node)| {
                Some(Member {
                    name: keys::last_text(&key, self.prefix)?,
                    node: node.value,
                })
            })
            .collect())
    }
}

fn has_members(node: &Node) -> bool {
    matches!(
        node.kind,
        NodeKind::Box | NodeKind::Collection | NodeKind::Service
    )
}
