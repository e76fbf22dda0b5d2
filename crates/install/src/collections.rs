//! Creates the collections that the archive describes.

use std::collections::BTreeMap;

use personium_archive::{BarEntry, paths};
use personium_dav::multistatus::ResourceKind;
use personium_dav::proppatch::PropPatch;
use personium_dav::rootprops::{self, DescribedResource, RootPropsError};
use personium_model::node::{NodeKind, SERVICE_SOURCE};
use personium_model::{collection, properties, roles};
use personium_types::Result;
use personium_xml::XmlLimits;

use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::Installer;

/// The described resources, by their path in the box.
pub(crate) type DescribedTree = BTreeMap<Vec<String>, DescribedResource>;

impl Installer {
    /// Creates the collections that the archive describes. Returns the described resources.
    pub(crate) async fn install_collections(&self) -> InstallResult<DescribedTree> {
        let entry = self.package.find(paths::ROOT_PROPS).ok_or_else(|| {
            InstallError::new(InstallReason::Misplaced, paths::ROOT_PROPS, "missing")
        })?;
        self.start_entry(&entry).await;
        let described = self.read_description(&entry).await?;
        for resource in &described {
            if resource.kind != ResourceKind::File {
                self.create_collection(resource).await.in_entry(&entry)?;
            }
        }
        self.end_entry(&entry).await;
        let tree = described
            .into_iter()
            .map(|resource| (resource.path.clone(), resource));
        Ok(tree.collect())
    }

    async fn read_description(&self, entry: &BarEntry) -> InstallResult<Vec<DescribedResource>> {
        let context = self.context().await.in_entry(entry)?;
        let cell = self.unit.urls().cell(&context.cell().name);
        let base = format!("{cell}__role/{}/", self.target.box_name);
        let scheme = if self.package.is_legacy() {
            "dcbox:"
        } else {
            "personium-localbox:"
        };
        let parse = move |bytes: Vec<u8>| {
            rootprops::parse(&bytes, scheme, &base, &XmlLimits::ARCHIVE_ENTRY)
        };
        let parsed = self.package.read_as(entry, parse).await?;
        parsed.map_err(|error| match &error {
            RootPropsError::RuleViolation { rule, .. } => {
                InstallError::numbered(rule.number(), entry.name(), &error)
            }
            RootPropsError::NotXml(_) | RootPropsError::WrongRoot => {
                InstallError::new(InstallReason::Syntax, entry.name(), &error)
            }
            RootPropsError::Acl { source, .. } => InstallError::new(
                InstallReason::Definition,
                entry.name(),
                format_args!("{error}: {source}"),
            ),
            RootPropsError::AclBase(_) => {
                InstallError::new(InstallReason::Definition, entry.name(), &error)
            }
        })
    }

    /// Creates a described collection with its properties. The box exists already, and the source collection of a service
    /// was created with the service.
    async fn create_collection(&self, described: &DescribedResource) -> Result<()> {
        let kind = match described.kind {
            ResourceKind::OData => NodeKind::Odata,
            ResourceKind::Service => NodeKind::Service,
            ResourceKind::Collection | ResourceKind::Stream | ResourceKind::File => {
                NodeKind::Collection
            }
        };
        let path = &described.path;
        let is_source = path.last().is_some_and(|name| name == SERVICE_SOURCE)
            && self.is_in_service(path).await?;
        if is_source {
            return Ok(());
        }
        if !path.is_empty() {
            collection::create(&self.resource(path).await?, kind).await?;
        }
        self.set_properties(described).await
    }

    /// Whether the parent collection of a path is a service collection.
    async fn is_in_service(&self, path: &[String]) -> Result<bool> {
        let parent = path.get(..path.len().saturating_sub(1)).unwrap_or_default();
        let target = self.resource(parent).await?.locate().await?;
        Ok(target.exists() && target.node().value().kind == NodeKind::Service)
    }

    /// Sets the access control list and the properties of a described resource.
    pub(crate) async fn set_properties(&self, described: &DescribedResource) -> Result<()> {
        if let Some(acl) = &described.acl {
            let resource = self.resource(&described.path).await?;
            let acl = roles::from_wire(self.unit.urls(), &resource.context, acl).await?;
            properties::set_acl(&resource, &acl).await?;
        }
        if !described.properties.is_empty() {
            let patch = PropPatch {
                sets: described.properties.clone(),
                removes: Vec::new(),
            };
            properties::patch(&self.resource(&described.path).await?, &patch).await?;
        }
        Ok(())
    }
}
