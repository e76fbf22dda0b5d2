//! XML response bodies: multistatus for PROPFIND and PROPPATCH, and the error response of MKCOL.
//!
//! Elements of `DAV:` have no prefix but a default namespace, because some clients compare their names literally. There
//! is no XML declaration. All functions append to a string, which the caller may send and clear between two calls.

use jiff::Timestamp;
use personium_types::privilege::{Privilege, PrivilegeNamespace};

use crate::acl::SchemaAuthz;
use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{escape_attribute, escape_text};

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

/// A resource in a PROPFIND response, without its access control entries and dead properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseProps<'a> {
    /// The absolute URL, by convention without trailing slash.
    pub href: &'a str,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The time of creation in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// The time of the last change in milliseconds since 1970-01-01 UTC.
    pub updated_ms: i64,
    /// The size of the content in bytes, for files.
    pub length: Option<u64>,
    /// The stored content type, for files that have one.
    pub content_type: Option<&'a str>,
    /// The state of a cell, for cells.
    pub cell_status: Option<&'a str>,
    /// The access control list, if the caller may read it. An empty list is printed as an empty element.
    pub acl: Option<AclView<'a>>,
}

/// A writer for a multistatus document.
///
/// ```
/// use personium_dav::multistatus::{Multistatus, ResourceKind, ResponseProps};
/// let mut out = String::new();
/// let document = Multistatus::start(&mut out);
/// document.response(&mut out, &ResponseProps {
///     href: "https://cell1.unit.example/box1", kind: ResourceKind::Collection, created_ms: 0, updated_ms: 0,
///     length: None, content_type: None, cell_status: None, acl: None,
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
        open_root(out, "multistatus");
        Self(())
    }

    /// Appends a resource of a PROPFIND response that has neither access control entries nor dead properties.
    pub fn response(&self, out: &mut String, props: &ResponseProps<'_>) {
        self.start_response(out, props).finish(out, []);
    }

    /// Starts a resource of a PROPFIND response.
    pub fn start_response(&self, out: &mut String, props: &ResponseProps<'_>) -> OpenResponse {
        out.push_str("<response>");
        text_element(out, "href", props.href);
        out.push_str("<propstat><prop>");
        text_element(out, "creationdate", &creation_date(props.created_ms));
        if let Some(length) = props.length {
            text_element(out, "getcontentlength", &length.to_string());
        }
        if let Some(content_type) = props.content_type {
            text_element(out, "getcontenttype", content_type);
        }
        text_element(out, "getlastmodified", &http_date(props.updated_ms));
        resource_type(out, props.kind);
        if let Some(status) = props.cell_status {
            personium_element(out, "cellstatus", |out| escape_text(out, status));
        }
        if let Some(list) = &props.acl {
            open_acl(out, list);
        }
        OpenResponse {
            has_list: props.acl.is_some(),
        }
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
        out.push_str("<response>");
        text_element(out, "href", href);
        let mut done = done.into_iter().peekable();
        let mut missing = missing.into_iter().peekable();
        if done.peek().is_some() || missing.peek().is_none() {
            propstat(out, done, "200 OK");
        }
        if missing.peek().is_some() {
            propstat(out, missing, "404 Not Found");
        }
        out.push_str("</response>");
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
}

impl OpenResponse {
    /// Appends an access control entry, if the list is shown. Entries of the resource come first, then inherited ones.
    pub fn ace(&self, out: &mut String, entry: &AceView<'_>) {
        if self.has_list {
            ace(out, entry);
        }
    }

    /// Ends the resource. `dead` contains its dead properties as stored: self-contained XML elements, copied verbatim.
    pub fn finish<'p>(self, out: &mut String, dead: impl IntoIterator<Item = &'p str>) {
        if self.has_list {
            out.push_str("</acl>");
        }
        out.extend(dead);
        close_propstat(out, "200 OK");
        out.push_str("</response>");
    }
}

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
    open_root(&mut out, "mkcol-response");
    out.push_str("<propstat><prop>");
    out.extend(first_prop);
    out.push_str(
        "</prop><status>HTTP/1.1 403 Forbidden</status><error><valid-resourcetype/></error>",
    );
    text_element(&mut out, "responsedescription", description);
    out.push_str("</propstat></mkcol-response>");
    out
}

