//! Compares what was taken over of a cell with the original: numbers of objects, hashed passwords, values of entities, checksums of files,
//! links, access control lists and WebDAV properties.

mod descriptions;
mod links;
mod objects;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use personium_archive::snapshot::{self, Document};
use personium_model::cell_context::CellContext;
use personium_model::entity::{self, StoredEntity};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::node::{Node, NodeKind};
use personium_model::odata::{self, CollectionReader, ServiceRoot};
use personium_model::records::Records;
use personium_model::{file, locate};
use personium_odata::edm::{ID, PUBLISHED, UPDATED};
use personium_odata::key::EntityKey;
use personium_types::{NodeId, Result};

use super::{Migration, entry};
use crate::cell_export::is_of_schema;
use crate::cell_filling::{TypeMap, USER_DATA, entity_body, validated};
use crate::original::{CellState, CollectedCell, ComparisonNotes, OriginalCell};
use crate::snapshot_package::reason_of;

/// The number of entities of a collection whose values are compared, at most twice as many.
const SAMPLES: u64 = 1_000;
/// The largest number of differences of a cell that are kept.
const MAX_DIFFERENCES: usize = 100;

/// The outcome of the comparison of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComparedCell {
    /// Its name.
    pub name: String,
    /// The number of documents that were counted.
    pub documents: u64,
    /// The number of entities whose values were compared.
    pub entities: u64,
    /// The number of files whose content was compared.
    pub files: u64,
    /// The number of links that were compared.
    pub links: u64,
    /// The number of cells, boxes, collections and files whose access control lists and properties were compared.
    pub descriptions: u64,
    /// The differences, for people; at most 100.
    pub differences: Vec<String>,
}

impl ComparedCell {
    fn differ(&mut self, text: String) {
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(text);
        }
    }

    fn count(&mut self, what: &str, there: u64, here: u64) {
        self.documents += there;
        if there != here {
            self.differ(format!(
                "the original has {there} {what}, the cell here {here}"
            ));
        }
    }
}

/// The comparison of a cell.
struct Comparison<'c> {
    migration: &'c Migration,
    source: OriginalCell,
    state: CellState,
    context: Arc<CellContext>,
    records: Records,
    /// OData collections by their ids there: the id of their parents, their names and their ids here.
    collections: HashMap<String, (NodeId, String, NodeId)>,
    notes: ComparisonNotes,
    /// The objects that were left out: kind or path, and the id there.
    refused: HashSet<(String, String)>,
    found: ComparedCell,
}

impl Migration {
    /// Compares a cell.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn verify(&self, collected: CollectedCell) -> Result<ComparedCell> {
        let mut found = ComparedCell::default();
        let Ok(cell) = entry(&collected) else {
            found.differ("it has no valid name".to_owned());
            return Ok(found);
        };
        found.name = cell.name;
        let state = self.documents.state(&collected.id).await?;
        let context = match &state {
            Some(state) => self.unit.find_cell_by_id(&state.cell).await?,
            None => None,
        };
        let (Some(state), Some(context)) = (state, context) else {
            found.differ("it was not taken over".to_owned());
            return Ok(found);
        };
        if context.cell().name != found.name || context.cell().owner != cell.owner {
            found.differ("its name or its owner is another one".to_owned());
        }
        let source = OriginalCell::find(&self.documents, &self.files, collected).await;
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                found.differ(reason_of(&error, ""));
                return Ok(found);
            }
        };
        let refused = state.refused.iter();
        let refused = refused.map(|(place, id, _)| (place.clone(), id.clone()));
        let refused = refused.collect();
        let mut comparison = Comparison {
            migration: self,
            source,
            state,
            records: context.records().clone(),
            context,
            collections: HashMap::new(),
            notes: self.documents.notes().await?,
            refused,
            found,
        };
        comparison.compare_objects().await?;
        comparison.compare_object_links().await?;
        comparison.compare_cell_node().await?;
        comparison.compare_tree().await?;
        comparison.compare_collections().await?;
        comparison.notes.clear().await?;
        Ok(comparison.found)
    }
}

