//! Imports boxes, collections and files as resources.

use std::collections::{BTreeMap, HashMap};

use personium_archive::BarEntry;
use personium_archive::snapshot::{self, NodeMeta};
use personium_dav::proppatch::{self, PropertyChange};
use personium_model::file::{FileHeaders, Upload};
use personium_model::keys::{self, ControlSet};
use personium_model::node::{Node, NodeKind, SERVICE_SOURCE};
use personium_model::records::{self, store_error};
use personium_model::{BlobReader, properties};
use personium_store::Batch;
use personium_types::name::MemberName;
use personium_types::{NodeId, Result};
use personium_xml::XmlLimits;

use super::{CellImport, ImportedCollection, acl, valid_time};
use crate::cell_export::KINDS;
use crate::snapshot_package::invalid;

/// The number of nodes of one commit, and the size of the small files in it.
const BATCH_NODES: usize = 100;
const BATCH_BYTES: u64 = 1 << 20;
/// The size of the chunks of files.
const CHUNK_BYTES: usize = 256 << 10;

/// The entries of a folder in the tree.
#[derive(Default)]
struct Folder {
    meta: Option<BarEntry>,
    content: Option<BarEntry>,
}

/// Nodes that are committed together.
#[derive(Default)]
struct NodeBatch {
    batch: Batch,
    nodes: usize,
    bytes: u64,
}

/// A node that was created.
#[derive(Clone, Copy)]
struct CreatedNode {
    id: NodeId,
    kind: NodeKind,
}

