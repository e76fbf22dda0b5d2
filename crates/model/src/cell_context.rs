//! The cached structure of a cell, and the view of it that one request has.
//!
//! The structure is dropped as a whole when it changes. A process that changes it drops its own at once; others see from the
//! version of the structure in the space that theirs is stale.

mod body_hints;
mod cache;

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use personium_store::{Key, RecordStore, StoreError, StructureVersion};
use personium_types::{NodeId, Result};

use self::body_hints::BodyHints;
pub(crate) use self::cache::CellStructureCache;

use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Node, NodeKind};
use crate::records::{self, Records, Versioned, store_error};
use crate::structure_view::StructureView;
use crate::{Cell, entity};

/// The largest number of values that are cached in one context.
const MAX_CACHED_VALUES: usize = 4_096;
/// The name under which the node of the cell is cached.
const CELL_NODE: &str = "node/cell";
/// The name under which the record of the last transfer is cached.
const TRANSFER: &str = "transfer";
/// The name under which the record of the feed is cached.
const FEED: &str = "feed";
/// The largest number of boxes, and of roles, of a cell.
const MAX_OBJECTS: usize = 100_000;

/// The hidden value of an account with its token generation. A new value revokes the tokens issued before, where the
/// unit does so.
pub const TOKEN_GENERATION: &str = "TokenEpoch";

/// The records of a cell that are read at once.
struct CellRecords {
    node: Arc<Versioned<Node>>,
    /// The record of the last transfer.
    transfer: Arc<Option<Bytes>>,
    /// Whether events are stored for listeners.
    is_fed: bool,
}

/// A box of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxInfo {
    /// Its id, which a new name does not change. The main box has the id of the cell.
    pub id: NodeId,
    /// Its name in URLs; `__` for the main box.
    pub name: String,
    /// Its schema: the URL of its application, as stored. `None` for a box without an application, and for the main box, whose
    /// schema is the URL of the cell.
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

    /// Whether it is no box but the folder with the snapshots of the cell.
    #[must_use]
    pub fn is_snapshot_folder(&self) -> bool {
        self.id == keys::SNAPSHOT_FOLDER
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
    /// The generation of its valid tokens; see [`TOKEN_GENERATION`].
    pub token_generation: Option<String>,
}

/// The structure of a cell at one time: boxes, roles, accounts and collections, each loaded when it is first needed.
pub(crate) struct CellStructure {
    cell: Cell,
    /// The version of the structure in the space of the cell, from before anything of it was loaded.
    version: StructureVersion,
    /// The generation of the name and that of the cell when the loading began.
    generations: [u64; 2],
    cached: RwLock<HashMap<String, Arc<dyn Any + Send + Sync>>>,
    /// Those of all cells.
    body_hints: Arc<BodyHints>,
}

impl CellStructure {
    fn new(
        cell: Cell,
        version: StructureVersion,
        generations: [u64; 2],
        body_hints: Arc<BodyHints>,
    ) -> Self {
        Self {
            cell,
            version,
            generations,
            cached: RwLock::default(),
            body_hints,
        }
    }

    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }
}

/// The view that a request has of a cell: its structure, which is shared with other requests, and its records.
///
/// The structure of a context from [`Unit::find_cell`](crate::Unit::find_cell) was current when that was called. One from
/// [`Unit::find_cell_unchecked`](crate::Unit::find_cell_unchecked) may be stale until the first read; see
/// [`Unit::is_current`](crate::Unit::is_current).
pub struct CellContext {
    structure: Arc<CellStructure>,
    records: Records,
    view: Arc<StructureView>,
}

impl CellContext {
    /// A view of a structure that may be stale.
    pub(crate) fn unchecked(structure: Arc<CellStructure>, records: Records) -> Self {
        let view = StructureView::unchecked(structure.version);
        Self::new(structure, records, view)
    }

    /// A view of a structure that was just loaded.
    pub(crate) fn validated(structure: Arc<CellStructure>, records: Records) -> Self {
        let view = StructureView::validated(structure.version);
        Self::new(structure, records, view)
    }

    fn new(structure: Arc<CellStructure>, records: Records, view: StructureView) -> Self {
        let view = Arc::new(view);
        Self {
            structure,
            records: records.with_view(Arc::clone(&view)),
            view,
        }
    }

    pub(crate) fn structure(&self) -> &Arc<CellStructure> {
        &self.structure
    }

