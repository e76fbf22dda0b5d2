//! Writes the collections and files of a box, and their description.

use std::sync::Arc;

use bytes::Bytes;
use personium_archive::paths;
use personium_dav::multistatus::{
    AceView, AclProperty, AclView, DeadProperties, Multistatus, PrincipalView, ResponseProps,
};
use personium_dav::propfind::PropFind;
use personium_dav::{PERSONIUM_NS, proppatch, rootprops};
use personium_model::file::{self, FileContent};
use personium_model::keys;
use personium_model::listing::{Member, Members};
use personium_model::node::{FileBody, Node, NodeKind};
use personium_model::records::Records;
use personium_model::temp_file::TempFile;
use personium_model::temp_folder::TempFolder;
use personium_model::{BlobReader, Principal, Unit};
use personium_store::Key;
use personium_types::{Code, NodeId, Result};
use personium_xml::escape_text;

use super::Export;
use super::member_pages::MemberPages;

/// The scheme of the paths in a description.
const SCHEME: &str = "personium-localbox:";
/// The size from which on the description is written to its file.
const DESCRIPTION_BYTES: usize = 128 << 10;
/// The number of attempts to read a file that is replaced meanwhile.
const MAX_FILE_ATTEMPTS: usize = 20;

/// The description of the resources, in a temporary file: an archive is written entry by entry.
struct WrittenDescription {
    file: TempFile,
    document: Multistatus,
    out: String,
}

/// A collection whose members are being written.
struct Level {
    id: NodeId,
    /// Its path below the box: empty, or with a trailing `/`.
    path: String,
    members: MemberPages,
}

impl WrittenDescription {
    async fn start(folder: &TempFolder) -> Result<Self> {
        let mut out = String::new();
        Ok(Self {
            file: TempFile::create(folder).await?,
            document: Multistatus::start(&mut out),
            out,
        })
    }

    async fn spill(&mut self, min_bytes: usize) -> Result<()> {
        if self.out.len() >= min_bytes {
            let text = std::mem::take(&mut self.out);
            self.file.append(Bytes::from(text)).await?;
        }
        Ok(())
    }
}

