//! Bodies of WebDAV requests.

use std::fmt::Display;

/// The body of a MKCOL request for a collection of this kind: `""`, `odata`, `service` or `stream`.
#[must_use]
pub fn collection_body(kind: &str) -> String {
    let extension = if kind.is_empty() {
        String::new()
    } else {
        format!("<p:{kind}/>")
    };
    format!(
        "<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop><D:resourcetype>\
         <D:collection/>{extension}</D:resourcetype></D:prop></D:set></D:mkcol>"
    )
}

/// The body of an ACL request with these attributes and entries.
#[must_use]
pub fn acl_body(attributes: &str, aces: &str) -> String {
    format!("<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' {attributes}>{aces}</D:acl>")
}

/// Elements of privileges, given by their names with prefix.
#[must_use]
pub fn privileges(names: &[impl Display]) -> String {
    names
        .iter()
        .map(|name| format!("<D:privilege><{name}/></D:privilege>"))
        .collect()
}

/// An entry that grants privileges to a role, given by its URL or relative to the base of the list; empty if there are none.
#[must_use]
pub fn ace(role: &str, names: &[impl Display]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<D:ace><D:principal><D:href>{role}</D:href></D:principal><D:grant>{}</D:grant></D:ace>",
        privileges(names)
    )
}

/// An entry that grants privileges to everybody; empty if there are none.
#[must_use]
pub fn everybody_ace(names: &[impl Display]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<D:ace><D:principal><D:all/></D:principal><D:grant>{}</D:grant></D:ace>",
        privileges(names)
    )
}

/// Distinct entries for everybody, at most 511: each grants another set of nine privileges.
#[must_use]
pub fn distinct_aces(count: usize) -> String {
    let names = [
        "D:read-properties",
        "D:read",
        "D:write-properties",
        "D:write-content",
        "D:bind",
        "D:unbind",
        "D:write",
        "D:read-acl",
        "D:write-acl",
    ];
    let entry = |set: usize| {
        let granted: Vec<&str> = names
            .iter()
            .enumerate()
            .filter(|(bit, _)| set >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        everybody_ace(&granted)
    };
    (1..=count).map(entry).collect()
}
