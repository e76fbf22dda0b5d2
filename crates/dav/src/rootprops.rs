//! The description of everything in a box, as archives of applications hold it (`90_rootprops.xml`): a multistatus
//! document with one response for each resource.

use std::collections::BTreeMap;

use crate::acl::{self, AclDocument, AclError, AclLevel};
use crate::multistatus::ResourceKind;
use crate::name::is_resource_name;
use crate::proppatch::{DeadProperty, is_live, property};
use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// The prefix that archives use for the server's own names, whatever they bind it to.
const OWN_PREFIX: &str = "p";
/// The collection with the scripts of a service collection.
const SOURCE: &str = "__src";
/// Bytes that the name of the box in the base of a list may have.
const BASE_NAME_MAX: usize = 128;

/// A resource that is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedResource {
    /// Where it is below the box; empty for the box itself.
    pub path: Vec<String>,
    /// What it is.
    pub kind: ResourceKind,
    /// The media type, for files.
    pub media_type: Option<String>,
    /// Its access control list. Roles are those of the new box.
    pub acl: Option<AclDocument>,
    /// Its dead properties.
    pub properties: Vec<DeadProperty>,
}

/// A rule that a description breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootPropsRule {
    /// A response has exactly one `href`.
    OneHref,
    /// That is not empty.
    HrefNotEmpty,
    /// It is relative to the box.
    HrefOfBox,
    /// No resource is described twice.
    NoDuplicate,
    /// The collection that holds a resource is described too.
    ParentDescribed,
    /// Nothing is described in an OData collection.
    NothingInOdata,
    /// In a service collection there is its source collection alone.
    SourceInService,
    /// Nothing is in a file.
    NothingInFile,
    /// Every service collection has its source collection.
    ServiceHasSource,
    /// The last segment may name a resource.
    ResourceName,
    /// `resourcetype` says nothing but `collection`, `odata` and `service`.
    ResourceType,
}

impl RootPropsRule {
    /// The number that installers tell it by: `PL-BI-` and four digits.
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

    /// What it demands, for people.
    #[must_use]
    pub const fn requirement(self) -> &'static str {
        match self {
            Self::OneHref => "a response has exactly one href",
            Self::HrefNotEmpty => "an href is not empty",
            Self::HrefOfBox => "an href is relative to the box",
            Self::NoDuplicate => "no resource is described twice",
            Self::ParentDescribed => "the collection that holds a resource is described too",
            Self::NothingInOdata => "nothing is described in an OData collection",
            Self::SourceInService => "a service collection holds its __src alone",
            Self::NothingInFile => "nothing is in a file",
            Self::ServiceHasSource => "a service collection has its __src described",
            Self::ResourceName => "the last segment may name a resource",
            Self::ResourceType => {
                "a resource is a collection, an OData or service collection, or a file"
            }
        }
    }
}

/// Why a description was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootPropsError {
    /// Not XML as this server reads it.
    #[error("cannot read the description of the box")]
    NotXml(#[source] XmlError),
    /// The root is not `multistatus` of `DAV:`.
    #[error("the root of the description is not multistatus")]
    WrongRoot,
    /// It breaks a rule; the text is the `href`.
    #[error("{}: {about}", rule.requirement())]
    RuleViolation {
        /// The rule.
        rule: RootPropsRule,
        /// The `href`; empty if that is what is missing.
        about: String,
    },
    /// An access control list is not valid.
    #[error("the access control list of {about} is not valid")]
    Acl {
        /// The `href`.
        about: String,
        /// What is wrong with it.
        source: AclError,
    },
    /// The base of an access control list names no roles of a box.
    #[error("the base of the access control list of {0} is not valid")]
    AclBase(String),
}

fn violation(rule: RootPropsRule, about: &str) -> RootPropsError {
    let about = about.to_owned();
    RootPropsError::RuleViolation { rule, about }
}

/// Reads and checks a description as a whole.
///
/// `scheme` is what an `href` begins with (`personium-localbox:`), `roles` the URL that names of roles are relative to,
/// `{cell}__role/{box}/`. Lists without `xml:base` are left out.
///
/// # Errors
/// See [`RootPropsError`]; the first fault.
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

/// What `resourcetype` says; `None` for anything that cannot be in an archive.
fn kind(resource_type: &Element) -> Option<ResourceKind> {
    let own = |e: &Element, local: &str| {
        e.is(PERSONIUM_NS, local) || e.prefix() == OWN_PREFIX && e.name().local() == local
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
        about: href.to_owned(),
        source,
    })
}

/// Whether a URL is `http(s)://.../__role/{box}/`, with or without the last slash.
fn is_role_base(base: &str) -> bool {
    let base = base.strip_suffix('/').unwrap_or(base);
    let Some((front, name)) = base.rsplit_once('/') else {
        return false;
    };
    let cell = front.strip_suffix("__role").and_then(|cell| {
        cell.strip_prefix("http://")
            .or_else(|| cell.strip_prefix("https://"))
    });
    cell.is_some_and(|cell| !cell.is_empty()) && (1..=BASE_NAME_MAX).contains(&name.len())
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
        Some(ResourceKind::Service) if name != SOURCE || found.kind != ResourceKind::Collection => {
            return Err(violation(RootPropsRule::SourceInService, href));
        }
        Some(ResourceKind::Collection | ResourceKind::Service) => {}
    }
    if !is_resource_name(name) {
        return Err(violation(RootPropsRule::ResourceName, href));
    }
    let mut source = found.path.clone();
    source.push(SOURCE.to_owned());
    if found.kind == ResourceKind::Service && !kinds.contains_key(&source) {
        return Err(violation(RootPropsRule::ServiceHasSource, href));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