    /// Whether the structure was current at some time since this context was made. Reads the version, unless a read has
    /// returned it before.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn validate(&self, store: &dyn RecordStore) -> Result<bool> {
        if !self.view.is_validated() && !self.view.is_stale() {
            match store.structure(self.records.space()).await {
                Ok(version) => {
                    self.view.observe(version);
                }
                Err(StoreError::SpaceDropped) => self.view.observe_dropped(),
                // What damages the cell is said by whoever reads from it. A later look could find that this request has removed it.
                Err(StoreError::Corrupt(_)) => self.view.accept_damaged(),
                Err(error) => return Err(store_error(error)),
            }
        }
        Ok(!self.view.is_stale())
    }

    /// Hints where the small bodies of files are.
    pub(crate) fn body_hints(&self) -> &BodyHints {
        &self.structure.body_hints
    }

    /// The entry of the cell in the catalogue.
    #[must_use]
    pub fn cell(&self) -> &Cell {
        &self.structure.cell
    }

    /// The records of the cell.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The same context. Its records may grow beyond their quotas: for what must be stored all the same.
    #[must_use]
    pub fn without_limit(&self) -> Arc<Self> {
        Arc::new(Self {
            structure: Arc::clone(&self.structure),
            records: self.records.without_limit(),
            view: Arc::clone(&self.view),
        })
    }

    /// All boxes but the main box.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn boxes(&self) -> Result<Arc<Vec<Arc<BoxInfo>>>> {
        const CACHE_KEY: &str = "boxes";
        if let Some(found) = self.get_cached(CACHE_KEY) {
            return Ok(found);
        }
        let set = SetKey::control(ControlSet::Box);
        let found = entity::list(&self.records, &set, MAX_OBJECTS).await?;
        let boxes = found.into_iter().filter_map(|(id, e)| {
            Some(Arc::new(BoxInfo {
                id: id.parse().ok()?,
                name: e.value.text("Name")?,
                schema: e.value.text("Schema"),
                published: e.value.published,
            }))
        });
        Ok(self.insert_cached(CACHE_KEY.to_owned(), boxes.collect::<Vec<_>>()))
    }

    /// The main box.
    #[must_use]
    pub fn main_box(&self) -> Arc<BoxInfo> {
        Arc::new(BoxInfo {
            id: self.structure.cell.node_id(),
            name: "__".to_owned(),
            schema: None,
            published: 0,
        })
    }

    /// The folder with the snapshots of the cell, which is addressed like a box. No name leads to it, only its id.
    fn snapshot_folder(&self) -> Arc<BoxInfo> {
        Arc::new(BoxInfo {
            id: keys::SNAPSHOT_FOLDER,
            name: "__snapshot".to_owned(),
            schema: None,
            published: self.structure.cell.published,
        })
    }

    /// The box of this name; `__` is the main box.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_box(&self, name: &str) -> Result<Option<Arc<BoxInfo>>> {
        if name == "__" {
            return Ok(Some(self.main_box()));
        }
        Ok(self.boxes().await?.iter().find(|b| b.name == name).cloned())
    }

    /// The box with this id; [`keys::SNAPSHOT_FOLDER`] is the folder with the snapshots.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_box_by_id(&self, id: &NodeId) -> Result<Option<Arc<BoxInfo>>> {
        if *id == self.structure.cell.node_id() {
            return Ok(Some(self.main_box()));
        }
        if *id == keys::SNAPSHOT_FOLDER {
            return Ok(Some(self.snapshot_folder()));
        }
        Ok(self.boxes().await?.iter().find(|b| b.id == *id).cloned())
    }

    /// All roles.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn roles(&self) -> Result<Arc<Vec<Arc<RoleInfo>>>> {
        const CACHE_KEY: &str = "roles";
        if let Some(found) = self.get_cached(CACHE_KEY) {
            return Ok(found);
        }
        let set = SetKey::control(ControlSet::Role);
        let found = entity::list(&self.records, &set, MAX_OBJECTS).await?;
        let roles = found.into_iter().filter_map(|(id, e)| {
            let box_id = e.value.links.get("Box").and_then(|id| id.parse().ok());
            Some(Arc::new(RoleInfo {
                id,
                name: e.value.text("Name")?,
                box_id,
            }))
        });
        Ok(self.insert_cached(CACHE_KEY.to_owned(), roles.collect::<Vec<_>>()))
    }

    /// The role with this entity id.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_role(&self, id: &str) -> Result<Option<Arc<RoleInfo>>> {
        Ok(self.roles().await?.iter().find(|r| r.id == id).cloned())
    }

    /// The role of this name in a box (`None`: in no box, as for the main box).
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_role_named(
        &self,
        box_id: Option<&NodeId>,
        name: &str,
    ) -> Result<Option<Arc<RoleInfo>>> {
        let box_id = box_id.filter(|id| **id != self.structure.cell.node_id());
        Ok(self
            .roles()
            .await?
            .iter()
            .find(|r| r.name == name && r.box_id.as_ref() == box_id)
            .cloned())
    }

    /// The account of this name with its roles.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_account(&self, name: &str) -> Result<Option<Arc<AccountInfo>>> {
        let cache_key = format!("account/{name}");
        if let Some(found) = self.get_cached(&cache_key) {
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
            MAX_OBJECTS,
        )
        .await?;
        Ok(Some(self.insert_cached(
            cache_key,
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
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn cell_node(&self) -> Result<Arc<Versioned<Node>>> {
        if let Some(found) = self.get_cached(CELL_NODE) {
            return Ok(found);
        }
        Ok(self.read_cell().await?.node)
    }

    /// The record of the transfer that was stored last, but for its progress.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn transfer_record(&self) -> Result<Arc<Option<Bytes>>> {
        if let Some(found) = self.get_cached(TRANSFER) {
            return Ok(found);
        }
        Ok(self.read_cell().await?.transfer)
    }

    /// Whether the events of the cell are stored for those who listen, or may want to resume listening.
    pub(crate) async fn is_fed(&self) -> Result<bool> {
        match self.get_cached::<bool>(FEED) {
            Some(is_fed) => Ok(*is_fed),
            None => Ok(self.read_cell().await?.is_fed),
        }
    }

    /// Reads what each request that changes something needs, in one call.
    async fn read_cell(&self) -> Result<CellRecords> {
        let wanted = [keys::cell_node(), keys::transfer(), keys::feed()];
        let mut found = self.records.find_records(&wanted).await?.into_iter();
        let mut next = || found.next().flatten();
        let node = match next() {
            Some(record) => Versioned {
                value: records::decode::<Node>(&record.value)?,
                version: record.version,
                bytes: record.value.len(),
            },
            None => Versioned {
                value: Node::new(
                    self.structure.cell.node_id(),
                    NodeKind::Cell,
                    self.structure.cell.published,
                ),
                version: 0,
                bytes: 0,
            },
        };
        let transfer = next().map(|record| record.value);
        let is_fed = next().is_some();
        self.insert_cached(FEED.to_owned(), is_fed);
        Ok(CellRecords {
            node: self.insert_cached(CELL_NODE.to_owned(), node),
            transfer: self.insert_cached(TRANSFER.to_owned(), transfer),
            is_fed,
        })
    }

    /// The root node of a box.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn box_node(&self, info: &BoxInfo) -> Result<Arc<Versioned<Node>>> {
        self.node_or_default(
            &format!("node/{}", info.id),
            &keys::box_node(&info.id),
            || Node::new(info.id, NodeKind::Box, info.published),
        )
        .await
    }

    async fn node_or_default(
        &self,
        cache_key: &str,
        key: &Key,
        default: impl FnOnce() -> Node,
    ) -> Result<Arc<Versioned<Node>>> {
        if let Some(found) = self.get_cached(cache_key) {
            return Ok(found);
        }
        let node = self.records.find(key).await?.unwrap_or_else(|| Versioned {
            value: default(),
            version: 0,
            bytes: 0,
        });
        Ok(self.insert_cached(cache_key.to_owned(), node))
    }

    /// The cached value of this key, if it is of this type.
    #[must_use]
    pub fn get_cached<T: Send + Sync + 'static>(&self, key: &str) -> Option<Arc<T>> {
        let found = self.structure.cached.read().get(key).cloned()?;
        found.downcast().ok()
    }

    /// Caches a value about the structure of the cell until that changes. It must be derived from records that were read through
    /// this context and are changed with [`crate::commit::Invalidation::Cell`] only. If the structure has changed meanwhile, the
    /// value is not cached.
    pub fn insert_cached<T: Send + Sync + 'static>(&self, key: String, value: T) -> Arc<T> {
        let value = Arc::new(value);
        if self.view.is_outdated() {
            return value;
        }
        let mut cached = self.structure.cached.write();
        if cached.len() >= MAX_CACHED_VALUES {
            cached.clear();
        }
        cached.insert(key, Arc::clone(&value) as Arc<dyn Any + Send + Sync>);
        value
    }
}
