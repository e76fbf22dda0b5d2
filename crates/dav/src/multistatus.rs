//! XML response bodies: multistatus for PROPFIND and PROPPATCH, and the error response of MKCOL.
//!
//! Elements of `DAV:` have no prefix but a default namespace, because some clients compare their names literally. There
//! is no XML declaration. Each element is on a line of its own. All functions append to a string, which the caller may send
//! and clear between two calls.

mod indented;
mod selection;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use personium_types::privilege::{Privilege, PrivilegeNamespace};

use self::indented::IndentedXml;
use self::selection::SelectedProperties;
use crate::PERSONIUM_NS;
use crate::acl::SchemaAuthz;
use crate::propfind::PropFind;
use personium_xml::escape_attribute;

/// The kind of a resource in `resourcetype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A plain collection: a cell, a box or a folder.
    Collection,
    /// A collection of OData entities.
    OData,
    /// A collection of scripts.
    Service,
    /// A collection of queues and topics.
    Stream,
    /// A file.
    File,
}

/// The principal of an entry in a printed access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalView<'a> {
    /// Everybody.
    All,
    /// A role, relative to the base of the list: `name` or `../otherbox/name`.
    Href(&'a str),
}

/// An entry of a printed access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AceView<'a> {
    /// The principal.
    pub principal: PrincipalView<'a>,
    /// The granted privileges.
    pub privileges: &'a [Privilege],
    /// The URL of the ancestor that the entry is inherited from. `None` for an entry of the resource itself.
    pub inherited: Option<&'a str>,
}

/// The attributes of a printed access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclView<'a> {
    /// The base of the role references: `{cell}__role/{box}/`.
    pub base: &'a str,
    /// The value of `requireSchemaAuthz` of the resource itself, if it has one.
    pub schema_authz: Option<SchemaAuthz>,
}

/// The part of a response about the access control list of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclProperty<'a> {
    /// The resource has none.
    None,
    /// The caller may not read it.
    Hidden,
    /// The list. An empty one is printed as an element without entries.
    Shown(AclView<'a>),
}

/// The storage of a collection (RFC 4331).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The bytes that can still be stored.
    pub available_bytes: u64,
    /// The bytes that are used.
    pub used_bytes: u64,
}

/// A resource in a PROPFIND response, without its access control entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseProps<'a> {
    /// The absolute URL, by convention without trailing slash.
    pub href: &'a str,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The name that is shown to people.
    pub display_name: Option<&'a str>,
    /// The time of creation in milliseconds since 1970-01-01 UTC, if it is known.
    pub created_ms: Option<i64>,
    /// The time of the last change in milliseconds since 1970-01-01 UTC, if it is known.
    pub updated_ms: Option<i64>,
    /// The size of the content in bytes, for files.
    pub length: Option<u64>,
    /// The stored content type, for files that have one.
    pub content_type: Option<&'a str>,
    /// The entity tag as it stands in the header `ETag`.
    pub etag: Option<&'a str>,
    /// The storage, for collections of which it is known.
    pub quota: Option<Quota>,
    /// The state of a cell, for cells.
    pub cell_status: Option<&'a str>,
    /// The access control list.
    pub acl: AclProperty<'a>,
    /// The dead properties as stored: key, and self-contained XML element.
    pub dead: &'a DeadProperties,
}

/// Dead properties: their keys (see [`crate::proppatch::key`]) and self-contained XML elements.
pub type DeadProperties = BTreeMap<String, String>;

/// A writer for a multistatus document.
///
/// ```
/// use personium_dav::multistatus::{AclProperty, Multistatus, ResourceKind, ResponseProps};
/// use personium_dav::propfind::PropFind;
/// let (mut out, dead) = (String::new(), Default::default());
/// let document = Multistatus::start(&mut out);
/// document.response(&mut out, &PropFind::Unspecified, &ResponseProps {
///     href: "https://cell1.unit.example/box1", kind: ResourceKind::Collection, display_name: None,
///     created_ms: None, updated_ms: None, length: None, content_type: None, etag: None, quota: None,
///     cell_status: None, acl: AclProperty::None, dead: &dead,
/// });
/// // send `out`, clear it, append the next response ...
/// document.finish(&mut out);
/// assert!(out.ends_with("</multistatus>"));
/// ```
#[derive(Debug)]
#[must_use = "the document is incomplete until finish is called"]
pub struct Multistatus(());

