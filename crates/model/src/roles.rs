//! Roles in access control lists: requests name them by URL, responses relative to a box.

use std::collections::HashMap;

use personium_dav::acl as wire;
use personium_types::{Code, Error, Result};

use crate::acl::{Ace, Acl, Principal, SchemaLevel};
use crate::url::decode_segment;
use crate::{BoxInfo, CellContext, UnitUrls};

/// Converts the list of a request into one with roles by id.
///
/// # Errors
/// [`Code::AclRoleMissing`] if a URL is not that of a role of this cell, or there is no such role; [`Code::AclBoxMissing`] if
/// there is no such box.
pub async fn from_wire(
    urls: &UnitUrls,
    context: &CellContext,
    sent: &wire::AclDocument,
) -> Result<Acl> {
    let mut aces = Vec::with_capacity(sent.entries.len());
    for ace in &sent.entries {
        let principal = match &ace.principal {
            wire::AclPrincipal::All => Principal::All,
            wire::AclPrincipal::Href(url) => Principal::Role(role_id(urls, context, url).await?),
        };
        aces.push(Ace {
            principal,
            grants: ace.privileges.clone(),
        });
    }
    let schema_level = sent.schema_authz.map(|level| match level {
        wire::SchemaAuthz::None => SchemaLevel::None,
        wire::SchemaAuthz::Public => SchemaLevel::Public,
        wire::SchemaAuthz::Confidential => SchemaLevel::Confidential,
    });
    Ok(Acl { schema_level, aces })
}

/// Converts the list of an archive into one with roles by id. Entries for roles that this cell does not have grant nothing:
/// they are left out, and their URLs returned.
///
/// # Errors
/// A failure of the store.
pub async fn from_archive(
    urls: &UnitUrls,
    context: &CellContext,
    described: &wire::AclDocument,
) -> Result<(Acl, Vec<String>)> {
    let mut known = described.clone();
    let mut missing = Vec::new();
    let mut entries = Vec::with_capacity(known.entries.len());
    for entry in known.entries {
        if let wire::AclPrincipal::Href(url) = &entry.principal {
            match role_id(urls, context, url).await {
                Ok(_) => {}
                Err(error) if error.code().is_server_error() => return Err(error),
                Err(_) => {
                    missing.push(url.clone());
                    continue;
                }
            }
        }
        entries.push(entry);
    }
    known.entries = entries;
    Ok((from_wire(urls, context, &known).await?, missing))
}

async fn role_id(urls: &UnitUrls, context: &CellContext, url: &str) -> Result<String> {
    let no_role = || Error::new(Code::AclRoleMissing).with(url);
    let (box_name, role) = split(urls, &context.cell().name, url).ok_or_else(no_role)?;
    let Some(found) = context.find_box(&box_name).await? else {
        return Err(Error::new(Code::AclBoxMissing).with(box_name));
    };
    let role = context.find_role_named(Some(&found.id), &role).await?;
    Ok(role.ok_or_else(no_role)?.id.clone())
}

/// Box and name of a role URL of this cell, `{cell}__role/{box}/{role}`. The port does not matter.
fn split(urls: &UnitUrls, cell: &str, url: &str) -> Option<(String, String)> {
    let http = urls.resolve(url)?;
    let (scheme, rest) = http.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let own = urls.cell(cell);
    let (own_scheme, own_rest) = own.split_once("://")?;
    let (own_authority, own_path) = own_rest.split_once('/')?;
    let own_host = own_authority
        .rsplit_once(':')
        .map_or(own_authority, |(host, _)| host);
    if !scheme.eq_ignore_ascii_case(own_scheme) || !host.eq_ignore_ascii_case(own_host) {
        return None;
    }
    let below = path.strip_prefix(own_path)?.strip_prefix("__role/")?;
    let (box_name, role) = below.split_once('/')?;
    if role.is_empty() || role.contains(['/', '?', '#']) {
        return None;
    }
    Some((decode_segment(box_name)?, decode_segment(role)?))
}

/// The names of the roles of a cell, for responses with many lists.
#[derive(Debug, Default)]
pub struct RoleNames(HashMap<String, String>);

impl RoleNames {
    /// The roles of a cell as they are named relative to `{cell}__role/{box}/` of this box; `None` stands for the
    /// cell itself, whose names are those of its main box.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn relative_to(context: &CellContext, base: Option<&BoxInfo>) -> Result<Self> {
        let main = context.main_box();
        let base = base.map_or(main.id, |b| b.id);
        let boxes = context.boxes().await?;
        let boxes: HashMap<_, _> = boxes.iter().map(|b| (b.id, &b.name)).collect();
        let mut names = HashMap::new();
        for role in context.roles().await?.iter() {
            let box_id = role.box_id.unwrap_or(main.id);
            let name = if box_id == base {
                role.name.clone()
            } else if box_id == main.id {
                format!("../{}/{}", main.name, role.name)
            } else {
                let Some(box_name) = boxes.get(&box_id) else {
                    continue;
                };
                format!("../{box_name}/{}", role.name)
            };
            names.insert(role.id.clone(), name);
        }
        Ok(Self(names))
    }

    /// Their approximate memory in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let texts = self.0.iter().map(|(id, name)| id.len() + name.len());
        self.0.capacity() * size_of::<(String, String)>() + texts.sum::<usize>()
    }

    /// The relative name of a role; `None` if it does not exist any more.
    #[must_use]
    pub fn find(&self, role_id: &str) -> Option<&str> {
        self.0.get(role_id).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_urls_of_the_cell_are_split() {
        let path = UnitUrls::new("http", "localhost", Some(9998), true);
        let host = UnitUrls::new("https", "unit.example", None, false);
        let found = |box_name: &str, role: &str| Some((box_name.to_owned(), role.to_owned()));
        for (urls, url, expected) in [
            (
                &path,
                "http://localhost:9998/c1/__role/b1/r1",
                found("b1", "r1"),
            ),
            (
                &path,
                "http://localhost:1/c1/__role/__/r1",
                found("__", "r1"),
            ),
            (
                &path,
                "http://localhost/c1/__role/b1/r%2B1",
                found("b1", "r+1"),
            ),
            (
                &path,
                "personium-localunit:c1:/__role/b1/r1",
                found("b1", "r1"),
            ),
            (
                &path,
                "personium-localunit:/c1/__role/b1/r1",
                found("b1", "r1"),
            ),
            (
                &host,
                "https://c1.unit.example/__role/b1/r1",
                found("b1", "r1"),
            ),
            (&path, "http://localhost:9998/c2/__role/b1/r1", None),
            (&path, "https://localhost:9998/c1/__role/b1/r1", None),
            (&path, "http://localhost:9998/c1/__role/b1", None),
            (&path, "http://localhost:9998/c1/__role/b1/", None),
            (&path, "http://localhost:9998/c1/__role/b1/r1/", None),
            (&path, "http://localhost:9998/c1/__role/b1/r1?x", None),
            (&path, "http://localhost:9998/c1/b1/r1", None),
            (&host, "https://c2.unit.example/__role/b1/r1", None),
            (&path, "role1", None),
        ] {
            assert_eq!(split(urls, "c1", url), expected, "{url}");
        }
    }
}
