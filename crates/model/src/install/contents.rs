//! The tree of an archive: collections as they are described, and files.

use std::collections::BTreeMap;

use bytes::Bytes;
use personium_dav::multistatus::ResourceKind;
use personium_dav::proppatch::PropPatch;
use personium_dav::rootprops::{self, DescribedResource, RootPropsError};
use personium_types::Result;
use personium_xml::XmlLimits;

use super::Installer;
use super::failure::{At, Failure, Fault, Outcome};
use super::package::BarEntry;
use crate::file::{self, Upload};
use crate::node::{NodeKind, SERVICE_SOURCE};
use crate::{collection, properties, roles};

/// What is described, by its path below the box.
pub(super) type Tree = BTreeMap<Vec<String>, DescribedResource>;

/// The description of the box in an archive.
const ROOT_PROPS: &str = "00_meta/90_rootprops.xml";
/// The folder with the tree.
const CONTENTS: &str = "90_contents";

/// Where an entry below the tree belongs.
enum Place {
    /// A file at this path.
    File(Vec<String>),
    /// Something of the OData collection at this path.
    Odata(Vec<String>, Vec<String>),
}

impl Installer {
    /// Makes the collections that the archive describes.
    pub(super) async fn install_collections(&self) -> Outcome<Tree> {
        let entry = self.package.find(ROOT_PROPS);
        let entry = entry.ok_or_else(|| Failure::new(Fault::Place, ROOT_PROPS, "missing"))?;
        self.begin_entry(&entry).await;
        let described = self.described(&entry).await?;
        for found in &described {
            if found.kind != ResourceKind::File {
                self.collection(found).await.at(&entry)?;
            }
        }
        self.end_entry(&entry).await;
        let tree = described
            .into_iter()
            .map(|found| (found.path.clone(), found));
        Ok(tree.collect())
    }

    async fn described(&self, entry: &BarEntry) -> Outcome<Vec<DescribedResource>> {
        let context = self.context().await.at(entry)?;
        let cell = self.unit.urls().cell(&context.cell().name);
        let base = format!("{cell}__role/{}/", self.box_name);
        let scheme = if self.package.is_legacy() {
            "dcbox:"
        } else {
            "personium-localbox:"
        };
        let parse = move |bytes: Vec<u8>| {
            rootprops::parse(&bytes, scheme, &base, &XmlLimits::ARCHIVE_ENTRY)
        };
        let parsed = self.package.read_as(entry, parse).await?;
        parsed.map_err(|fault| match &fault {
            RootPropsError::RuleViolation { rule, .. } => {
                Failure::numbered(rule.number(), entry.name(), &fault)
            }
            RootPropsError::NotXml(_) | RootPropsError::WrongRoot => {
                Failure::new(Fault::Syntax, entry.name(), &fault)
            }
            RootPropsError::Acl { source, .. } => Failure::new(
                Fault::Definition,
                entry.name(),
                format_args!("{fault}: {source}"),
            ),
            RootPropsError::AclBase(_) => Failure::new(Fault::Definition, entry.name(), &fault),
        })
    }

    /// Makes a collection that is described, but for the box and the sources of services, which are there.
    async fn collection(&self, found: &DescribedResource) -> Result<()> {
        let kind = match found.kind {
            ResourceKind::OData => NodeKind::Odata,
            ResourceKind::Service => NodeKind::Service,
            ResourceKind::Collection | ResourceKind::Stream | ResourceKind::File => {
                NodeKind::Collection
            }
        };
        let is_source = found.path.last().is_some_and(|name| name == SERVICE_SOURCE)
            && self.is_service(&found.path).await?;
        if !found.path.is_empty() && !is_source {
            collection::create(&self.resource(&found.path).await?, kind).await?;
        }
        if is_source {
            return Ok(());
        }
        self.decorate(found).await
    }

    /// Whether the collection that holds this one is a service collection.
    async fn is_service(&self, path: &[String]) -> Result<bool> {
        let above = path.get(..path.len().saturating_sub(1)).unwrap_or_default();
        let target = self.resource(above).await?.locate().await?;
        Ok(target.exists() && target.node().value().kind == NodeKind::Service)
    }

