//! `90_rootprops.xml` of archives: a multistatus document that describes all resources of a box.

use std::collections::BTreeMap;

use crate::acl::{self, AclDocument, AclError, AclLevel};
use crate::multistatus::ResourceKind;
use crate::proppatch::{DeadProperty, is_live, property};
use crate::{DAV_NS, PERSONIUM_NS};
use personium_types::name::MemberName;
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// The prefix that archives use for the Personium namespace, even if they bind it to another URI.
const PERSONIUM_PREFIX: &str = "p";
/// The name of the source collection of a service collection.
const SERVICE_SOURCE: &str = "__src";
/// The maximum length in bytes of the box name in the base of an access control list.
const MAX_BASE_NAME_BYTES: usize = 128;

/// The description of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedResource {
    /// The path below the box; empty for the box itself.
    pub path: Vec<String>,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The media type, for files.
    pub media_type: Option<String>,
    /// The access control list. Its roles are those of the new box.
    pub acl: Option<AclDocument>,
    /// The dead properties.
    pub properties: Vec<DeadProperty>,
}

/// A rule for the description of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootPropsRule {
    /// A response has exactly one `href`.
    OneHref,
    /// An `href` is not empty.
    HrefNotEmpty,
    /// An `href` is relative to the box.
    HrefOfBox,
    /// No resource is described twice.
    NoDuplicate,
    /// The parent collection of a resource is described too.
    ParentDescribed,
    /// An OData collection contains no resources.
    NothingInOdata,
    /// A service collection contains only its source collection.
    SourceInService,
    /// A file contains no resources.
    NothingInFile,
    /// A service collection contains its source collection.
    ServiceHasSource,
    /// The last segment of an `href` is a valid resource name.
    ResourceName,
    /// `resourcetype` contains only `collection`, `odata` and `service`.
    ResourceType,
}

impl RootPropsRule {
    /// The number of the rule in the messages of installations (`PL-BI-2008` and following).
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::OneHref => 2008,
            Self::HrefNotEmpty => 2009,
            Self::HrefOfBox => 2010,
            Self::NoDuplicate => 2011,
            Self::ParentDescribed => 2012,
            Self::NothingInOdata => 2013,
            Self::SourceInService => 2014,
            Self::NothingInFile => 2015,
            Self::ServiceHasSource => 2016,
            Self::ResourceName => 2017,
            Self::ResourceType => 2018,
        }
    }

    /// The requirement of the rule, for error messages.
    #[must_use]
    pub const fn requirement(self) -> &'static str {
        match self {
            Self::OneHref => "a response has exactly one href",
            Self::HrefNotEmpty => "an href is not empty",
            Self::HrefOfBox => "an href is relative to the box",
            Self::NoDuplicate => "no resource is described twice",
            Self::ParentDescribed => "the parent collection of a resource is described too",
            Self::NothingInOdata => "an OData collection contains no resources",
            Self::SourceInService => "a service collection contains only __src",
            Self::NothingInFile => "a file contains no resources",
            Self::ServiceHasSource => "a service collection contains __src",
            Self::ResourceName => "the last segment of an href is a valid resource name",
            Self::ResourceType => {
                "a resource is a collection, an OData or service collection, or a file"
            }
        }
    }
}

/// An error in the description of a box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootPropsError {
    /// The document is not valid XML.
    #[error("cannot parse the description of the box")]
    NotXml(#[source] XmlError),
    /// The root element is not `multistatus` in the namespace `DAV:`.
    #[error("the root element of the description is not multistatus")]
    WrongRoot,
    /// A rule is violated.
    #[error("{}: {href}", rule.requirement())]
    RuleViolation {
        /// The rule.
        rule: RootPropsRule,
        /// The `href` of the resource; empty if it is missing.
        href: String,
    },
    /// An access control list is not valid.
    #[error("the access control list of {href} is not valid")]
    Acl {
        /// The `href` of the resource.
        href: String,
        /// The error in the list.
        source: AclError,
    },
    /// The `xml:base` of an access control list is not `{cell}__role/{box}/`. The text is the `href` of the resource.
    #[error("the base of the access control list of {0} is not valid")]
    AclBase(String),
}

fn violation(rule: RootPropsRule, href: &str) -> RootPropsError {
    let href = href.to_owned();
    RootPropsError::RuleViolation { rule, href }
}

/// Parses and validates a description.
///
/// `scheme` is the prefix of every `href` (`personium-localbox:`). `roles` is the base of role references,
/// `{cell}__role/{box}/`. Access control lists without `xml:base` are ignored.
///
/// # Errors
/// The first error: [`RootPropsError::NotXml`], [`RootPropsError::WrongRoot`], [`RootPropsError::RuleViolation`],
/// [`RootPropsError::Acl`], [`RootPropsError::AclBase`].
pub fn parse(
    body: &[u8],
    scheme: &str,
    roles: &str,
    limits: &XmlLimits,
) -> Result<Vec<DescribedResource>, RootPropsError> {
    let root = Element::parse(body, limits).map_err(RootPropsError::NotXml)?;
    if !root.is(DAV_NS, "multistatus") {
        return Err(RootPropsError::WrongRoot);
    }
    let mut described = Vec::new();
    let mut kinds = BTreeMap::new();
    for response in root.elements_named(DAV_NS, "response") {
        let (href, found) = resource(response, scheme, roles)?;
        if kinds.insert(found.path.clone(), found.kind).is_some() {
            return Err(violation(RootPropsRule::NoDuplicate, &href));
        }
        described.push((href, found));
    }
    for (href, found) in &described {
        check_position(&kinds, href, found)?;
    }
    if !kinds.contains_key::<[String]>(&[]) {
        return Err(violation(RootPropsRule::ParentDescribed, scheme));
    }
    Ok(described.into_iter().map(|(_, found)| found).collect())
}

