//! Creates the collections that the archive describes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use personium_archive::{BarEntry, paths};
use personium_dav::multistatus::ResourceKind;
use personium_dav::rootprops::{self, DescribedResource, RootPropsBase, RootPropsError};
use personium_model::node::{NodeKind, SERVICE_SOURCE};
use personium_model::{collection, properties, roles, service_subject};
use personium_types::Result;
use personium_xml::XmlLimits;

use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::Installer;

/// The described resources, by their path in the box.
#[derive(Default)]
pub(crate) struct Description {
    resources: BTreeMap<Vec<String>, DescribedResource>,
    /// Their paths by the normalized ones (Unicode NFC).
    normalized: HashMap<String, Vec<String>>,
}

impl Description {
    fn new(resources: Vec<DescribedResource>) -> Self {
        let mut description = Self::default();
        for resource in resources {
            let path = resource.path.clone();
            let key = rootprops::normalized(&path.join("/"));
            description.normalized.entry(key).or_insert(path.clone());
            description.resources.insert(path, resource);
        }
        description
    }

    /// The resource that a path of the archive stands for: the one of this path, or of one that differs in the Unicode form
    /// only.
    pub fn find(&self, path: &[String]) -> Option<&DescribedResource> {
        if let Some(found) = self.resources.get(path) {
            return Some(found);
        }
        let same = self
            .normalized
            .get(&rootprops::normalized(&path.join("/")))?;
        self.resources.get(same)
    }

    /// All resources, in the order of their paths.
    pub fn resources(&self) -> impl Iterator<Item = &DescribedResource> {
        self.resources.values()
    }
}

impl Installer {
    /// Creates the collections that the archive describes. Returns the described resources.
    pub(crate) async fn install_collections(&self) -> InstallResult<Description> {
        let entry = self.package.find(paths::ROOT_PROPS).ok_or_else(|| {
            InstallError::new(InstallReason::Misplaced, paths::ROOT_PROPS, "missing")
        })?;
        self.start_entry(&entry).await;
        let described = self.read_description(&entry).await?;
        for resource in &described {
            if resource.kind != ResourceKind::File {
                self.create_collection(resource, &entry).await?;
            }
        }
        self.end_entry(&entry).await;
        Ok(Description::new(described))
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
        let contents = self.package.contents();
        let parse = move |bytes: Vec<u8>| {
            let base = RootPropsBase {
                scheme,
                roles: &base,
                contents: &contents,
            };
            rootprops::parse(&bytes, base, &XmlLimits::ARCHIVE_ENTRY)
        };
        let parsed = self.package.read_as(entry, parse).await?;
        parsed.map_err(|error| {
            let line = Some(error.line() as usize);
            let failed = match &error {
                RootPropsError::RuleViolation { rule, .. } => {
                    InstallError::numbered(rule.number(), entry.name(), &error)
                }
                RootPropsError::NotXml(_) | RootPropsError::WrongRoot => {
                    InstallError::new(InstallReason::Syntax, entry.name(), &error)
                }
                RootPropsError::Acl { .. } | RootPropsError::AclBase { .. } => {
                    InstallError::new(InstallReason::Definition, entry.name(), &error)
                }
            };
            failed.at_line(line)
        })
    }

    /// Creates a described collection with its properties. The box exists already, and the source collection of a service
    /// was created with the service.
    async fn create_collection(
        &self,
        described: &DescribedResource,
        entry: &BarEntry,
    ) -> InstallResult {
        let created = self.add_collection(described).await;
        created.at_line(entry, Some(described.line as usize))?;
        self.set_properties(described, entry).await
    }

    async fn add_collection(&self, described: &DescribedResource) -> Result<()> {
        let kind = match described.kind {
            ResourceKind::OData => NodeKind::Odata,
            ResourceKind::Service => NodeKind::Service,
            ResourceKind::Stream => NodeKind::Stream,
            ResourceKind::Collection | ResourceKind::File => NodeKind::Collection,
        };
        let path = &described.path;
        let is_source = path.last().is_some_and(|name| name == SERVICE_SOURCE)
            && self.is_in_service(path).await?;
        if is_source || path.is_empty() {
            return Ok(());
        }
        collection::create(&self.resource(path).await?, kind)
            .await
            .map(drop)
    }

    /// Whether the parent collection of a path is a service collection.
    async fn is_in_service(&self, path: &[String]) -> Result<bool> {
        let parent = path.get(..path.len().saturating_sub(1)).unwrap_or_default();
        let target = self.resource(parent).await?.locate().await?;
        Ok(target.exists() && target.node().value().kind == NodeKind::Service)
    }

    /// Sets the access control list and the properties of a described resource, which an entry of the archive caused.
    pub(crate) async fn set_properties(
        &self,
        described: &DescribedResource,
        entry: &BarEntry,
    ) -> InstallResult {
        if described.acl.is_none() && described.properties.is_empty() {
            return Ok(());
        }
        let left_out = self.add_properties(described).await;
        let left_out = left_out.at_line(entry, Some(described.line as usize))?;
        for text in left_out {
            self.post_event("PL-BI-1002", entry.name(), &text).await;
        }
        Ok(())
    }

    /// Sets the list and the properties. Returns what is said about parts that are left out: entries of roles that do not exist, and
    /// the account of a service if the requester may not act as any.
    async fn add_properties(&self, described: &DescribedResource) -> Result<Vec<String>> {
        let resource = self.resource(&described.path).await?;
        let (acl, missing) = match &described.acl {
            Some(acl) => {
                let urls = self.unit.urls();
                let (acl, missing) = roles::from_archive(urls, &resource.context, acl).await?;
                (Some(acl), missing)
            }
            None => (None, Vec::new()),
        };
        let line = described.line;
        let missing = missing.into_iter().map(|role| {
            format!("The role [{role}] in line {line} of 90_rootprops.xml does not exist: its entry is left out.")
        });
        let mut left_out: Vec<String> = missing.collect();
        let mut properties = Cow::Borrowed(&described.properties);
        if !self.target.may_write_accounts
            && let Some(without) = service_subject::without_subject(&described.properties)
        {
            properties = Cow::Owned(without);
            left_out.push(format!("The subject of the service in line {line} of 90_rootprops.xml is left out: to name it needs the privilege auth."));
        }
        properties::set_described(&resource, acl.as_ref(), &properties).await?;
        Ok(left_out)
    }
}