impl Export<'_> {
    /// Writes everything in the box, then its description.
    pub(super) async fn write_tree(&mut self) -> Result<()> {
        let unit = Arc::clone(&self.subject.unit);
        let mut description = WrittenDescription::start(&unit.settings().archives.temp_dir).await?;
        let info = Arc::clone(&self.subject.info);
        let root = self.records.find::<Node>(&keys::box_node(&info.id)).await?;
        let root = root.map_or_else(
            || Node::new(info.id, NodeKind::Box, info.published),
            |found| found.value,
        );
        self.describe(&mut description, "", &root).await?;
        let mut levels = vec![self.level(&info.id, String::new())];
        while let Some(level) = levels.last_mut() {
            let Some(member) = level.members.next(&mut self.memory).await? else {
                levels.pop();
                continue;
            };
            let (parent, path) = (level.id, format!("{}{}", level.path, member.name));
            if let Some(below) = self
                .write_member(&mut description, &parent, &path, member)
                .await?
            {
                levels.push(below);
            }
        }
        self.write_description(description).await
    }

    fn level(&self, id: &NodeId, path: String) -> Level {
        Level {
            id: *id,
            path,
            members: MemberPages::new(Members::of_collection(self.records.clone(), id)),
        }
    }

    /// Writes a member of a collection. Returns its own members, if it can have some.
    async fn write_member(
        &mut self,
        description: &mut WrittenDescription,
        parent: &NodeId,
        path: &str,
        member: Member,
    ) -> Result<Option<Level>> {
        let Member { name, node } = member;
        self.check_application(&node)?;
        let entry = format!("{}/{path}", paths::CONTENTS);
        match node.kind {
            NodeKind::Cell | NodeKind::Box => return Ok(None),
            NodeKind::File => {
                if let Some(written) = self.write_file(&entry, parent, &name, node).await? {
                    self.describe(description, path, &written).await?;
                }
                return Ok(None);
            }
            NodeKind::Odata => {
                self.out.folder(&entry).await?;
                Box::pin(self.write_odata_collection(&entry, &node.id)).await?;
            }
            NodeKind::Collection | NodeKind::Service | NodeKind::Stream => {
                self.out.folder(&entry).await?;
            }
        }
        self.describe(description, path, &node).await?;
        let has_members = matches!(node.kind, NodeKind::Collection | NodeKind::Service);
        Ok(has_members.then(|| self.level(&node.id, format!("{path}/"))))
    }

    /// Checks that the caller may read a resource in a box that it may read.
    fn check_application(&self, node: &Node) -> Result<()> {
        let Some(level) = node.acl.schema_level else {
            return Ok(());
        };
        let subject = self.subject;
        let (urls, cell) = (subject.unit.urls(), subject.context.cell());
        let access = &subject.access;
        access.check_application(urls, cell, &subject.info, level)
    }

    /// Writes the content of a file. Returns the file as it was written; `None` if it was removed meanwhile.
    async fn write_file(
        &mut self,
        entry: &str,
        parent: &NodeId,
        name: &str,
        node: Node,
    ) -> Result<Option<Node>> {
        let key = keys::node(parent, name);
        let check = |found: &Node| self.check_application(found);
        let unit = &self.subject.unit;
        let opened = open_current(unit, &self.records, (&key, node), check).await?;
        let Some((node, body, content)) = opened else {
            return Ok(None);
        };
        self.out
            .body(entry, (&body, content), &mut self.memory)
            .await?;
        Ok(Some(node))
    }

    /// Appends all of a body to the last file of the archive.
    pub(super) async fn copy(&mut self, reader: Box<dyn BlobReader>) -> Result<()> {
        self.out.copy(reader, &mut self.memory).await
    }

    /// Appends a resource to the description.
    async fn describe(
        &self,
        description: &mut WrittenDescription,
        path: &str,
        node: &Node,
    ) -> Result<()> {
        let file = node.file.as_ref();
        let dead = properties(node);
        let props = ResponseProps {
            href: &format!("{SCHEME}/{path}"),
            kind: node.kind.into(),
            display_name: None,
            created_ms: Some(node.created),
            updated_ms: Some(node.updated),
            length: file.map(|file| file.length),
            content_type: file.map(|file| file.media_type.as_deref().unwrap_or_default()),
            etag: None,
            quota: None,
            cell_status: None,
            acl: AclProperty::Shown(AclView {
                base: &self.role_base,
                schema_authz: node.acl.schema_level.map(Into::into),
            }),
            dead: &dead,
        };
        let (document, out) = (&description.document, &mut description.out);
        let response = document.start_response(out, &PropFind::Unspecified, &props);
        for ace in &node.acl.aces {
            let principal = match &ace.principal {
                Principal::All => PrincipalView::All,
                Principal::Role(id) => match self.roles.find(id) {
                    Some(name) => PrincipalView::Href(name),
                    // The role was removed.
                    None => continue,
                },
            };
            let view = AceView {
                principal,
                privileges: &ace.grants,
                inherited: None,
            };
            response.ace(out, &view);
        }
        response.finish(out, &dead);
        description.spill(DESCRIPTION_BYTES).await
    }

    async fn write_description(&mut self, mut description: WrittenDescription) -> Result<()> {
        description.document.finish(&mut description.out);
        let text = std::mem::take(&mut description.out);
        let mut file = description.file;
        file.append(Bytes::from(text)).await?;
        self.out
            .start_file(paths::ROOT_PROPS, file.length())
            .await?;
        self.copy(Box::new(file)).await
    }
}

/// Opens the body of a file that may be replaced meanwhile, the node with this key. Returns the file as it was opened; `None` if
/// it was removed. `check` may refuse its successors.
///
/// # Errors
/// [`Code::DavContent`] if the body is missing or damaged, [`Code::DavVanished`] if it changes too fast; failures of the store.
pub(crate) async fn open_current(
    unit: &Unit,
    records: &Records,
    (key, mut node): (&Key, Node),
    check: impl Fn(&Node) -> Result<()>,
) -> Result<Option<(Node, FileBody, FileContent)>> {
    let mut missing = None;
    for _ in 0..MAX_FILE_ATTEMPTS {
        let body = node.file.clone().ok_or(Code::DavMeta)?;
        if let Some(content) = file::open_body(unit, records, &body).await? {
            return Ok(Some((node, body, content)));
        }
        if missing.replace(body.blob) == Some(body.blob) {
            return Err(Code::DavContent.into());
        }
        match records.find::<Node>(key).await? {
            Some(found) if found.value.kind == NodeKind::File => node = found.value,
            _ => return Ok(None),
        }
        check(&node)?;
    }
    Err(Code::DavVanished.into())
}

/// The dead properties that describe a node, with the content encoding of a file.
fn properties(node: &Node) -> DeadProperties {
    let mut dead = node.properties.clone();
    let file = node.file.as_ref();
    if let Some(encoding) = file.and_then(|file| file.content_encoding.as_deref()) {
        let name = rootprops::CONTENT_ENCODING;
        let mut xml = format!("<p:{name} xmlns:p=\"{PERSONIUM_NS}\">");
        escape_text(&mut xml, encoding);
        xml.push_str(&format!("</p:{name}>"));
        dead.insert(proppatch::key(PERSONIUM_NS, name), xml);
    }
    dead
}
