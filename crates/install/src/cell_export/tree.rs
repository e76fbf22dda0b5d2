//! Writes the boxes, collections and files of a cell.

use personium_archive::snapshot::{self, NodeMeta};
use personium_model::listing::{Member, Members};
use personium_model::node::{Node, NodeKind};
use personium_model::{BoxInfo, keys};
use personium_types::{Error, Result};

use super::{CellExport, ODataPlace, meta};
use crate::export::{MemberPages, open_current};

/// A collection whose members are being written.
struct CellLevel {
    /// The path of its folder in the archive.
    path: String,
    node: Node,
    members: MemberPages,
}

impl CellExport<'_> {
    /// Writes the descriptions of the cell and of everything in its boxes, and the files. Notes the OData collections.
    pub(super) async fn write_tree(&mut self) -> Result<()> {
        let cell = self.context.cell_node().await?;
        self.write_meta(snapshot::CELL_META, meta::describe(&cell.value))
            .await?;
        let boxes = self.context.boxes().await?;
        let main_box = self.context.main_box();
        for info in boxes.iter().chain([&main_box]) {
            self.write_box(info).await?;
        }
        Ok(())
    }

    async fn write_box(&mut self, info: &BoxInfo) -> Result<()> {
        let root = self.context.box_node(info).await?;
        let id = match info.is_main() {
            true => snapshot::MAIN_BOX.to_owned(),
            false => info.id.to_string(),
        };
        let path = format!("{}/{id}", snapshot::TREE);
        self.out.folder(&path).await?;
        self.write_meta(
            &format!("{path}/{}", snapshot::META),
            meta::describe(&root.value),
        )
        .await?;
        let mut levels = vec![self.level(path, root.value.clone())];
        while let Some(level) = levels.last_mut() {
            let Some(member) = level.members.next(&mut self.memory).await? else {
                levels.pop();
                continue;
            };
            let (parent, path) = (level.node.clone(), level.path.clone());
            if let Some(below) = self
                .write_member(&info.id.to_string(), (&parent, &path), member)
                .await?
            {
                levels.push(below);
            }
        }
        Ok(())
    }

    fn level(&self, path: String, node: Node) -> CellLevel {
        CellLevel {
            path,
            members: MemberPages::new(Members::of_collection(self.records.clone(), &node.id)),
            node,
        }
    }

    async fn write_meta(&mut self, entry: &str, described: NodeMeta) -> Result<()> {
        let text = serde_json::to_string(&described).map_err(Error::internal)?;
        self.out.file(entry, text.into()).await
    }

    /// Writes a member of a collection. Returns its own members, if it can have some.
    async fn write_member(
        &mut self,
        box_id: &str,
        (parent, above): (&Node, &str),
        member: Member,
    ) -> Result<Option<CellLevel>> {
        let Member { name, node } = member;
        // The folder of a member with the name of a description would be in its place.
        let is_reserved = name == snapshot::META;
        let folder = match is_reserved {
            true => node.id.to_string(),
            false => name.clone(),
        };
        let path = format!("{above}/{folder}");
        let mut node = node;
        self.out.folder(&path).await?;
        if node.kind == NodeKind::File {
            let entry = format!("{path}/{}", snapshot::CONTENT);
            let Some(written) = self.write_file(&entry, (parent, &name), node).await? else {
                return Ok(None);
            };
            node = written;
        }
        let mut described = meta::describe(&node);
        described.name = is_reserved.then_some(name);
        self.write_meta(&format!("{path}/{}", snapshot::META), described)
            .await?;
        if node.kind == NodeKind::Odata {
            self.collections.push(ODataPlace {
                box_id: box_id.to_owned(),
                id: node.id,
            });
        }
        let has_members = matches!(node.kind, NodeKind::Collection | NodeKind::Service);
        Ok(has_members.then(|| self.level(path, node)))
    }

    /// Writes the content of a file. Returns the file as it was written; `None` if it was removed meanwhile.
    async fn write_file(
        &mut self,
        entry: &str,
        (parent, name): (&Node, &str),
        node: Node,
    ) -> Result<Option<Node>> {
        let key = keys::node(&parent.id, name);
        let opened = open_current(self.unit(), &self.records, (&key, node), |_| Ok(())).await?;
        let Some((node, body, content)) = opened else {
            return Ok(None);
        };
        self.out
            .body(entry, (&body, content), &mut self.memory)
            .await?;
        Ok(Some(node))
    }
}
