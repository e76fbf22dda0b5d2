//! Access control lists as they are stored: roles by id, so that a renamed role keeps its grants.

use personium_dav::acl::SchemaAuthz;
use personium_types::Privilege;
use serde::{Deserialize, Serialize};

/// The access control list of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// The required authentication of applications; `None` inherits it from the parent.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub schema_level: Option<SchemaLevel>,
    /// The entries in their order.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub aces: Vec<Ace>,
}

/// One entry: a principal and its privileges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ace {
    /// The principal.
    #[serde(rename = "p")]
    pub principal: Principal,
    /// The granted privileges, in the order of the request.
    #[serde(rename = "g")]
    pub grants: Vec<Privilege>,
}

/// The principal of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// All users, with or without credentials.
    #[serde(rename = "*")]
    All,
    /// The users with the role of this entity id.
    #[serde(rename = "r")]
    Role(String),
}

/// The required authentication of applications for access to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaLevel {
    /// None.
    None,
    /// As a public client, by its URL.
    Public,
    /// As a confidential client.
    Confidential,
}

impl From<SchemaLevel> for SchemaAuthz {
    fn from(level: SchemaLevel) -> Self {
        match level {
            SchemaLevel::None => Self::None,
            SchemaLevel::Public => Self::Public,
            SchemaLevel::Confidential => Self::Confidential,
        }
    }
}

impl SchemaLevel {
    /// The word in the `requireSchemaAuthz` attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Public => "public",
            Self::Confidential => "confidential",
        }
    }
}

/// The bytes that an entry or a privilege counts besides the id of the role: about the stored length.
const ENTRY_BYTES: usize = 24;

impl Acl {
    /// The bytes that are counted of it.
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        let aces = self.aces.iter().map(|ace| {
            let role = match &ace.principal {
                Principal::All => 0,
                Principal::Role(id) => id.len(),
            };
            role + ENTRY_BYTES * (1 + ace.grants.len())
        });
        aces.sum()
    }

    /// Its approximate memory in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let aces = self.aces.iter().map(|ace| {
            let role = match &ace.principal {
                Principal::All => 0,
                Principal::Role(id) => id.len(),
            };
            size_of::<Ace>() + role + ace.grants.len() * size_of::<Privilege>()
        });
        aces.sum()
    }

    /// Whether an entry grants `wanted` to a user with these roles (entity ids).
    ///
    /// `root` granted to a role includes every privilege; `root` granted to all users includes only those of the cell itself.
    /// Privileges of the cell other than `root` include none in boxes.
    #[must_use]
    pub fn grants(&self, roles: &[String], wanted: Privilege) -> bool {
        self.aces.iter().any(|ace| {
            let is_all = match &ace.principal {
                Principal::All => true,
                Principal::Role(id) if roles.contains(id) => false,
                Principal::Role(_) => return false,
            };
            ace.grants.iter().any(|&granted| {
                granted.includes(wanted)
                    && (!is_all || granted != Privilege::Root || wanted.is_cell_level())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(principal: Principal, granted: Privilege) -> Acl {
        Acl {
            schema_level: None,
            aces: vec![Ace {
                principal,
                grants: vec![granted],
            }],
        }
    }

    #[test]
    fn entries_grant_to_their_role_or_to_all() {
        let roles = vec!["r1".to_owned()];
        let by_role = acl(Principal::Role("r1".into()), Privilege::Read);
        assert!(by_role.grants(&roles, Privilege::Read));
        assert!(by_role.grants(&roles, Privilege::ReadProperties));
        assert!(!by_role.grants(&roles, Privilege::Write));
        assert!(!by_role.grants(&[], Privilege::Read));
        let by_all = acl(Principal::All, Privilege::Read);
        assert!(by_all.grants(&[], Privilege::Read));
        assert!(!by_all.grants(&[], Privilege::ReadAcl));
    }

    #[test]
    fn root_includes_privileges_in_boxes_for_roles_but_not_for_all() {
        let roles = vec!["r1".to_owned()];
        assert!(
            acl(Principal::Role("r1".into()), Privilege::Root).grants(&roles, Privilege::Write)
        );
        let by_all = acl(Principal::All, Privilege::Root);
        assert!(by_all.grants(&[], Privilege::Auth));
        assert!(!by_all.grants(&[], Privilege::Read));
        assert!(!acl(Principal::All, Privilege::Auth).grants(&[], Privilege::Read));
    }
}