/// Formats a time for `getlastmodified` and HTTP headers (RFC 9110, section 5.6.7): `Wed, 31 Jan 2024 09:15:30 GMT`.
///
/// `ms` is in milliseconds since 1970-01-01 UTC. A time outside the years -9999 to 9999 is printed as the beginning of
/// 1970.
#[must_use]
pub fn http_date(ms: i64) -> String {
    timestamp(ms)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

fn creation_date(ms: i64) -> String {
    timestamp(ms)
        .strftime("%Y-%m-%dT%H:%M:%S.%3f+0000")
        .to_string()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn open_root(out: &mut String, name: &str) {
    out.push('<');
    out.push_str(name);
    out.push_str(" xmlns=\"");
    out.push_str(DAV_NS);
    out.push_str("\">");
}

fn text_element(out: &mut String, name: &str, text: &str) {
    for part in ["<", name, ">"] {
        out.push_str(part);
    }
    escape_text(out, text);
    for part in ["</", name, ">"] {
        out.push_str(part);
    }
}

/// Writes `<p:name>` with its namespace declaration.
fn personium_element(out: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    for part in ["<p:", name, " xmlns:p=\"", PERSONIUM_NS, "\">"] {
        out.push_str(part);
    }
    content(out);
    for part in ["</p:", name, ">"] {
        out.push_str(part);
    }
}

fn propstat<'p>(out: &mut String, props: impl IntoIterator<Item = &'p str>, status: &str) {
    out.push_str("<propstat><prop>");
    out.extend(props);
    close_propstat(out, status);
}

fn close_propstat(out: &mut String, status: &str) {
    for part in ["</prop><status>HTTP/1.1 ", status, "</status></propstat>"] {
        out.push_str(part);
    }
}

fn resource_type(out: &mut String, kind: ResourceKind) {
    let extension = match kind {
        ResourceKind::File => {
            out.push_str("<resourcetype/>");
            return;
        }
        ResourceKind::Collection => None,
        ResourceKind::OData => Some("odata"),
        ResourceKind::Service => Some("service"),
        ResourceKind::Stream => Some("stream"),
    };
    out.push_str("<resourcetype><collection/>");
    if let Some(name) = extension {
        personium_element(out, name, |_| {});
    }
    out.push_str("</resourcetype>");
}

fn open_acl(out: &mut String, list: &AclView<'_>) {
    out.push_str("<acl xml:base=\"");
    escape_attribute(out, list.base);
    out.push('"');
    if let Some(level) = list.schema_authz {
        for part in [" p:requireSchemaAuthz=\"", level.as_str(), "\""] {
            out.push_str(part);
        }
    }
    for part in [" xmlns:p=\"", PERSONIUM_NS, "\">"] {
        out.push_str(part);
    }
}

fn ace(out: &mut String, entry: &AceView<'_>) {
    out.push_str("<ace><principal>");
    match entry.principal {
        PrincipalView::All => out.push_str("<all/>"),
        PrincipalView::Href(href) => text_element(out, "href", href),
    }
    out.push_str("</principal><grant>");
    for &granted in entry.privileges {
        privilege(out, granted);
    }
    out.push_str("</grant>");
    if let Some(ancestor) = entry.inherited {
        out.push_str("<inherited>");
        text_element(out, "href", ancestor);
        out.push_str("</inherited>");
    }
    out.push_str("</ace>");
}

fn privilege(out: &mut String, granted: Privilege) {
    let prefix = match granted.namespace() {
        PrivilegeNamespace::Dav => "",
        PrivilegeNamespace::Personium => "p:",
    };
    for part in [
        "<privilege><",
        prefix,
        granted.local_name(),
        "/></privilege>",
    ] {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests;
