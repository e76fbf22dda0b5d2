//! `90_rootprops.xml` of archives: a multistatus document that describes all resources of a box.

use std::collections::BTreeMap;

use crate::acl::{self, AclDocument, AclError, AclLevel, AclOrigin};
use crate::multistatus::ResourceKind;
use crate::proppatch::{DeadProperty, is_live, property};
use crate::{DAV_NS, FORMER_PERSONIUM_NS, PERSONIUM_NS};
use personium_types::name::MemberName;
use personium_xml::{Element, LocatedXmlError, XML_NS, XmlLimits};

use href::HrefReader;
pub use href::{BoxContents, normalized};

mod href;

/// The prefix that archives use for the Personium namespace, even if they bind it to another URI.
const PERSONIUM_PREFIX: &str = "p";
/// The name of the property with the content encoding of a file.
pub const CONTENT_ENCODING: &str = "contentencoding";
/// The largest length of a content encoding in bytes.
const MAX_CONTENT_ENCODING_BYTES: usize = 256;
/// The name of the source collection of a service collection.
const SERVICE_SOURCE: &str = "__src";
/// The maximum length in characters of the box name in the base of an access control list.
const MAX_BASE_NAME_CHARS: usize = 128;

/// The description of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedResource {
    /// The path below the box; empty for the box itself.
    pub path: Vec<String>,
    /// The line of its description, counted from 1.
    pub line: u32,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The media type, for files.
    pub media_type: Option<String>,
    /// The content encoding, for files whose content is encoded.
    pub content_encoding: Option<String>,
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
    /// `resourcetype` contains only `collection`, `odata`, `service` and `stream`.
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
                "a resource is a collection, an OData, service or stream collection, or a file"
            }
        }
    }
}

/// An error in the description of a box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootPropsError {
    /// The document is not valid XML.
    #[error("{}", .0.error)]
    NotXml(LocatedXmlError),
    /// The root element is not `multistatus` in the namespace `DAV:`.
    #[error("the root element of the description is not multistatus")]
    WrongRoot,
    /// A rule is violated.
    #[error("{}: {href}", rule.requirement())]
    RuleViolation {
        /// The rule.
        rule: RootPropsRule,
        /// The line of the resource; 1 if it is missing.
        line: u32,
        /// The `href` of the resource; empty if it is missing.
        href: String,
    },
    /// An access control list is not valid.
    #[error("{source} ({href})")]
    Acl {
        /// The line of the list.
        line: u32,
        /// The `href` of the resource.
        href: String,
        /// The error in the list.
        source: AclError,
    },
    /// The `xml:base` of an access control list is not `{cell}__role/{box}/`.
    #[error("the xml:base of the access control list is not {{cell}}__role/{{box}}/ ({href})")]
    AclBase {
        /// The line of the list.
        line: u32,
        /// The `href` of the resource.
        href: String,
    },
}

impl RootPropsError {
    /// The line of the error in the description, counted from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        match self {
            Self::NotXml(error) => error.line,
            Self::WrongRoot => 1,
            Self::RuleViolation { line, .. }
            | Self::Acl { line, .. }
            | Self::AclBase { line, .. } => *line,
        }
    }
}

fn violation(rule: RootPropsRule, line: u32, href: &str) -> RootPropsError {
    let href = href.to_owned();
    RootPropsError::RuleViolation { rule, line, href }
}

/// The base of the references of a description.
#[derive(Clone, Copy)]
pub struct RootPropsBase<'a> {
    /// The scheme of every `href`, `personium-localbox:`.
    pub scheme: &'a str,
    /// The base of role references, `{cell}__role/{box}/`.
    pub roles: &'a str,
    /// The paths of the contents of the archive.
    pub contents: &'a BoxContents,
}

/// Parses and validates a description.
///
/// Access control lists without `xml:base`, or with an empty one, are ignored. An `href` may be percent-encoded or not, and
/// composed or decomposed (Unicode NFC, NFD): the contents of the archive tell which.
///
/// # Errors
/// The first error: [`RootPropsError::NotXml`], [`RootPropsError::WrongRoot`], [`RootPropsError::RuleViolation`],
/// [`RootPropsError::Acl`], [`RootPropsError::AclBase`].
pub fn parse(
    body: &[u8],
    base: RootPropsBase<'_>,
    limits: &XmlLimits,
) -> Result<Vec<DescribedResource>, RootPropsError> {
    let root = Element::parse_located(body, limits).map_err(RootPropsError::NotXml)?;
    if !root.is(DAV_NS, "multistatus") {
        return Err(RootPropsError::WrongRoot);
    }
    let mut described = Vec::new();
    let mut kinds = BTreeMap::new();
    let mut hrefs = Vec::new();
    for response in root.elements_named(DAV_NS, "response") {
        hrefs.push((response, href(response, base.scheme)?));
    }
    let reader = HrefReader::new(base.contents, hrefs.iter().map(|(_, (_, path))| path));
    for (response, (href, path)) in hrefs {
        let mut found = DescribedResource {
            path: reader.read(&path),
            line: response.line(),
            kind: ResourceKind::File,
            media_type: None,
            content_encoding: None,
            acl: None,
            properties: Vec::new(),
        };
        describe(&mut found, response, base.roles, &href)?;
        if kinds.insert(found.path.clone(), found.kind).is_some() {
            return Err(violation(RootPropsRule::NoDuplicate, found.line, &href));
        }
        described.push((href, found));
    }
    for (href, found) in &described {
        check_position(&kinds, href, found)?;
    }
    if !kinds.contains_key::<[String]>(&[]) {
        return Err(violation(RootPropsRule::ParentDescribed, 1, base.scheme));
    }
    Ok(described.into_iter().map(|(_, found)| found).collect())
}

