//! Imports boxes, collections and files as resources.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, stream};
use personium_archive::snapshot::{self, NodeMeta};
use personium_dav::proppatch::{self, PropertyChange};
use personium_model::Unit;
use personium_model::file::{FileHeaders, ReceivedBody, Upload};
use personium_model::keys::{self, ControlSet};
use personium_model::node::{Node, NodeKind, SERVICE_SOURCE};
use personium_model::properties;
use personium_model::records::{self, store_error};
use personium_store::Batch;
use personium_types::name::MemberName;
use personium_types::{NodeId, Result};
use personium_xml::XmlLimits;

use super::{CellFilling, ImportedCollection, acl, valid_time};
use crate::cell_export::KINDS;
use crate::cell_source::{CellSource, SourceFolder};
use crate::snapshot_package::invalid;

/// The number of nodes of one commit, and the size of the small files in it.
const BATCH_NODES: usize = 100;
const BATCH_BYTES: u64 = 1 << 20;

/// Nodes that are committed together.
#[derive(Default)]
struct NodeBatch {
    batch: Batch,
    nodes: usize,
    bytes: u64,
}

/// The number of files whose contents are stored at the same time: each waits for the disk.
const FILES_AT_ONCE: usize = 8;

/// A node that was created.
#[derive(Clone, Copy)]
struct CreatedNode {
    id: NodeId,
    kind: NodeKind,
}

/// A file whose content is not stored yet.
struct PendingFile {
    folder: SourceFolder,
    meta: NodeMeta,
    node: Node,
    parent: NodeId,
    name: MemberName,
}

/// A member of a collection, as far as it is imported.
enum ImportedMember {
    Collection(CreatedNode),
    File(Box<PendingFile>),
}

impl NodeBatch {
    /// Adds a member of a collection.
    fn put_member(&mut self, parent: &NodeId, name: &MemberName, node: &Node) -> Result<()> {
        node.count_put(None, &mut self.batch);
        records::put(&mut self.batch, keys::node(parent, name.as_str()), node)?;
        self.batch.add(keys::child_count(parent), 1);
        self.nodes += 1;
        Ok(())
    }
}

