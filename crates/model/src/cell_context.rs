//! What is cached about a cell. A context is thrown away as a whole when anything structural in its cell changes.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;
use parking_lot::RwLock;
use personium_types::{NodeId, Result};
use tokio::sync::OnceCell;

use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Kind, Node};
use crate::records::{Records, Versioned};
use crate::{Cell, entity};

/// Cells whose views are kept at most.
const VIEWS: u64 = 2_000;
/// Things remembered in one context at most.
const MEMOS: usize = 4_096;
/// Generation counters; names and cells share them by hash, which only costs a needless reload.
const GENERATIONS: usize = 4_096;
/// Boxes, and roles, that a cell may have.
const OBJECTS: usize = 100_000;

/// The hidden value of an account with its token generation. A new value revokes the tokens issued before, where the
/// unit does so.
pub const TOKEN_GENERATION: &str = "TokenEpoch";

/// A box as the catalogue of its cell knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxInfo {
    /// Stays the same when the box is renamed; that of the main box is the cell's.
    pub id: NodeId,
    /// Its name in URLs; `__` for the main box.
    pub name: String,
    /// The URL of the app it belongs to, as stored; for the main box the cell's URL is meant and this is `None`.
    pub schema: Option<String>,
    /// When it was created.
    pub published: i64,
}

impl BoxInfo {
    /// Whether it is the main box.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.name == "__"
    }
}

/// A role of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleInfo {
    /// The entity id that access control lists name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The box it belongs to, if any.
    pub box_id: Option<NodeId>,
}

/// An account with the roles it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// Its entity id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The entity ids of its roles.
    pub roles: Vec<String>,
    /// Whether it is deactivated.
    pub deactivated: bool,
    /// Which of its tokens still count; see [`TOKEN_GENERATION`].
    pub token_generation: Option<String>,
}

/// One state of a cell's structure, loaded bit by bit as it is asked for.
pub struct CellContext {
    cell: Cell,
    records: Records,
    /// Of the name and of the cell.
    generations: [u64; 2],
    boxes: OnceCell<Vec<Arc<BoxInfo>>>,
    roles: OnceCell<Vec<Arc<RoleInfo>>>,
    memos: RwLock<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

impl CellContext {
    /// The catalogue entry.
    #[must_use]
    pub fn cell(&self) -> &Cell {
        &self.cell
    }

    /// The records of the cell.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// All boxes but the main box.
    pub async fn boxes(&self) -> Result<&[Arc<BoxInfo>]> {
        let load = || async {
            let found =
                entity::list(&self.records, &SetKey::control(ControlSet::Box), OBJECTS).await?;
            Result::<Vec<_>>::Ok(
                found
                    .into_iter()
                    .filter_map(|(id, e)| {
                        Some(Arc::new(BoxInfo {
                            id: id.parse().ok()?,
                            name: e.value.text("Name")?,
                            schema: e.value.text("Schema"),
                            published: e.value.published,
                        }))
                    })
                    .collect(),
            )
        };
        self.boxes.get_or_try_init(load).await.map(Vec::as_slice)
    }

    /// The main box.
    #[must_use]
    pub fn main_box(&self) -> Arc<BoxInfo> {
        Arc::new(BoxInfo {
            id: self.cell.node_id(),
            name: "__".to_owned(),
            schema: None,
            published: 0,
        })
    }

    /// The box of this name; `__` is the main box.
    pub async fn find_box(&self, name: &str) -> Result<Option<Arc<BoxInfo>>> {
        if name == "__" {
            return Ok(Some(self.main_box()));
        }
        Ok(self.boxes().await?.iter().find(|b| b.name == name).cloned())
    }

    /// The box with this id.
    pub async fn find_box_by_id(&self, id: &NodeId) -> Result<Option<Arc<BoxInfo>>> {
        if *id == self.cell.node_id() {
            return Ok(Some(self.main_box()));
        }
        Ok(self.boxes().await?.iter().find(|b| b.id == *id).cloned())
    }

    /// All roles.
    pub async fn roles(&self) -> Result<&[Arc<RoleInfo>]> {
        let load = || async {
            let found =
                entity::list(&self.records, &SetKey::control(ControlSet::Role), OBJECTS).await?;
            Result::<Vec<_>>::Ok(
                found
                    .into_iter()
                    .filter_map(|(id, e)| {
                        let box_id = e.value.links.get("Box").and_then(|id| id.parse().ok());
                        Some(Arc::new(RoleInfo {
                            id,
                            name: e.value.text("Name")?,
                            box_id,
                        }))
                    })
                    .collect(),
            )
        };
        self.roles.get_or_try_init(load).await.map(Vec::as_slice)
    }

    /// The role with this entity id.
    pub async fn find_role(&self, id: &str) -> Result<Option<Arc<RoleInfo>>> {
        Ok(self.roles().await?.iter().find(|r| r.id == id).cloned())
    }

    /// The role of this name in a box (`None`: in no box; the main box counts as none).
    pub async fn find_role_named(
        &self,
        box_id: Option<&NodeId>,
        name: &str,
    ) -> Result<Option<Arc<RoleInfo>>> {
        let box_id = box_id.filter(|id| **id != self.cell.node_id());
        Ok(self
            .roles()
            .await?
            .iter()
            .find(|r| r.name == name && r.box_id.as_ref() == box_id)
            .cloned())
    }

