//! The body of ACL (RFC 3744, section 8.1), as far as this server supports it.

use std::collections::HashSet;

use personium_types::privilege::Privilege;

use crate::uri_reference::{MAX_LENGTH_BYTES, resolve};
use crate::{DAV_NS, FORMER_PERSONIUM_NS, PERSONIUM_NS};
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// The maximum number of entries in a list. Every request to the resource or below it evaluates and may print all of them.
pub const MAX_ACL_ENTRIES: usize = 256;

/// The value of `requireSchemaAuthz`: the application authentication that a resource requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaAuthz {
    /// No application authentication. Overrides the value of ancestors.
    None,
    /// An authenticated application.
    Public,
    /// An application that is authenticated as a confidential client.
    Confidential,
}

impl SchemaAuthz {
    /// The value in an XML document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Public => "public",
            Self::Confidential => "confidential",
        }
    }

    /// Finds the level for a value of [`Self::as_str`].
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::None, Self::Public, Self::Confidential]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// The kind of resource that a list belongs to. It determines the privileges that the list can grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclLevel {
    /// A cell: privileges for cells and boxes.
    Cell,
    /// A box or a resource in it: privileges for boxes only.
    Box,
}

/// Where a list comes from. It determines how strictly the namespaces of its privileges are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AclOrigin {
    /// A request.
    Request,
    /// An archive. Released archives have privileges of one namespace in the other one, or in none.
    Archive,
}

/// The principal of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AclPrincipal {
    /// Every caller, with or without a token.
    All,
    /// The callers with a role, by its absolute URL. The existence of the role is not checked.
    Href(String),
}

/// An entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AclEntry {
    /// The principal.
    pub principal: AclPrincipal,
    /// The granted privileges in document order: at least one, without duplicates.
    pub privileges: Vec<Privilege>,
}

/// An access control list. An empty one removes all entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclDocument {
    /// The value of the attribute `requireSchemaAuthz`, if present.
    pub schema_authz: Option<SchemaAuthz>,
    /// The entries in document order, without duplicates, at most [`MAX_ACL_ENTRIES`].
    pub entries: Vec<AclEntry>,
}

/// The invalid part of an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AclPart {
    /// The attribute is not `none`, `public` or `confidential`.
    #[error("requireSchemaAuthz")]
    SchemaAuthz,
    /// The element is missing or repeated, or is neither `all` nor one `href`.
    #[error("principal")]
    Principal,
    /// The element is empty.
    #[error("href")]
    Href,
    /// The element is missing or repeated, or the entry contains `deny` or `invert`.
    #[error("grant")]
    Grant,
    /// The element is missing, empty, unknown, or not allowed at this level.
    #[error("privilege")]
    Privilege,
    /// The list has more than [`MAX_ACL_ENTRIES`] entries.
    #[error("number of ace elements (at most {})", MAX_ACL_ENTRIES)]
    Count,
}

/// An error in an ACL body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// The body is not valid XML.
    #[error("cannot parse the ACL body")]
    NotXml(#[source] XmlError),
    /// The root element is not `acl` in the namespace `DAV:`.
    #[error("the root element is not acl")]
    WrongRoot,
    /// A part of the list is missing or invalid.
    #[error("the {0} of the access control list is not valid")]
    Invalid(AclPart),
    /// The `href` of a principal does not resolve to an absolute URL. The text is the `href`, truncated to
    /// [`MAX_LENGTH_BYTES`].
    #[error("the role {0:?} cannot be resolved")]
    Unresolvable(String),
}

/// Parses an ACL body.
///
/// `default_base` is the base of role references if the root element has no `xml:base`. Entries with `inherited`
/// are left out: they are those of a parent (RFC 3744, section 5.5.4), and a list that PROPFIND printed can be sent back.
/// `protected` is ignored.
///
/// # Errors
/// [`AclError::NotXml`], [`AclError::WrongRoot`], [`AclError::Invalid`], [`AclError::Unresolvable`].
///
/// ```
/// use personium_dav::acl::{AclLevel, AclPrincipal, parse};
/// use personium_types::Privilege;
/// use personium_xml::XmlLimits;
///
/// let body = br#"<acl xmlns="DAV:"><ace>
///     <principal><href>reader</href></principal>
///     <grant><privilege><read/></privilege></grant>
/// </ace></acl>"#;
/// let base = "https://cell1.unit.example/__role/__/";
/// let acl = parse(body, AclLevel::Box, base, &XmlLimits::REQUEST).unwrap();
/// assert_eq!(acl.entries[0].principal, AclPrincipal::Href(format!("{base}reader")));
/// assert_eq!(acl.entries[0].privileges, [Privilege::Read]);
/// ```
pub fn parse(
    body: &[u8],
    level: AclLevel,
    default_base: &str,
    limits: &XmlLimits,
) -> Result<AclDocument, AclError> {
    let root = Element::parse(body, limits).map_err(AclError::NotXml)?;
    if !root.is(DAV_NS, "acl") {
        return Err(AclError::WrongRoot);
    }
    let base = root.attribute(XML_NS, "base").unwrap_or(default_base);
    read(&root, level, base, AclOrigin::Request)
}