/// Reads the `href` of a resource. Returns it with its segments as written.
fn href(response: &Element, scheme: &str) -> Result<(String, Vec<String>), RootPropsError> {
    let line = response.line();
    let mut hrefs = response.elements_named(DAV_NS, "href");
    let (Some(href), None) = (hrefs.next(), hrefs.next()) else {
        return Err(violation(RootPropsRule::OneHref, line, ""));
    };
    let href = href.text().trim().to_owned();
    if href.is_empty() {
        return Err(violation(RootPropsRule::HrefNotEmpty, line, ""));
    }
    // Schemes are case-insensitive (RFC 3986, section 3.1).
    let path = href
        .split_at_checked(scheme.len())
        .filter(|(found, _)| found.eq_ignore_ascii_case(scheme))
        .map(|(_, path)| path)
        .ok_or_else(|| violation(RootPropsRule::HrefOfBox, line, &href))?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = match path {
        "" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    };
    Ok((href, path))
}

/// Reads the kind and the properties of a resource.
fn describe(
    found: &mut DescribedResource,
    response: &Element,
    roles: &str,
    href: &str,
) -> Result<(), RootPropsError> {
    for prop in response
        .elements_named(DAV_NS, "propstat")
        .flat_map(|propstat| propstat.elements_named(DAV_NS, "prop"))
    {
        for element in prop.elements() {
            let name = element.name();
            if name.is(DAV_NS, "resourcetype") {
                let rule = RootPropsRule::ResourceType;
                found.kind = kind(element).ok_or_else(|| violation(rule, element.line(), href))?;
            } else if name.is(DAV_NS, "getcontenttype") {
                found.media_type = Some(element.text().trim().to_owned());
            } else if name.is(DAV_NS, "acl") {
                found.acl = list(element, roles, href)?;
            } else if name.is(PERSONIUM_NS, CONTENT_ENCODING) {
                let encoding = element.text().trim().to_owned();
                found.content_encoding = is_content_encoding(&encoding).then_some(encoding);
            } else if !is_live(name.namespace(), name.local()) {
                found.properties.push(property(element, None));
            }
        }
    }
    Ok(())
}

/// Whether a text is a list of content codings (RFC 9110 section 8.4).
fn is_content_encoding(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_., ".contains(c);
    !text.is_empty() && text.len() <= MAX_CONTENT_ENCODING_BYTES && text.chars().all(is_part)
}

/// Reads `resourcetype`. Returns `None` for a kind that an archive cannot contain.
fn kind(resource_type: &Element) -> Option<ResourceKind> {
    let own = |e: &Element, local: &str| {
        e.is(PERSONIUM_NS, local)
            || e.is(FORMER_PERSONIUM_NS, local)
            || e.prefix() == PERSONIUM_PREFIX && e.name().local() == local
    };
    let (mut collection, mut kind) = (false, None);
    for element in resource_type.elements() {
        if element.is(DAV_NS, "collection") {
            collection = true;
        } else if own(element, "odata") {
            kind = Some(ResourceKind::OData);
        } else if own(element, "service") {
            kind = Some(ResourceKind::Service);
        } else if own(element, "stream") {
            kind = Some(ResourceKind::Stream);
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
    let base = element.attribute(XML_NS, "base").unwrap_or_default().trim();
    if base.is_empty() {
        return Ok(None);
    }
    let line = element.line();
    if !is_role_base(base) {
        let href = href.to_owned();
        return Err(RootPropsError::AclBase { line, href });
    }
    let read = acl::read(element, AclLevel::Box, roles, AclOrigin::Archive);
    read.map(Some).map_err(|source| RootPropsError::Acl {
        line,
        href: href.to_owned(),
        source,
    })
}

/// Whether a URL is `...__role/{box}/`, with or without the trailing slash. The schema of a box may have any scheme.
fn is_role_base(base: &str) -> bool {
    let base = base.strip_suffix('/').unwrap_or(base);
    let Some((front, name)) = base.rsplit_once('/') else {
        return false;
    };
    let schema = front.strip_suffix("__role").unwrap_or_default();
    let is_absolute = matches!(schema.split_once(':'), Some((scheme, rest))
        if !scheme.is_empty() && !matches!(rest, "" | "/" | "//"));
    is_absolute && (1..=MAX_BASE_NAME_CHARS).contains(&name.chars().count())
}

fn check_position(
    kinds: &BTreeMap<Vec<String>, ResourceKind>,
    href: &str,
    found: &DescribedResource,
) -> Result<(), RootPropsError> {
    let Some((name, parent)) = found.path.split_last() else {
        return match found.kind {
            ResourceKind::Collection => Ok(()),
            _ => Err(violation(RootPropsRule::ResourceType, found.line, href)),
        };
    };
    let violation = |rule| Err(violation(rule, found.line, href));
    match kinds.get(parent) {
        None => return violation(RootPropsRule::ParentDescribed),
        Some(ResourceKind::OData) => return violation(RootPropsRule::NothingInOdata),
        Some(ResourceKind::File | ResourceKind::Stream) => {
            return violation(RootPropsRule::NothingInFile);
        }
        Some(ResourceKind::Service)
            if name != SERVICE_SOURCE || found.kind != ResourceKind::Collection =>
        {
            return violation(RootPropsRule::SourceInService);
        }
        Some(ResourceKind::Collection | ResourceKind::Service) => {}
    }
    if name.parse::<MemberName>().is_err() {
        return violation(RootPropsRule::ResourceName);
    }
    let mut source = found.path.clone();
    source.push(SERVICE_SOURCE.to_owned());
    if found.kind == ResourceKind::Service && !kinds.contains_key(&source) {
        return violation(RootPropsRule::ServiceHasSource);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
