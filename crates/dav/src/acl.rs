//! The body of ACL (RFC 3744 section 8.1) as far as this server supports it.

use std::collections::HashSet;

use personium_types::privilege::Privilege;

use crate::uri_reference::{MAX_LENGTH_BYTES, resolve};
use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// Entries that a list may have. Every one of them is looked at by each request below the resource, and shown there.
pub const MAX_ACL_ENTRIES: usize = 256;

/// How strictly a box asks for an authenticated application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaAuthz {
    /// No application needed; also ends what a resource would get from above.
    None,
    /// An authenticated application.
    Public,
    /// An application that can keep a secret.
    Confidential,
}

impl SchemaAuthz {
    /// The value as it stands in a document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Public => "public",
            Self::Confidential => "confidential",
        }
    }

    /// The level of this name, exactly as [`Self::as_str`] spells it.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::None, Self::Public, Self::Confidential]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// What the list belongs to, which decides the privileges it may grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclLevel {
    /// A cell: cell and box privileges.
    Cell,
    /// A box or anything in it: box privileges only.
    Box,
}

/// Whom an entry concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AclPrincipal {
    /// Everybody, with or without a token.
    All,
    /// The holders of a role: its URL, made absolute. Whether such a role exists is not known here.
    Href(String),
}

/// One entry: whom it concerns and what it grants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AclEntry {
    /// Whom it concerns.
    pub principal: AclPrincipal,
    /// What it grants, at least one, in document order, none twice.
    pub privileges: Vec<Privilege>,
}

/// A whole list. An empty one clears what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclDocument {
    /// The value of `requireSchemaAuthz`, absent if the attribute is.
    pub schema_authz: Option<SchemaAuthz>,
    /// Entries in document order, none twice, at most [`MAX_ACL_ENTRIES`].
    pub entries: Vec<AclEntry>,
}

/// The part of a list that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AclPart {
    /// Not one of `none`, `public`, `confidential`.
    #[error("requireSchemaAuthz")]
    SchemaAuthz,
    /// Missing, repeated, or neither `all` nor one `href`.
    #[error("principal")]
    Principal,
    /// Empty.
    #[error("href")]
    Href,
    /// Missing or repeated, or the entry denies or inverts.
    #[error("grant")]
    Grant,
    /// Missing, empty, unknown, or not of this level.
    #[error("privilege")]
    Privilege,
    /// There are more entries than [`MAX_ACL_ENTRIES`].
    #[error("number of ace elements (at most {})", MAX_ACL_ENTRIES)]
    Count,
}

/// Why an ACL body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// Not XML as this server reads it.
    #[error("cannot read the ACL body")]
    NotXml(#[source] XmlError),
    /// The root is not `acl` of `DAV:`.
    #[error("the root of the body is not acl")]
    WrongRoot,
    /// A part of the list is missing or not allowed.
    #[error("the {0} of the access control list is not valid")]
    Invalid(AclPart),
    /// A principal's `href` gives no absolute URL; the text is the `href`, at most [`MAX_LENGTH`] bytes of it.
    #[error("the role {0:?} cannot be resolved")]
    Unresolvable(String),
}

/// Reads an ACL body.
///
/// `default_base` is what references are relative to where the root has no `xml:base`. `inherited` and `protected`
/// are ignored, so that a list as PROPFIND prints it may be sent back.
///
/// # Errors
/// See [`AclError`].
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
    read(&root, level, base)
}