    /// The account of this name with its roles.
    pub async fn find_account(&self, name: &str) -> Result<Option<Arc<AccountInfo>>> {
        let memo = format!("account/{name}");
        if let Some(found) = self.get_cached(&memo) {
            return Ok(Some(found));
        }
        let set = SetKey::control(ControlSet::Account);
        let Some((id, stored)) = entity::find_unique(&self.records, &set, 0, &[Some(name)]).await?
        else {
            return Ok(None);
        };
        let roles = entity::linked(
            &self.records,
            &set,
            &id,
            &SetKey::control(ControlSet::Role),
            OBJECTS,
        )
        .await?;
        Ok(Some(self.insert_cached(
            memo,
            AccountInfo {
                id,
                name: name.to_owned(),
                roles,
                deactivated: stored.value.text("Status").as_deref() == Some("deactivated"),
                token_generation: stored.value.hidden.get(TOKEN_GENERATION).cloned(),
            },
        )))
    }

    /// The node of the cell itself; its properties and the access control list of the cell.
    pub async fn cell_node(&self) -> Result<Arc<Versioned<Node>>> {
        self.node_or_default("node/cell", &cell_node_key(), || {
            Node::new(self.cell.node_id(), Kind::Cell, self.cell.published)
        })
        .await
    }

    /// The root node of a box.
    pub async fn box_node(&self, info: &BoxInfo) -> Result<Arc<Versioned<Node>>> {
        self.node_or_default(
            &format!("node/{}", info.id),
            &box_node_key(&info.id),
            || Node::new(info.id, Kind::Box, info.published),
        )
        .await
    }

    async fn node_or_default(
        &self,
        memo: &str,
        key: &personium_store::Key,
        default: impl FnOnce() -> Node,
    ) -> Result<Arc<Versioned<Node>>> {
        if let Some(found) = self.get_cached(memo) {
            return Ok(found);
        }
        let node = self.records.find(key).await?.unwrap_or_else(|| Versioned {
            value: default(),
            version: 0,
        });
        Ok(self.insert_cached(memo.to_owned(), node))
    }

    /// Something that was remembered under this key, if it is of this type.
    #[must_use]
    pub fn get_cached<T: Send + Sync + 'static>(&self, key: &str) -> Option<Arc<T>> {
        let found = self.memos.read().get(key).cloned()?;
        found.downcast().ok()
    }

    /// Remembers something about the structure of the cell until it changes. It must be derived from records that
    /// are changed with [`crate::unit::Invalidation::Cell`] only.
    pub fn insert_cached<T: Send + Sync + 'static>(&self, key: String, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let mut memos = self.memos.write();
        if memos.len() >= MEMOS {
            memos.clear();
        }
        memos.insert(key, Arc::clone(&value) as Arc<dyn Any + Send + Sync>);
        value
    }
}

/// The key of the node that stands for the cell itself.
#[must_use]
pub fn cell_node_key() -> personium_store::Key {
    keys::node(&NodeId::from_bytes([0; 16]), "")
}

/// The key of the root node of a box. A version of 0 means that it is not stored yet.
#[must_use]
pub fn box_node_key(id: &NodeId) -> personium_store::Key {
    keys::node(&NodeId::from_bytes([0; 16]), &id.to_string())
}

/// The views of all cells that were used lately.
pub(crate) struct Views {
    views: Cache<String, Arc<CellContext>>,
    generations: Vec<AtomicU64>,
    hasher: RandomState,
}

/// A place for a context whose loading began at a known generation of its name.
pub(crate) struct Ticket {
    name: String,
    generation: u64,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            views: Cache::builder().max_capacity(VIEWS).build(),
            generations: std::iter::repeat_with(AtomicU64::default)
                .take(GENERATIONS)
                .collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Views {
    fn generation(&self, of: impl Hash) -> Option<&AtomicU64> {
        let slot = self.hasher.hash_one(of) % GENERATIONS as u64;
        self.generations.get(usize::try_from(slot).unwrap_or(0))
    }

    fn current(&self, of: impl Hash) -> u64 {
        self.generation(of).map_or(0, |g| g.load(Ordering::Acquire))
    }

    fn next(&self, of: impl Hash) {
        if let Some(generation) = self.generation(of) {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<CellContext>> {
        self.views.get(name).filter(|context| {
            context.generations == [self.current(name), self.current(context.cell.id)]
        })
    }

    pub(crate) fn ticket(&self, name: &str) -> Ticket {
        Ticket {
            name: name.to_owned(),
            generation: self.current(name),
        }
    }

    pub(crate) fn insert(&self, ticket: Ticket, cell: Cell, records: Records) -> Arc<CellContext> {
        let context = Arc::new(CellContext {
            // Nothing of the cell itself was loaded yet.
            generations: [ticket.generation, self.current(cell.id)],
            cell,
            records,
            boxes: OnceCell::new(),
            roles: OnceCell::new(),
            memos: RwLock::default(),
        });
        self.views.insert(ticket.name, Arc::clone(&context));
        context
    }

    /// Drops what is cached about a cell, whatever its name is by now.
    pub(crate) fn invalidate_cell(&self, cell: &Cell) {
        self.next(cell.id);
        self.views.invalidate(&cell.name);
    }

    /// Drops what is cached about which cell has this name.
    pub(crate) fn invalidate_cell_name(&self, name: &str) {
        self.next(name);
        self.views.invalidate(name);
    }
}