impl Comparison<'_> {
    /// The number of documents of a kind that were left out.
    fn refused(&self, kind: &str) -> u64 {
        let refused = self.state.refused.iter();
        refused.filter(|(place, _, _)| place == kind).count() as u64
    }

    /// Whether an object with this id there was left out.
    fn is_refused(&self, place: &str, id: &str) -> bool {
        self.refused.contains(&(place.to_owned(), id.to_owned()))
    }

    /// Compares the numbers of control objects, and the hashed passwords.
    async fn compare_objects(&mut self) -> Result<()> {
        let unit = Arc::clone(&self.migration.unit);
        let root = ServiceRoot::of_cell(unit, Arc::clone(&self.context));
        for (kind, path) in snapshot::DOCUMENTS {
            let Some(set) = ControlSet::named(kind).filter(|set| !is_of_schema(*set)) else {
                continue;
            };
            let mut there = 0;
            let mut documents = self.source.documents(path);
            while let Some(document) = documents.next().await? {
                there += 1;
                let key = SetKey::control(set);
                self.note_object(&root, (set, &key), &document).await?;
                if set == ControlSet::Account {
                    self.compare_account(&document).await?;
                }
            }
            self.notes.flush().await?;
            let here = self.counted(&SetKey::control(set)).await?;
            let refused = self.refused(kind);
            self.found.count(kind, there.max(refused) - refused, here);
        }
        Ok(())
    }

    async fn counted(&self, set: &SetKey) -> Result<u64> {
        let counted = self.records.counter(&keys::entity_count(set)).await?;
        Ok(u64::try_from(counted).unwrap_or(0))
    }

    async fn compare_account(&mut self, document: &Document) -> Result<()> {
        let text = |name: &str| document.source.properties.as_ref()?.get(name)?.as_str();
        let hidden = |name: &str| document.source.hidden.as_ref()?.get(name)?.as_str();
        let name = text("Name").unwrap_or_default();
        let set = SetKey::control(ControlSet::Account);
        let found = entity::find_unique(&self.records, &set, 0, &[Some(name)]).await?;
        let Some((_, found)) = found else {
            return Ok(());
        };
        let here = |name: &str| found.value.hidden.get(name).map(String::as_str);
        if ["HashedCredential", "HashAlgorithm", "HashAttributes"]
            .iter()
            .any(|name| hidden(name) != here(name))
        {
            self.found
                .differ(format!("the password of the account {name} is another one"));
        }
        self.compare_history(&format!("account {name}"), document, &found.value);
        Ok(())
    }

    /// Compares times and version.
    fn compare_history(&mut self, what: &str, there: &Document, here: &StoredEntity) {
        let expected = (
            there.version.unwrap_or(1),
            there.source.published,
            there.source.updated,
        );
        if expected != (here.version, here.published, here.updated) {
            self.found
                .differ(format!("{what} has another version or other times"));
        }
    }

    /// Compares boxes, collections and files.
    async fn compare_tree(&mut self) -> Result<()> {
        let mut walk = self.source.walk();
        let mut nodes: HashMap<String, NodeId> = HashMap::new();
        let left_out: Vec<String> = self
            .state
            .refused
            .iter()
            .map(|(place, ..)| place.clone())
            .collect();
        loop {
            let (path, folder) = match walk.next().await {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                // It was left out.
                Err(_) => continue,
            };
            let Ok(Some(meta)) = self.source.read_meta(&path, &folder).await else {
                continue;
            };
            let place = match path.rsplit_once('/') {
                None => self
                    .box_id(&path)
                    .await?
                    .map(|id| (keys::box_node(&id), id, "")),
                Some((above, name)) => nodes
                    .get(above)
                    .map(|above| (keys::node(above, name), *above, name)),
            };
            let found = match &place {
                Some((key, ..)) => self.records.find::<Node>(key).await?,
                None => None,
            };
            let (Some((_, above, name)), Some(node)) = (place, found) else {
                if !left_out
                    .iter()
                    .any(|place| path.starts_with(place.as_str()))
                {
                    self.found.differ(format!("{path} is missing"));
                }
                continue;
            };
            let node = node.value;
            self.compare_description(&path, &meta, &node).await?;
            if node.kind == NodeKind::File {
                self.compare_file(&path, &folder, &meta, &node).await?;
                continue;
            }
            if node.kind == NodeKind::Odata {
                let collection = (above, name.to_owned(), node.id);
                self.collections.insert(meta.id.clone(), collection);
            }
            nodes.insert(path, node.id);
        }
    }

    /// The id of the box with this id there.
    async fn box_id(&self, id: &str) -> Result<Option<NodeId>> {
        if id == snapshot::MAIN_BOX {
            return Ok(Some(self.context.cell().node_id()));
        }
        let Some((_, path)) = snapshot::DOCUMENTS.iter().find(|(kind, _)| *kind == "Box") else {
            return Ok(None);
        };
        let mut boxes = self.source.documents(path);
        while let Some(found) = boxes.next().await? {
            if found.id != id {
                continue;
            }
            let name = found.source.properties.as_ref();
            let name = name.and_then(|properties| properties.get("Name")?.as_str());
            let set = SetKey::control(ControlSet::Box);
            let here = entity::find_unique(&self.records, &set, 0, &[name]).await?;
            return Ok(here.and_then(|(id, _)| id.parse().ok()));
        }
        Ok(None)
    }

    async fn compare_file(
        &mut self,
        path: &str,
        folder: &std::path::Path,
        meta: &snapshot::NodeMeta,
        node: &Node,
    ) -> Result<()> {
        let there = match self.source.open_content((path, folder), meta).await {
            Ok(Some(mut content)) => {
                let mut sum = Context::new(&SHA256);
                loop {
                    match content.next_chunk().await {
                        Ok(chunk) if chunk.is_empty() => break Some(sum.finish()),
                        Ok(chunk) => sum.update(&chunk),
                        Err(_) => break None,
                    }
                }
            }
            _ => None,
        };
        let mut here = None;
        if let Some(body) = &node.file
            && let Some(mut content) =
                file::open_body(&self.migration.unit, &self.records, body).await?
        {
            let (mut at, mut sum) = (0, Context::new(&SHA256));
            while let Some(chunk) = content.chunk_at(at).await? {
                let chunk: Bytes = chunk;
                at += chunk.len() as u64;
                sum.update(&chunk);
            }
            here = Some(sum.finish());
        }
        self.found.files += 1;
        let sum = |digest: &Option<aws_lc_rs::digest::Digest>| {
            digest.as_ref().map(|digest| digest.as_ref().to_vec())
        };
        if here.is_none() || sum(&there) != sum(&here) {
            self.found.differ(format!("the content of {path} differs"));
        }
        Ok(())
    }

    /// Compares schemas and user data.
    async fn compare_collections(&mut self) -> Result<()> {
        let unit = Arc::clone(&self.migration.unit);
        let root = ServiceRoot::of_cell(unit, Arc::clone(&self.context));
        let mut types = TypeMap::default();
        for (kind, path) in snapshot::DOCUMENTS {
            let Some(set) = ControlSet::named(kind).filter(|set| is_of_schema(*set)) else {
                continue;
            };
            let mut there: BTreeMap<String, u64> = BTreeMap::new();
            let mut documents = self.source.documents(path);
            while let Some(document) = documents.next().await? {
                let name = document.source.properties.as_ref();
                let name = name.and_then(|properties| properties.get("Name")?.as_str());
                let _ = types.note(set, &document, name.unwrap_or_default());
                let collection = document.source.collection.clone().unwrap_or_default();
                if let Some((.., node)) = self.collections.get(&collection) {
                    let key = SetKey::schema(node, set);
                    self.note_object(&root, (set, &key), &document).await?;
                }
                *there.entry(collection).or_default() += 1;
            }
            self.notes.flush().await?;
            let (mut total, mut here) = (0, 0);
            for (collection, count) in there {
                total += count;
                if let Some((.., node)) = self.collections.get(&collection) {
                    here += self.counted(&SetKey::schema(node, set)).await?;
                }
            }
            let refused = self.refused(kind);
            self.found.count(kind, total.max(refused) - refused, here);
        }
        self.compare_associations().await?;
        self.compare_user_data(&types).await?;
        self.compare_entity_links(&types).await
    }

    async fn compare_user_data(&mut self, types: &TypeMap) -> Result<()> {
        let mut there: BTreeMap<String, u64> = BTreeMap::new();
        let mut documents = self.source.documents(USER_DATA);
        while let Some(document) = documents.next().await? {
            let collection = document.source.collection.unwrap_or_default();
            *there.entry(collection).or_default() += 1;
        }
        let mut here = 0;
        for collection in there.keys() {
            let Some((.., node)) = self.collections.get(collection).cloned() else {
                continue;
            };
            let reader = CollectionReader::open(&self.records, node).await?;
            for entity_type in reader.edm().entity_types() {
                if let Some(id) = reader.type_id(&entity_type.name) {
                    here += self.counted(&SetKey::data(&node, &id)).await?;
                }
            }
        }
        let (total, refused) = (there.values().sum::<u64>(), self.refused("UserData"));
        self.found
            .count("entities", total.max(refused) - refused, here);
        self.compare_samples(types, &there).await
    }

    /// Compares the values of some entities of each collection.
    async fn compare_samples(
        &mut self,
        types: &TypeMap,
        counts: &BTreeMap<String, u64>,
    ) -> Result<()> {
        let mut documents = self.source.documents(USER_DATA);
        let mut at = 0;
        let mut collection = String::new();
        let mut root: Option<ServiceRoot> = None;
        while let Some(document) = documents.next().await? {
            let place = document.source.collection.clone().unwrap_or_default();
            if root.is_none() || place != collection {
                root = self.root(&place).await?;
                collection = place;
                at = 0;
            }
            let step = (counts.get(&collection).copied().unwrap_or(1) / SAMPLES).max(1);
            at += 1;
            let is_left_out = self
                .state
                .refused
                .iter()
                .any(|(_, id, _)| *id == document.id);
            if let Some(root) = &root
                && at % step == 0
                && !is_left_out
            {
                self.compare_entity(root, types, &document).await?;
            }
        }
        Ok(())
    }

    async fn root(&self, collection: &str) -> Result<Option<ServiceRoot>> {
        let Some((parent, name, _)) = self.collections.get(collection) else {
            return Ok(None);
        };
        let Some(located) = locate::child(&self.context, parent, name).await? else {
            return Ok(None);
        };
        let unit = Arc::clone(&self.migration.unit);
        let context = Arc::clone(&self.context);
        ServiceRoot::of_data(unit, context, &located)
            .await
            .map(Some)
    }

    async fn compare_entity(
        &mut self,
        root: &ServiceRoot,
        types: &TypeMap,
        document: &Document,
    ) -> Result<()> {
        let source = &document.source;
        let type_id = source.entity_type.clone().unwrap_or_default();
        let properties = source.properties.clone().unwrap_or_default();
        let Ok((text, names)) = entity_body(&types.types, &type_id, &properties) else {
            return Ok(());
        };
        let type_name = types.types.get(&type_id).map(|known| known.name.clone());
        let type_name = type_name.unwrap_or_default();
        let id = properties
            .get(ID)
            .and_then(|id| id.as_str())
            .unwrap_or_default();
        let what = format!("entity {type_name}('{id}')");
        let Ok((set, expected)) = validated(root, &type_name, (&text, &names)).await else {
            return Ok(());
        };
        self.found.entities += 1;
        let Some(here) = odata::find(root, &set, &EntityKey::single(id)).await? else {
            self.found.differ(format!("{what} is missing"));
            return Ok(());
        };
        let is_equal = expected
            .properties
            .iter()
            .all(|(name, value)| here.properties.value(name) == value);
        let has_more = here.properties.iter().any(|(name, value)| {
            !value.is_null()
                && !names.contains(&**name)
                && ![ID, PUBLISHED, UPDATED].contains(&&**name)
        });
        if !is_equal || has_more {
            self.found.differ(format!("{what} has other values"));
        }
        self.compare_history(&what, document, &here.stored);
        Ok(())
    }
}
