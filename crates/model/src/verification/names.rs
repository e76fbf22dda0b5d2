//! The names of what records stand for, for people.

use std::collections::HashMap;

use personium_store::{Key, KeyRange, Result, Space};
use personium_types::NodeId;

use super::walk::{Slot, SpaceReader};
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet, SetKey, SetParts};
use crate::node::{Node, NodeKind};
use crate::odata::derived_records::SetSchemas;
use crate::records::decode;

/// The largest number of collections of a cell whose names are kept.
const COLLECTIONS_MAX: usize = 500_000;

/// The number of bytes of a key that is shown.
const SHOWN_KEY_BYTES: usize = 60;

/// The most steps from a file to its box.
const DEPTH_MAX: usize = 1_000;

/// The collections of a cell, with their parents and names.
#[derive(Debug, Default)]
pub(super) struct CollectionTree {
    nodes: HashMap<NodeId, (NodeId, String)>,
    /// The id of the main box.
    main_box: Option<NodeId>,
    is_cut: bool,
}

impl CollectionTree {
    /// Reads the collections of a cell.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn read(reader: &SpaceReader) -> Result<Self> {
        let main_box = match reader.space {
            Space::Unit => None,
            Space::Cell(cell) => Some(NodeId::from_bytes(*cell.as_bytes())),
        };
        let mut tree = Self {
            main_box,
            ..Self::default()
        };
        let mut rest = keys::all_nodes();
        while let Some(page) = reader.next_page(&mut rest).await? {
            // A damaged node may be a collection.
            tree.is_cut |= page.damaged.is_some();
            for (key, record) in page.records {
                let parts = keys::parts_of_node(&key).zip(decode::<Node>(&record.value).ok());
                let Some(((parent, name), node)) = parts else {
                    tree.is_cut = true;
                    continue;
                };
                if node.kind == NodeKind::File {
                    continue;
                }
                if tree.nodes.len() >= COLLECTIONS_MAX {
                    tree.is_cut = true;
                    return Ok(tree);
                }
                tree.nodes.insert(node.id, (parent, name));
            }
        }
        Ok(tree)
    }

    /// Whether there is a collection with this id, or may be one.
    pub(super) fn may_have(&self, id: &NodeId) -> bool {
        self.is_cut
            || keys::is_no_parent(id)
            || *id == keys::SNAPSHOT_FOLDER
            || Some(*id) == self.main_box
            || self.nodes.contains_key(id)
    }
}

/// Names what records stand for.
pub(super) struct ResourceNames {
    pub(super) reader: SpaceReader,
    pub(super) tree: CollectionTree,
}

impl ResourceNames {
    /// The path of a collection below its cell.
    pub(super) async fn path(&self, id: &NodeId) -> String {
        let mut names = Vec::new();
        let mut at = *id;
        for _ in 0..DEPTH_MAX {
            if at == keys::SNAPSHOT_FOLDER {
                names.push("__snapshot".to_owned());
                break;
            }
            if Some(at) == self.tree.main_box {
                names.push("__".to_owned());
                break;
            }
            match self.tree.nodes.get(&at) {
                Some((parent, name)) if keys::is_no_parent(parent) => {
                    names.push(self.box_name(name).await);
                    break;
                }
                Some((parent, name)) => {
                    names.push(name.clone());
                    at = *parent;
                }
                None => {
                    names.push(format!("(collection {at})"));
                    break;
                }
            }
        }
        names.reverse();
        names.join("/")
    }

    async fn box_name(&self, id: &str) -> String {
        let set = SetKey::control(ControlSet::Box);
        match self.reader.get_one(&keys::entity(&set, id)).await {
            Ok(Slot::Present(record)) => decode::<StoredEntity>(&record.value)
                .ok()
                .and_then(|found| found.text("Name"))
                .unwrap_or_else(|| format!("(box {id})")),
            _ => format!("(box {id})"),
        }
    }

    /// The file or collection of this name.
    pub(super) async fn member(&self, parent: &NodeId, name: &str) -> String {
        match (keys::is_no_parent(parent), name) {
            (true, "") => "the cell itself".to_owned(),
            (true, id) => format!("box {}", self.box_name(id).await),
            (false, name) => format!("{}/{name}", self.path(parent).await),
        }
    }