impl CellImport<'_> {
    /// Imports the descriptions of the cell and of its boxes, and everything in them.
    pub(super) async fn import_tree(&mut self) -> Result<()> {
        let mut batch = NodeBatch::default();
        if let Ok(entry) = self.package().get(snapshot::CELL_META) {
            let mut meta: NodeMeta = self.package().read_json(&entry).await?;
            for xml in meta.properties.values_mut() {
                *xml = self.urls.adapt_text(xml);
            }
            let id = self.new.cell().node_id();
            let node = self.node(entry.name(), &meta, (id, NodeKind::Cell))?;
            records::put(&mut batch.batch, keys::cell_node(), &node)?;
        }
        let mut created: HashMap<String, CreatedNode> = HashMap::new();
        // Those above come before those below.
        for ((_, path), folder) in self.folders() {
            let node = match path.rsplit_once('/') {
                None => self.import_box(&mut batch, &path, &folder).await?,
                Some((above, name)) => {
                    let above = created.get(above).copied();
                    let above = above.ok_or_else(|| invalid(&path, "its folder is missing"))?;
                    self.import_member(&mut batch, above, (&path, name), &folder)
                        .await?
                }
            };
            created.insert(path, node);
            if batch.nodes >= BATCH_NODES || batch.bytes >= BATCH_BYTES {
                self.commit(&mut batch).await?;
            }
        }
        self.commit(&mut batch).await
    }

    async fn commit(&self, batch: &mut NodeBatch) -> Result<()> {
        let batch = std::mem::take(batch);
        let committed = self.new.records().commit(batch.batch).await;
        committed.map_err(store_error).map(drop)
    }

    /// The folders below that of the tree, by their depth and path.
    fn folders(&self) -> BTreeMap<(usize, String), Folder> {
        let mut folders: BTreeMap<(usize, String), Folder> = BTreeMap::new();
        for entry in self.package().entries() {
            let below = entry.name().strip_prefix(snapshot::TREE);
            let Some(below) = below.and_then(|below| below.strip_prefix('/')) else {
                continue;
            };
            let Some((path, name)) = below.rsplit_once('/') else {
                continue;
            };
            let depth = path.matches('/').count();
            let folder = folders.entry((depth, path.to_owned())).or_default();
            match name {
                snapshot::META => folder.meta = Some(entry.clone()),
                snapshot::CONTENT => folder.content = Some(entry.clone()),
                _ => {}
            }
        }
        folders
    }

    async fn read_meta(&self, path: &str, folder: &Folder) -> Result<NodeMeta> {
        let entry = folder.meta.as_ref();
        let entry = entry.ok_or_else(|| invalid(path, "it has no description"))?;
        self.package().read_json(entry).await
    }

    async fn import_box(
        &self,
        batch: &mut NodeBatch,
        path: &str,
        folder: &Folder,
    ) -> Result<CreatedNode> {
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
        let meta = self.read_meta(path, folder).await?;
        let node = self.node(path, &meta, (id, kind))?;
        records::put(&mut batch.batch, keys::box_node(&id), &node)?;
        batch.nodes += 1;
        Ok(CreatedNode { id, kind })
    }

    async fn import_member(
        &mut self,
        batch: &mut NodeBatch,
        above: CreatedNode,
        (path, name): (&str, &str),
        folder: &Folder,
    ) -> Result<CreatedNode> {
        let meta = self.read_meta(path, folder).await?;
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
        let mut node = self.node(path, &meta, (id, *kind))?;
        if *kind == NodeKind::File {
            let content = folder.content.as_ref();
            let content = content.ok_or_else(|| invalid(path, "it has no content"))?;
            self.import_content(batch, &meta, (content, &mut node))
                .await?;
        }
        if *kind == NodeKind::Odata {
            let collection = ImportedCollection {
                parent: above.id,
                name: name.as_str().to_owned(),
            };
            self.collections.insert(meta.id.clone(), collection);
        }
        records::put(
            &mut batch.batch,
            keys::node(&above.id, name.as_str()),
            &node,
        )?;
        batch.batch.add(keys::child_count(&above.id), 1);
        batch.nodes += 1;
        Ok(CreatedNode { id, kind: *kind })
    }

    async fn import_content(
        &self,
        batch: &mut NodeBatch,
        meta: &NodeMeta,
        (content, node): (&BarEntry, &mut Node),
    ) -> Result<()> {
        if !matches!(meta.encryption.as_deref(), None | Some("NONE")) {
            return Err(invalid(content.name(), "it is encrypted"));
        }
        let mut file = self.package().extract(content).await?;
        let mut upload = Upload::into_cell(self.unit(), self.new.cell().id);
        let (mut at, length) = (0, file.length());
        while at < length {
            let chunk = file.read_at(at, CHUNK_BYTES).await.map_err(store_error)?;
            if chunk.is_empty() {
                return Err(invalid(content.name(), "it has become shorter"));
            }
            at += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        batch.bytes += match upload.is_small() {
            true => length,
            false => 0,
        };
        let headers = FileHeaders {
            media_type: meta.media_type.clone().filter(|text| is_header(text)),
            content_encoding: meta.content_encoding.clone().filter(|text| is_header(text)),
        };
        node.file = Some(upload.finish(headers).await?.keep(&mut batch.batch));
        Ok(())
    }

    /// The node of a description, without a body.
    fn node(&self, path: &str, meta: &NodeMeta, (id, kind): (NodeId, NodeKind)) -> Result<Node> {
        let mut node = Node::new(id, kind, valid_time(meta.created));
        node.updated = valid_time(meta.updated);
        node.version = meta.version.clamp(1, u64::from(u32::MAX));
        node.acl = acl::read(&meta.acl, &self.objects);
        let limits = XmlLimits {
            bytes: self.unit().settings().dav.xml_max_bytes,
            ..XmlLimits::REQUEST
        };
        for xml in meta.properties.values() {
            let text = format!(
                "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop>{xml}</D:prop></D:set></D:propertyupdate>"
            );
            let patch = proppatch::parse(text.as_bytes(), &limits);
            let patch = patch.map_err(|error| invalid(path, error))?;
            for change in patch.changes {
                if let PropertyChange::Set(set) = change {
                    node.properties.insert(set.key, set.xml);
                }
            }
        }
        properties::check_size(&node, self.unit())?;
        Ok(node)
    }
}

/// Whether a text can be the value of a header.
fn is_header(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1_000 && !text.chars().any(char::is_control)
}