fn resource(
    response: &Element,
    scheme: &str,
    roles: &str,
) -> Result<(String, DescribedResource), RootPropsError> {
    let mut hrefs = response.elements_named(DAV_NS, "href");
    let (Some(href), None) = (hrefs.next(), hrefs.next()) else {
        return Err(violation(RootPropsRule::OneHref, ""));
    };
    let href = href.text().trim().to_owned();
    if href.is_empty() {
        return Err(violation(RootPropsRule::HrefNotEmpty, ""));
    }
    let path = href
        .strip_prefix(scheme)
        .ok_or_else(|| violation(RootPropsRule::HrefOfBox, &href))?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = match path {
        "" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    };
    let mut found = DescribedResource {
        path,
        kind: ResourceKind::File,
        media_type: None,
        acl: None,
        properties: Vec::new(),
    };
    for prop in response
        .elements_named(DAV_NS, "propstat")
        .flat_map(|propstat| propstat.elements_named(DAV_NS, "prop"))
    {
        for element in prop.elements() {
            let name = element.name();
            if name.is(DAV_NS, "resourcetype") {
                found.kind =
                    kind(element).ok_or_else(|| violation(RootPropsRule::ResourceType, &href))?;
            } else if name.is(DAV_NS, "getcontenttype") {
                found.media_type = Some(element.text().trim().to_owned());
            } else if name.is(DAV_NS, "acl") {
                found.acl = list(element, roles, &href)?;
            } else if !is_live(name.namespace(), name.local()) {
                found.properties.push(property(element, None));
            }
        }
    }
    Ok((href, found))
}

/// Reads `resourcetype`. Returns `None` for a kind that an archive cannot contain.
fn kind(resource_type: &Element) -> Option<ResourceKind> {
    let own = |e: &Element, local: &str| {
        e.is(PERSONIUM_NS, local) || e.prefix() == PERSONIUM_PREFIX && e.name().local() == local
    };
    let (mut collection, mut kind) = (false, None);
    for element in resource_type.elements() {
        if element.is(DAV_NS, "collection") {
            collection = true;
        } else if own(element, "odata") {
            kind = Some(ResourceKind::OData);
        } else if own(element, "service") {
            kind = Some(ResourceKind::Service);
        } else {
            return None;
        }
    }
    match (collection, kind) {
        (true, kind) => Some(kind.unwrap_or(ResourceKind::Collection)),
        (false, None) => Some(ResourceKind::File),
        (false, Some(_)) => None,
    }
}

fn list(element: &Element, roles: &str, href: &str) -> Result<Option<AclDocument>, RootPropsError> {
    let Some(base) = element.attribute(XML_NS, "base") else {
        return Ok(None);
    };
    if !is_role_base(base) {
        return Err(RootPropsError::AclBase(href.to_owned()));
    }
    let read = acl::read(element, AclLevel::Box, roles);
    read.map(Some).map_err(|source| RootPropsError::Acl {
        href: href.to_owned(),
        source,
    })
}

/// Whether a URL is `http(s)://.../__role/{box}/`, with or without the trailing slash.
fn is_role_base(base: &str) -> bool {
    let base = base.strip_suffix('/').unwrap_or(base);
    let Some((front, name)) = base.rsplit_once('/') else {
        return false;
    };
    let cell = front.strip_suffix("__role").and_then(|cell| {
        cell.strip_prefix("http://")
            .or_else(|| cell.strip_prefix("https://"))
    });
    cell.is_some_and(|cell| !cell.is_empty()) && (1..=MAX_BASE_NAME_BYTES).contains(&name.len())
}

fn check_position(
    kinds: &BTreeMap<Vec<String>, ResourceKind>,
    href: &str,
    found: &DescribedResource,
) -> Result<(), RootPropsError> {
    let Some((name, parent)) = found.path.split_last() else {
        return match found.kind {
            ResourceKind::Collection => Ok(()),
            _ => Err(violation(RootPropsRule::ResourceType, href)),
        };
    };
    match kinds.get(parent) {
        None => return Err(violation(RootPropsRule::ParentDescribed, href)),
        Some(ResourceKind::OData) => return Err(violation(RootPropsRule::NothingInOdata, href)),
        Some(ResourceKind::File | ResourceKind::Stream) => {
            return Err(violation(RootPropsRule::NothingInFile, href));
        }
        Some(ResourceKind::Service)
            if name != SERVICE_SOURCE || found.kind != ResourceKind::Collection =>
        {
            return Err(violation(RootPropsRule::SourceInService, href));
        }
        Some(ResourceKind::Collection | ResourceKind::Service) => {}
    }
    if name.parse::<MemberName>().is_err() {
        return Err(violation(RootPropsRule::ResourceName, href));
    }
    let mut source = found.path.clone();
    source.push(SERVICE_SOURCE.to_owned());
    if found.kind == ResourceKind::Service && !kinds.contains_key(&source) {
        return Err(violation(RootPropsRule::ServiceHasSource, href));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