    /// Gives a resource its access control list and its properties.
    async fn decorate(&self, found: &DescribedResource) -> Result<()> {
        if let Some(list) = &found.acl {
            let resource = self.resource(&found.path).await?;
            let list = roles::from_wire(self.unit.urls(), &resource.context, list).await?;
            properties::set_acl(&resource, &list).await?;
        }
        if !found.properties.is_empty() {
            let patch = PropPatch {
                sets: found.properties.clone(),
                removes: Vec::new(),
            };
            properties::patch(&self.resource(&found.path).await?, &patch).await?;
        }
        Ok(())
    }

    /// Stores the files of the archive, then fills its OData collections.
    pub(super) async fn install_contents(&self, tree: &Tree) -> Outcome {
        if !self.package.is_legacy() && !self.package.has_contents() {
            return Err(Failure::new(Fault::Place, CONTENTS, "missing"));
        }
        let mut odata: BTreeMap<Vec<String>, Vec<(Vec<String>, BarEntry)>> = tree
            .values()
            .filter(|found| found.kind == ResourceKind::OData)
            .map(|found| (found.path.clone(), Vec::new()))
            .collect();
        for entry in self.package.below(CONTENTS) {
            match place(tree, &entry) {
                Place::Odata(path, rest) => odata.entry(path).or_default().push((rest, entry)),
                Place::File(path) => {
                    self.begin_entry(&entry).await;
                    self.file(tree, &path, &entry).await?;
                    self.end_entry(&entry).await;
                }
            }
        }
        for (path, entries) in odata {
            self.install_odata(&path, entries).await?;
        }
        Ok(())
    }

    async fn file(&self, tree: &Tree, path: &[String], entry: &BarEntry) -> Outcome {
        let described = tree
            .get(path)
            .filter(|found| found.kind == ResourceKind::File);
        let Some(found) = described else {
            return Err(Failure::new(
                Fault::NotDescribed,
                entry.name(),
                path.join("/"),
            ));
        };
        let media_type = found.media_type.as_deref().filter(|text| !text.is_empty());
        if let Some(text) = media_type.filter(|text| !is_media_type(text)) {
            return Err(Failure::new(Fault::MediaType, entry.name(), text));
        }
        let bytes = self.package.read(entry).await?;
        self.put(path, bytes.into(), media_type).await.at(entry)?;
        self.decorate(found).await.at(entry)
    }

    async fn put(&self, path: &[String], bytes: Bytes, media_type: Option<&str>) -> Result<()> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let checked = file::check_put(&resource, &target, None).await?;
        let mut upload = Upload::of_installation(&self.unit, &resource);
        upload.write(bytes).await?;
        let received = upload.finish(media_type.map(str::to_owned)).await?;
        file::put(&resource, checked, received, None).await?;
        Ok(())
    }
}

/// Where an entry below the tree belongs, by what is described. Scripts may lie in their service collection itself.
fn place(tree: &Tree, entry: &BarEntry) -> Place {
    let segments: Vec<String> = entry.path().split('/').skip(1).map(str::to_owned).collect();
    for length in 1..segments.len() {
        let (above, rest) = segments.split_at(length);
        match tree.get(above).map(|found| found.kind) {
            Some(ResourceKind::OData) => return Place::Odata(above.to_vec(), rest.to_vec()),
            Some(ResourceKind::Service) if rest.len() == 1 => {
                let mut path = above.to_vec();
                path.push(SERVICE_SOURCE.to_owned());
                path.extend_from_slice(rest);
                return Place::File(path);
            }
            _ => {}
        }
    }
    Place::File(segments)
}

/// Whether a text is `type/subtype`, with or without parameters (RFC 9110 section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let special = |c: char| "!#$%&'*+-.^_`|~".contains(c);
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || special(c))
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let visible = text.chars().all(|c| !c.is_control());
    visible && matches!(essence.split_once('/'), Some((a, b)) if is_token(a) && is_token(b))
}

#[cfg(test)]
mod tests {
    use super::is_media_type;

    #[test]
    fn media_types() {
        for good in [
            "text/plain",
            "application/vnd.x+json; charset=UTF-8",
            "a/b ; c=\"d/e\"",
        ] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "text", "/", "a/", "/b", "a b/c", "a/b\n", "a/b/c"] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }
}