/// Parses a list that is part of another document. Role references are relative to `base`; `xml:base` is ignored.
/// Entries of archives with `inherited` are those of another resource (RFC 3744, section 5.5.4): they are left out.
///
/// # Errors
/// [`AclError::Invalid`], [`AclError::Unresolvable`].
pub(crate) fn read(
    list: &Element,
    level: AclLevel,
    base: &str,
    origin: AclOrigin,
) -> Result<AclDocument, AclError> {
    let schema_authz = match list.attribute(PERSONIUM_NS, "requireSchemaAuthz") {
        Some(text) => Some(SchemaAuthz::find(text).ok_or(AclError::Invalid(AclPart::SchemaAuthz))?),
        None => None,
    };
    let mut seen = HashSet::new();
    let mut aces = Vec::new();
    let own = |entry: &&Element| entry.elements_named(DAV_NS, "inherited").next().is_none();
    for entry in list.elements_named(DAV_NS, "ace").filter(own) {
        let ace = AclEntry {
            principal: principal(entry, base)?,
            privileges: privileges(entry, level, origin)?,
        };
        if !seen.insert(ace.clone()) {
            continue;
        }
        if aces.len() == MAX_ACL_ENTRIES {
            return Err(AclError::Invalid(AclPart::Count));
        }
        aces.push(ace);
    }
    Ok(AclDocument {
        schema_authz,
        entries: aces,
    })
}

/// The namespaces in which archives have privileges: the two of [`Privilege`], that of earlier releases, and none.
const ARCHIVE_NAMESPACES: &[&str] = &[DAV_NS, PERSONIUM_NS, FORMER_PERSONIUM_NS, ""];

/// Returns the item if there is exactly one.
fn only<'e>(mut items: impl Iterator<Item = &'e Element>) -> Option<&'e Element> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn principal(entry: &Element, base: &str) -> Result<AclPrincipal, AclError> {
    let element = only(entry.elements_named(DAV_NS, "principal"))
        .and_then(|principal| only(principal.elements()))
        .ok_or(AclError::Invalid(AclPart::Principal))?;
    if element.is(DAV_NS, "all") {
        return Ok(AclPrincipal::All);
    }
    if !element.is(DAV_NS, "href") {
        return Err(AclError::Invalid(AclPart::Principal));
    }
    let text = element.text();
    let href = text.trim();
    if href.is_empty() {
        return Err(AclError::Invalid(AclPart::Href));
    }
    match resolve(base, href) {
        Some(url) => Ok(AclPrincipal::Href(url)),
        None => Err(AclError::Unresolvable(
            href.chars().take(MAX_LENGTH_BYTES / 4).collect(),
        )),
    }
}

fn privileges(
    entry: &Element,
    level: AclLevel,
    origin: AclOrigin,
) -> Result<Vec<Privilege>, AclError> {
    let unsupported = |e: &Element| e.is(DAV_NS, "deny") || e.is(DAV_NS, "invert");
    if entry.elements().any(unsupported) {
        return Err(AclError::Invalid(AclPart::Grant));
    }
    let grant =
        only(entry.elements_named(DAV_NS, "grant")).ok_or(AclError::Invalid(AclPart::Grant))?;
    let mut granted = Vec::new();
    for element in grant.elements_named(DAV_NS, "privilege") {
        let privilege = only(element.elements())
            .and_then(|named| find(named, level, origin))
            .ok_or(AclError::Invalid(AclPart::Privilege))?;
        // There are few privileges, so the list stays short.
        if !granted.contains(&privilege) {
            granted.push(privilege);
        }
    }
    if granted.is_empty() {
        Err(AclError::Invalid(AclPart::Privilege))
    } else {
        Ok(granted)
    }
}

fn find(named: &Element, level: AclLevel, origin: AclOrigin) -> Option<Privilege> {
    let (namespace, local) = (named.name().namespace(), named.name().local());
    let others = match origin {
        AclOrigin::Archive if ARCHIVE_NAMESPACES.contains(&namespace) => ARCHIVE_NAMESPACES,
        _ => &[],
    };
    std::iter::once(&namespace)
        .chain(others)
        .find_map(|namespace| Privilege::find(namespace, local))
        .filter(|privilege| level == AclLevel::Cell || !privilege.is_cell_level())
}

#[cfg(test)]
mod tests;