impl CellFilling<'_> {
    /// Imports the descriptions of the cell and of its boxes, and everything in them.
    pub(super) async fn import_tree(&mut self) -> Result<()> {
        let mut batch = NodeBatch::default();
        if let Err(error) = self.import_cell_node(&mut batch).await {
            self.refuse(snapshot::CELL_META, "", error)?;
        }
        // Collections by their paths.
        let mut created: HashMap<String, CreatedNode> = HashMap::new();
        let mut files = Vec::new();
        let mut folders = self.source.folders();
        loop {
            let folder = match folders.next().await {
                Ok(Some(folder)) => folder,
                Ok(None) => break,
                Err(error) => {
                    self.refuse(snapshot::TREE, "", error)?;
                    continue;
                }
            };
            let path = folder.path.clone();
            let imported = match path.rsplit_once('/') {
                None => {
                    let created = self.import_box(&mut batch, &folder).await;
                    created.map(ImportedMember::Collection)
                }
                Some((above, name)) => match created.get(above).copied() {
                    Some(above) => self.import_member(&mut batch, above, (folder, name)).await,
                    None => Err(invalid(&path, "its folder is missing")),
                },
            };
            match imported {
                Ok(ImportedMember::Collection(node)) => {
                    created.insert(path, node);
                }
                Ok(ImportedMember::File(file)) => files.push(*file),
                Err(error) => self.refuse(&path, "", error)?,
            }
            if files.len() >= FILES_AT_ONCE {
                self.import_files(&mut batch, &mut files).await?;
            }
            if batch.nodes >= BATCH_NODES || batch.bytes >= BATCH_BYTES {
                self.commit(&mut batch).await?;
            }
        }
        self.import_files(&mut batch, &mut files).await?;
        if matches!(self.source, CellSource::Snapshot(_)) {
            let mut boxes = self.objects.iter();
            let lost = boxes.find(|(id, object)| {
                object.set == ControlSet::Box && !created.contains_key(id.as_str())
            });
            if let Some((id, _)) = lost {
                let path = format!("{}/{id}/{}", snapshot::TREE, snapshot::META);
                self.refuse(&path, id, invalid(&path, "a box has no description"))?;
            }
        }
        self.commit(&mut batch).await
    }

    async fn import_cell_node(&self, batch: &mut NodeBatch) -> Result<()> {
        let Some(mut meta) = self.source.cell_meta().await? else {
            return Ok(());
        };
        for xml in meta.properties.values_mut() {
            *xml = self.urls.adapt_text(xml);
        }
        let id = self.new.cell().node_id();
        if self.kept_properties.is_some() {
            meta.properties.clear();
        }
        let mut node = self.node(snapshot::CELL_META, &meta, (id, NodeKind::Cell))?;
        if let Some(kept) = &self.kept_properties {
            node.properties.clone_from(kept);
        }
        node.count_put(None, &mut batch.batch);
        records::put(&mut batch.batch, keys::cell_node(), &node)
    }

    async fn commit(&self, batch: &mut NodeBatch) -> Result<()> {
        let batch = std::mem::take(batch);
        let committed = self.new.records().commit(batch.batch).await;
        committed.map_err(store_error).map(drop)
    }

    async fn import_box(
        &self,
        batch: &mut NodeBatch,
        folder: &SourceFolder,
    ) -> Result<CreatedNode> {
        let path = folder.path.as_str();
        let id = match path {
            snapshot::MAIN_BOX => self.new.cell().node_id(),
            _ => {
                let found = self.object(path, ControlSet::Box, path)?;
                found
                    .id
                    .parse()
                    .map_err(|_| invalid(path, "its id is not valid"))?
            }
        };
        let kind = NodeKind::Box;
        let meta = self.source.read_meta(folder).await?;
        let node = self.node(path, &meta, (id, kind))?;
        node.count_put(None, &mut batch.batch);
        let key = keys::box_node(&id);
        if path != snapshot::MAIN_BOX {
            // The creation of the box has put one.
            batch.batch.delete(key.clone());
        }
        records::put(&mut batch.batch, key, &node)?;
        batch.nodes += 1;
        Ok(CreatedNode { id, kind })
    }

    async fn import_member(
        &mut self,
        batch: &mut NodeBatch,
        above: CreatedNode,
        (folder, name): (SourceFolder, &str),
    ) -> Result<ImportedMember> {
        let path = folder.path.as_str();
        let meta = self.source.read_meta(&folder).await?;
        let name = meta.name.as_deref().unwrap_or(name);
        let name: MemberName = name
            .parse()
            .map_err(|_| invalid(path, "its name is not valid"))?;
        let may_have = match above.kind {
            NodeKind::Box | NodeKind::Collection => true,
            NodeKind::Service => name.as_str() == SERVICE_SOURCE,
            _ => false,
        };
        let kinds = KINDS
            .iter()
            .filter(|(kind, _)| !matches!(kind, NodeKind::Cell | NodeKind::Box));
        let mut kinds = kinds.filter(|(_, known)| *known == meta.kind);
        let (Some((kind, _)), true) = (kinds.next(), may_have) else {
            return Err(invalid(path, "nothing of this kind can be there"));
        };
        let id = NodeId::random(self.unit().random());
        let node = self.node(path, &meta, (id, *kind))?;
        if *kind == NodeKind::File {
            return Ok(ImportedMember::File(Box::new(PendingFile {
                folder,
                meta,
                node,
                parent: above.id,
                name,
            })));
        }
        if *kind == NodeKind::Odata {
            let collection = ImportedCollection {
                parent: above.id,
                name: name.as_str().to_owned(),
            };
            self.collections.insert(meta.id.clone(), collection);
        }
        batch.put_member(&above.id, &name, &node)?;
        Ok(ImportedMember::Collection(CreatedNode { id, kind: *kind }))
    }

    /// Stores the contents of files, and adds the files to the batch.
    async fn import_files(
        &self,
        batch: &mut NodeBatch,
        files: &mut Vec<PendingFile>,
    ) -> Result<()> {
        let contents = files.drain(..).map(|file| async move {
            let stored = self.import_content(&file).await;
            (file, stored)
        });
        let mut contents = Box::pin(stream::iter(contents).buffered(FILES_AT_ONCE));
        while let Some((mut file, stored)) = contents.next().await {
            match stored {
                Ok((body, inline_bytes)) => {
                    batch.bytes += inline_bytes;
                    file.node.file = Some(body.keep(&mut batch.batch));
                    batch.put_member(&file.parent, &file.name, &file.node)?;
                }
                Err(error) => self.refuse(&file.folder.path, "", error)?,
            }
        }
        Ok(())
    }

    /// Stores the content of a file. Returns it, and how many bytes of it will be in the records.
    async fn import_content(&self, file: &PendingFile) -> Result<(ReceivedBody, u64)> {
        let PendingFile { folder, meta, .. } = file;
        let mut content = self.source.open_content(folder, meta).await?;
        let mut upload = Upload::into_cell(self.unit(), self.new.cell().id);
        let mut length = 0;
        loop {
            let chunk = content.next_chunk().await?;
            if chunk.is_empty() {
                break;
            }
            length += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        let inline_bytes = if upload.is_small() { length } else { 0 };
        let headers = FileHeaders {
            media_type: meta.media_type.clone().filter(|text| is_header(text)),
            content_encoding: meta.content_encoding.clone().filter(|text| is_header(text)),
        };
        Ok((upload.finish(headers).await?, inline_bytes))
    }

    /// The node of a description, without a body.
    fn node(&self, path: &str, meta: &NodeMeta, (id, kind): (NodeId, NodeKind)) -> Result<Node> {
        let mut node = Node::new(id, kind, valid_time(meta.created));
        node.updated = valid_time(meta.updated);
        node.version = meta.version.clamp(1, u64::from(u32::MAX));
        node.acl = acl::read(&meta.acl, |role| {
            let found = self.objects.get(role);
            let found = found.filter(|found| found.set == ControlSet::Role)?;
            Some(found.id.clone())
        });
        let (properties, refused) = dead_properties(&meta.properties, self.unit());
        for (name, error) in refused {
            self.refuse(path, &name, invalid(path, error))?;
        }
        node.properties = properties;
        properties::check_size(&node, self.unit())?;
        Ok(node)
    }
}

/// The dead properties of a description as a request would set them: their elements by their names; and those that are refused, with
/// the reasons.
pub(crate) fn dead_properties(
    described: &BTreeMap<String, String>,
    unit: &Unit,
) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    let limits = XmlLimits {
        bytes: unit.settings().dav.xml_max_bytes,
        ..XmlLimits::REQUEST
    };
    let (mut properties, mut refused) = (BTreeMap::new(), Vec::new());
    for (name, xml) in described {
        let text = format!(
            "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop>{xml}</D:prop></D:set></D:propertyupdate>"
        );
        match proppatch::parse(text.as_bytes(), &limits) {
            Ok(patch) => {
                let changes = patch.changes.into_iter();
                properties.extend(changes.filter_map(|change| match change {
                    PropertyChange::Set(set) => Some((set.key, set.xml)),
                    PropertyChange::Remove(_) => None,
                }));
            }
            Err(error) => refused.push((name.clone(), error.to_string())),
        }
    }
    (properties, refused)
}

/// Whether a text can be the value of a header.
fn is_header(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1_000 && !text.chars().any(char::is_control)
}