    /// The name of the thing that a record stands for.
    pub(super) async fn of_key(&self, key: &Key, schemas: &mut SetSchemas) -> String {
        let named = match key.as_bytes().first() {
            Some(b'E' | b'K' | b'I' | b'L' | b'C') => self.of_set(key, schemas).await,
            Some(b'N') => match keys::parts_of_node(key) {
                Some((parent, name)) => Some(self.member(&parent, &name).await),
                None => None,
            },
            Some(b'D') => match id_at(key, 1) {
                Some(id) => Some(format!("number of members of {}", self.path(&id).await)),
                None => None,
            },
            Some(b'V') => match id_at(key, 1) {
                Some(id) => Some(format!("schema version of {}", self.path(&id).await)),
                None => None,
            },
            Some(b'B') => id_at(key, 1).map(|id| format!("small file body {id}")),
            Some(b'R') => id_at(key, 1).map(|id| format!("reference to file body {id}")),
            Some(b'F') => Some("event of the feed".to_owned()),
            Some(b'S' | b'A' | b'W') => match id_at(key, 1) {
                Some(id) => Some(format!("messages of {}", self.path(&id).await)),
                None => None,
            },
            Some(b'Z') => match id_at(key, 2) {
                Some(id) => Some(format!("state of a stream of {}", self.path(&id).await)),
                None => None,
            },
            Some(b'O') => Some("time at which messages expire".to_owned()),
            Some(b'X') => id_at(key, 1).map(|id| format!("record of removed file body {id}")),
            Some(b'G') => Some("line of the event log".to_owned()),
            Some(b'H') => Some("number of events of a rule".to_owned()),
            Some(b'Q') => Some("request of a rule that waits".to_owned()),
            Some(b'r') => Some("last request of a rule".to_owned()),
            Some(b'U') => Some("request of a rule that was given up".to_owned()),
            Some(b'T') => Some("used token".to_owned()),
            Some(b'M') => keys::last_text(key, 1).map(|name| format!("value {name}")),
            _ => None,
        };
        named.unwrap_or_else(|| {
            let begin = key.as_bytes();
            let begin = begin.get(..SHOWN_KEY_BYTES).unwrap_or(begin);
            format!("record \"{}\"", begin.escape_ascii())
        })
    }

    async fn of_set(&self, key: &Key, schemas: &mut SetSchemas) -> Option<String> {
        let (set, parts) = SetKey::of_key(key)?;
        let set_name = self.set(&parts, schemas).await;
        let prefix = 1 + set.as_bytes().len();
        Some(match key.as_bytes().first()? {
            b'E' => format!("{set_name}('{}')", keys::last_text(key, prefix)?),
            b'K' => format!("unique key of {set_name}"),
            b'I' => {
                let (_, property, _) = keys::parts_of_index_entry(key)?;
                format!("index of {property} of {set_name}")
            }
            b'L' => {
                let (id, _, other) = keys::parts_of_link(key, &set)?;
                format!("link from {set_name}('{id}') to '{other}'")
            }
            _ => format!("number of entities of {set_name}"),
        })
    }

    async fn set(&self, parts: &SetParts, schemas: &mut SetSchemas) -> String {
        match parts {
            SetParts::Control(set) => format!("__ctl/{}", set.name()),
            SetParts::Schema(collection, set) => {
                format!("{}/$metadata/{}", self.path(collection).await, set.name())
            }
            SetParts::Data(collection, type_id) => {
                let name = schemas.type_name(collection, type_id).await.ok().flatten();
                let name = name.unwrap_or_else(|| format!("(type {type_id})"));
                format!("{}/{name}", self.path(collection).await)
            }
            SetParts::Association(id) => format!("(association {id})"),
        }
    }

    /// Whether there are unlinked collections whose content is not removed yet.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn has_garbage(&self) -> Result<bool> {
        let found: KeyRange = keys::garbage_records();
        Ok(self.reader.count(&found).await? > 0)
    }
}

/// The id at a place of a key.
pub(super) fn id_at(key: &Key, at: usize) -> Option<NodeId> {
    let bytes = key.as_bytes().get(at..at + 16)?;
    bytes.try_into().ok().map(NodeId::from_bytes)
}