impl Multistatus {
    /// Starts the document.
    pub fn start(out: &mut String) -> Self {
        IndentedXml::at_depth(out, 0).open_root("multistatus");
        Self(())
    }

    /// Appends a resource of a PROPFIND response that has no access control entries.
    pub fn response(&self, out: &mut String, wanted: &PropFind, props: &ResponseProps<'_>) {
        self.start_response(out, wanted, props)
            .finish(out, props.dead);
    }

    /// Starts a resource of a PROPFIND response with the properties that the request wants.
    pub fn start_response(
        &self,
        out: &mut String,
        wanted: &PropFind,
        props: &ResponseProps<'_>,
    ) -> OpenResponse {
        let selected = SelectedProperties::of(wanted, props);
        let mut xml = IndentedXml::at_depth(out, 1);
        xml.open("response");
        xml.text("href", props.href);
        if selected.has_found() {
            xml.open("propstat");
            xml.open("prop");
        }
        let has_list = selected.print_live(&mut xml, props);
        OpenResponse { has_list, selected }
    }

    /// Appends the resource of a PROPPATCH response.
    ///
    /// `done` contains the properties that were set or removed, `missing` those that were to be removed but did not exist.
    /// All are self-contained XML. If both are empty, an empty `propstat` with status 200 is written.
    pub fn proppatch<'p>(
        &self,
        out: &mut String,
        href: &str,
        done: impl IntoIterator<Item = &'p str>,
        missing: impl IntoIterator<Item = &'p str>,
    ) {
        let mut xml = IndentedXml::at_depth(out, 1);
        xml.open("response");
        xml.text("href", href);
        let mut done = done.into_iter().peekable();
        let mut missing = missing.into_iter().peekable();
        if done.peek().is_some() || missing.peek().is_none() {
            propstat(&mut xml, done, "200 OK");
        }
        if missing.peek().is_some() {
            propstat(&mut xml, missing, "404 Not Found");
        }
        xml.close("response");
    }

    /// Ends the document.
    pub fn finish(self, out: &mut String) {
        out.push_str("</multistatus>");
    }
}

/// An unfinished resource of a PROPFIND response.
///
/// The caller may send and clear the text between two calls.
#[derive(Debug)]
#[must_use = "the response element is incomplete until finish is called"]
pub struct OpenResponse {
    has_list: bool,
    selected: SelectedProperties,
}

impl OpenResponse {
    /// Whether entries of the access control list are printed.
    #[must_use]
    pub fn has_list(&self) -> bool {
        self.has_list
    }

    /// Appends an access control entry, if the list is shown. Entries of the resource come first, then inherited ones.
    pub fn ace(&self, out: &mut String, entry: &AceView<'_>) {
        if self.has_list {
            ace(&mut IndentedXml::at_depth(out, ACE_DEPTH), entry);
        }
    }

    /// Ends the resource. `dead` are the dead properties with which it was started; they are copied verbatim.
    pub fn finish(self, out: &mut String, dead: &DeadProperties) {
        let mut xml = IndentedXml::at_depth(out, PROPERTY_DEPTH);
        if self.has_list {
            xml.descend();
            xml.close("acl");
        }
        self.selected.print_dead(&mut xml, dead);
        if self.selected.has_found() {
            xml.close_propstat("200 OK");
        }
        let mut xml = IndentedXml::at_depth(out, 2);
        self.selected.print_not_found(&mut xml);
        xml.close("response");
    }
}

/// The depth of a property, and that of an access control entry.
const PROPERTY_DEPTH: usize = 4;
const ACE_DEPTH: usize = PROPERTY_DEPTH + 1;

/// Returns a complete PROPPATCH response; see [`Multistatus::proppatch`].
#[must_use]
pub fn proppatch_response<'p>(
    href: &str,
    done: impl IntoIterator<Item = &'p str>,
    missing: impl IntoIterator<Item = &'p str>,
) -> String {
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    document.proppatch(&mut out, href, done, missing);
    document.finish(&mut out);
    out
}