/// Reads a list that is part of another document. References are relative to `base`, whatever the list says itself.
///
/// # Errors
/// See [`AclError`].
pub(crate) fn read(list: &Element, level: AclLevel, base: &str) -> Result<AclDocument, AclError> {
    let schema_authz = match list.attribute(PERSONIUM_NS, "requireSchemaAuthz") {
        Some(text) => Some(SchemaAuthz::find(text).ok_or(AclError::Invalid(AclPart::SchemaAuthz))?),
        None => None,
    };
    let mut seen = HashSet::new();
    let mut aces = Vec::new();
    for entry in list.elements_named(DAV_NS, "ace") {
        let ace = AclEntry {
            principal: principal(entry, base)?,
            privileges: privileges(entry, level)?,
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

/// The only item, if there is exactly one.
fn only<'e>(mut items: impl Iterator<Item = &'e Element>) -> Option<&'e Element> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn principal(entry: &Element, base: &str) -> Result<AclPrincipal, AclError> {
    let who = only(entry.elements_named(DAV_NS, "principal"))
        .and_then(|principal| only(principal.elements()))
        .ok_or(AclError::Invalid(AclPart::Principal))?;
    if who.is(DAV_NS, "all") {
        return Ok(AclPrincipal::All);
    }
    if !who.is(DAV_NS, "href") {
        return Err(AclError::Invalid(AclPart::Principal));
    }
    let text = who.text();
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

fn privileges(entry: &Element, level: AclLevel) -> Result<Vec<Privilege>, AclError> {
    let unsupported = |e: &Element| e.is(DAV_NS, "deny") || e.is(DAV_NS, "invert");
    if entry.elements().any(unsupported) {
        return Err(AclError::Invalid(AclPart::Grant));
    }
    let grant =
        only(entry.elements_named(DAV_NS, "grant")).ok_or(AclError::Invalid(AclPart::Grant))?;
    let mut granted = Vec::new();
    for element in grant.elements_named(DAV_NS, "privilege") {
        let privilege = only(element.elements())
            .and_then(|named| find(named, level))
            .ok_or(AclError::Invalid(AclPart::Privilege))?;
        // Privileges are few, so that what is kept stays short.
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

fn find(named: &Element, level: AclLevel) -> Option<Privilege> {
    Privilege::find(named.name().namespace(), named.name().local())
        .filter(|privilege| level == AclLevel::Cell || !privilege.is_cell_level())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://cell1.unit.example/__role/__/";

    fn read_at(level: AclLevel, attributes: &str, inside: &str) -> Result<AclDocument, AclError> {
        let body = format!(
            "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' {attributes}>{inside}</D:acl>"
        );
        parse(body.as_bytes(), level, BASE, &XmlLimits::REQUEST)
    }

    fn read(inside: &str) -> Result<AclDocument, AclError> {
        read_at(AclLevel::Box, "", inside)
    }

    fn entry(principal: &str, privilege: &str) -> String {
        format!(
            "<D:ace><D:principal>{principal}</D:principal>\
             <D:grant><D:privilege>{privilege}</D:privilege></D:grant></D:ace>"
        )
    }

    #[test]
    fn a_list_is_read_with_its_base_and_level() {
        let acl = read_at(
            AclLevel::Box,
            "xml:base='https://cell1.unit.example/__role/box1/' p:requireSchemaAuthz='public'",
            "<D:ace><D:principal><D:href> role1\n</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege>\
             <D:privilege><p:exec/></D:privilege></D:grant></D:ace>\
             <D:ace><D:grant><D:privilege><D:all/></D:privilege></D:grant><D:principal><D:href>../box2/r</D:href>\
             </D:principal><D:inherited><D:href>x</D:href></D:inherited><D:protected/></D:ace>\
             <D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:write-acl/></D:privilege></D:grant></D:ace>",
        )
        .unwrap();
        assert_eq!(acl.schema_authz, Some(SchemaAuthz::Public));
        assert_eq!(
            acl.entries,
            [
                AclEntry {
                    principal: AclPrincipal::Href(
                        "https://cell1.unit.example/__role/box1/role1".to_owned()
                    ),
                    privileges: vec![Privilege::Read, Privilege::Exec],
                },
                AclEntry {
                    principal: AclPrincipal::Href(
                        "https://cell1.unit.example/__role/box2/r".to_owned()
                    ),
                    privileges: vec![Privilege::All],
                },
                AclEntry {
                    principal: AclPrincipal::All,
                    privileges: vec![Privilege::WriteAcl]
                },
            ]
        );
    }

    #[test]
    fn an_empty_list_is_a_list() {
        assert_eq!(
            read(""),
            Ok(AclDocument {
                schema_authz: None,
                entries: Vec::new()
            })
        );
    }

    #[test]
    fn what_stands_twice_counts_once() {
        let read_right = "<D:privilege><D:read/></D:privilege>";
        let twice = format!(
            "<D:ace><D:principal><D:all/></D:principal>\
             <D:grant>{read_right}<D:privilege><D:write/></D:privilege>{read_right}</D:grant></D:ace>"
        );
        let acl = read(&twice).unwrap();
        assert_eq!(
            acl.entries[0].privileges,
            [Privilege::Read, Privilege::Write]
        );

        // The same role, named in two ways, among another.
        let relative = entry("<D:href>r</D:href>", "<D:read/>");
        let absolute = entry(&format!("<D:href>{BASE}r</D:href>"), "<D:read/>");
        let other = entry("<D:href>r</D:href>", "<D:write/>");
        let many = (relative.clone() + &other + &absolute).repeat(MAX_ACL_ENTRIES);
        assert_eq!(read(&many), read(&(relative + &other)));
    }

    #[test]
    fn the_number_of_entries_is_limited() {
        let list = |count: usize| -> String {
            (0..count)
                .map(|n| entry(&format!("<D:href>r{n}</D:href>"), "<D:read/>"))
                .collect()
        };
        assert_eq!(
            read(&list(MAX_ACL_ENTRIES)).unwrap().entries.len(),
            MAX_ACL_ENTRIES
        );
        let refused = read(&list(MAX_ACL_ENTRIES + 1)).unwrap_err();
        assert_eq!(refused, AclError::Invalid(AclPart::Count));
        assert!(refused.to_string().contains("(at most 256)"), "{refused}");
    }

    #[test]
    fn without_base_the_default_one_counts() {
        let acl = read(&entry("<D:href>r</D:href>", "<D:read/>")).unwrap();
        assert_eq!(
            acl.entries[0].principal,
            AclPrincipal::Href(format!("{BASE}r"))
        );
        let acl = read(&entry(
            "<D:href>https://other.example/__role/__/r</D:href>",
            "<D:read/>",
        ))
        .unwrap();
        assert_eq!(
            acl.entries[0].principal,
            AclPrincipal::Href("https://other.example/__role/__/r".to_owned())
        );
    }

    #[test]
    fn privileges_belong_to_a_level_and_a_namespace() {
        for &privilege in Privilege::ALL {
            let named = entry("<D:all/>", &format!("<{privilege}/>"));
            assert_eq!(
                read_at(AclLevel::Cell, "", &named).unwrap().entries[0].privileges,
                [privilege]
            );
            let refused = Err(AclError::Invalid(AclPart::Privilege));
            let given = read(&named).map(|acl| acl.entries[0].privileges.clone());
            assert_eq!(
                given,
                if privilege.is_cell_level() {
                    refused
                } else {
                    Ok(vec![privilege])
                }
            );
        }
        for named in [
            "<D:exec/>",
            "<p:read/>",
            "<D:stream-send/>",
            "<p:box-export/>",
            "<D:test/>",
            "<read/>",
        ] {
            let refused = read_at(AclLevel::Cell, "", &entry("<D:all/>", named));
            assert_eq!(
                refused,
                Err(AclError::Invalid(AclPart::Privilege)),
                "{named}"
            );
        }
    }

    #[test]
    fn an_error_names_the_part() {
        use AclPart::{Grant, Href, Principal, Privilege};
        let read_right = "<D:grant><D:privilege><D:read/></D:privilege></D:grant>";
        let all = "<D:principal><D:all/></D:principal>";
        for (part, inside) in [
            (Principal, read_right.to_owned()),
            (Principal, format!("<D:principal/>{read_right}")),
            (
                Principal,
                format!("<D:principal><D:test/></D:principal>{read_right}"),
            ),
            (
                Principal,
                format!("<D:principal><D:authenticated/></D:principal>{read_right}"),
            ),
            (
                Principal,
                format!("<D:principal><all/></D:principal>{read_right}"),
            ),
            (
                Principal,
                format!("<D:principal><D:all/><D:href>r</D:href></D:principal>{read_right}"),
            ),
            (Principal, format!("{all}{all}{read_right}")),
            (
                Href,
                format!("<D:principal><D:href/></D:principal>{read_right}"),
            ),
            (
                Href,
                format!("<D:principal><D:href> \n</D:href></D:principal>{read_right}"),
            ),
            (Grant, all.to_owned()),
            (
                Grant,
                format!("{all}<D:deny><D:privilege><D:read/></D:privilege></D:deny>"),
            ),
            (Grant, format!("{all}{read_right}<D:deny/>")),
            (Grant, format!("{all}{read_right}<D:invert/>")),
            (Grant, format!("{all}{read_right}{read_right}")),
            (Privilege, format!("{all}<D:grant/>")),
            (Privilege, format!("{all}<D:grant><D:read/></D:grant>")),
            (Privilege, format!("{all}<D:grant><D:privilege/></D:grant>")),
            (
                Privilege,
                format!("{all}<D:grant><D:privilege><D:read/><D:write/></D:privilege></D:grant>"),
            ),
        ] {
            assert_eq!(
                read(&format!("<D:ace>{inside}</D:ace>")),
                Err(AclError::Invalid(part)),
                "{inside}"
            );
        }
        for value in ["", "Public", "private"] {
            let refused = read_at(
                AclLevel::Box,
                &format!("p:requireSchemaAuthz='{value}'"),
                "",
            );
            assert_eq!(
                refused,
                Err(AclError::Invalid(AclPart::SchemaAuthz)),
                "{value}"
            );
        }
    }

    #[test]
    fn a_reference_that_gives_no_url_is_its_own_error() {
        for href in ["a b", "x{y}", "1:2"] {
            let refused = read(&entry(&format!("<D:href>{href}</D:href>"), "<D:read/>"));
            assert_eq!(refused, Err(AclError::Unresolvable(href.to_owned())));
        }
        let relative = read_at(
            AclLevel::Box,
            "xml:base='roles/'",
            &entry("<D:href>r</D:href>", "<D:read/>"),
        );
        assert_eq!(relative, Err(AclError::Unresolvable("r".to_owned())));
    }

    #[test]
    fn another_root_and_no_xml_are_told_apart() {
        let read = |body: &str| parse(body.as_bytes(), AclLevel::Cell, BASE, &XmlLimits::REQUEST);
        assert_eq!(read("<acl/>"), Err(AclError::WrongRoot));
        assert!(matches!(read(""), Err(AclError::NotXml(_))));
        assert!(matches!(
            read("<D:acl xmlns:D='DAV:'>"),
            Err(AclError::NotXml(_))
        ));
    }
}