/// Returns the response body for an invalid resource type (RFC 5689, section 3).
///
/// `first_prop` is the first property of the request as self-contained XML, `description` a text for people.
#[must_use]
pub fn mkcol_error_response(first_prop: Option<&str>, description: &str) -> String {
    let mut out = String::new();
    let mut xml = IndentedXml::at_depth(&mut out, 0);
    xml.open_root("mkcol-response");
    xml.open("propstat");
    xml.open("prop");
    if let Some(prop) = first_prop {
        xml.verbatim(prop);
    }
    xml.close("prop");
    xml.text("status", "HTTP/1.1 403 Forbidden");
    xml.open("error");
    xml.empty("valid-resourcetype");
    xml.close("error");
    xml.text("responsedescription", description);
    xml.close("propstat");
    xml.close("mkcol-response");
    out
}

/// Returns the response body for a refused precondition (RFC 4918, section 16), an element of `DAV:`, with the code of the
/// error and its description for people.
#[must_use]
pub fn precondition_response(precondition: &str, code: &str, description: &str) -> String {
    let mut out = String::new();
    let mut xml = IndentedXml::at_depth(&mut out, 0);
    xml.open_root("error");
    xml.empty(precondition);
    xml.personium("code", Some(code));
    xml.text("responsedescription", description);
    xml.close("error");
    out
}

/// Formats a time for `getlastmodified` and HTTP headers (RFC 9110, section 5.6.7): `Wed, 31 Jan 2024 09:15:30 GMT`.
///
/// `ms` is in milliseconds since 1970-01-01 UTC. A time outside the years 0 to 9999 is printed as the beginning of
/// 1970.
#[must_use]
pub fn http_date(ms: i64) -> String {
    let printer = DateTimePrinter::new();
    printer
        .timestamp_to_rfc9110_string(&timestamp(ms))
        .or_else(|_| printer.timestamp_to_rfc9110_string(&Timestamp::UNIX_EPOCH))
        .unwrap_or_default()
}

fn creation_date(ms: i64) -> String {
    timestamp(ms)
        .strftime("%Y-%m-%dT%H:%M:%S.%3f+0000")
        .to_string()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn propstat<'p>(xml: &mut IndentedXml<'_>, props: impl IntoIterator<Item = &'p str>, status: &str) {
    xml.open("propstat");
    xml.open("prop");
    for prop in props {
        xml.verbatim(prop);
    }
    xml.close_propstat(status);
}

fn resource_type(xml: &mut IndentedXml<'_>, kind: ResourceKind) {
    let extension = match kind {
        ResourceKind::File => return xml.empty("resourcetype"),
        ResourceKind::Collection => None,
        ResourceKind::OData => Some("odata"),
        ResourceKind::Service => Some("service"),
        ResourceKind::Stream => Some("stream"),
    };
    xml.open("resourcetype");
    xml.empty("collection");
    if let Some(name) = extension {
        xml.personium(name, None);
    }
    xml.close("resourcetype");
}

fn open_acl(xml: &mut IndentedXml<'_>, list: &AclView<'_>) {
    xml.start_line();
    let out = xml.out();
    out.push_str("<acl xml:base=\"");
    escape_attribute(out, list.base);
    out.push('"');
    if let Some(level) = list.schema_authz {
        out.extend([" p:requireSchemaAuthz=\"", level.as_str(), "\""]);
    }
    out.extend([" xmlns:p=\"", PERSONIUM_NS, "\">"]);
    xml.end_line();
}

fn ace(xml: &mut IndentedXml<'_>, entry: &AceView<'_>) {
    xml.open("ace");
    xml.open("principal");
    match entry.principal {
        PrincipalView::All => xml.empty("all"),
        PrincipalView::Href(href) => xml.text("href", href),
    }
    xml.close("principal");
    xml.open("grant");
    for &granted in entry.privileges {
        privilege(xml, granted);
    }
    xml.close("grant");
    if let Some(ancestor) = entry.inherited {
        xml.open("inherited");
        xml.text("href", ancestor);
        xml.close("inherited");
    }
    xml.close("ace");
}

fn privilege(xml: &mut IndentedXml<'_>, granted: Privilege) {
    let prefix = match granted.namespace() {
        PrivilegeNamespace::Dav => "",
        PrivilegeNamespace::Personium => "p:",
    };
    xml.open("privilege");
    xml.start_line();
    xml.out().extend(["<", prefix, granted.local_name(), "/>"]);
    xml.end_line();
    xml.close("privilege");
}

#[cfg(test)]
mod tests;
