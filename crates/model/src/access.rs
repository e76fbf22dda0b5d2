//! The identity behind a request, and the access check.
//!
//! An [`Access`] is the identity with its roles and scopes. Its `permit` functions are the access check: they make the
//! [`Permit`] that every function that changes data takes and checks. The privilege that an [`Operation`](personium_types::Operation) needs is in
//! the table of operations alone.

mod check;
mod permit;

use personium_types::privilege::AccessType;
use personium_types::{Code, Privilege};

pub(crate) use self::check::{BoxTarget, SnapshotTarget};
pub use self::permit::{Permit, PermitTarget, ServerAuthority};
use crate::credentials::client_id;
use crate::{Cell, UnitUrls};

/// The access of a request: the identity behind it, with its roles, application and scopes.
#[derive(Debug, Clone)]
pub struct Access {
    /// The identity.
    pub identity: Identity,
    /// The entity ids of its roles in the cell of the request.
    pub roles: Vec<String>,
    /// The schema of the token: the URL of the application, with `#c` at the end for a confidential client. `None` for
    /// credentials without an application.
    pub schema: Option<String>,
    /// The scopes of the token. A token without the privilege among them cannot use it at cell level.
    pub scopes: Vec<String>,
    /// The account of an administrator of the unit, by its URL, also if it acts for a unit user. `None` for the master token.
    pub administrator: Option<String>,
}

/// The kind of credentials behind a request.
#[derive(Debug, Clone)]
pub enum Identity {
    /// No credentials.
    Anonymous,
    /// Invalid credentials, with the code to refuse an operation with that needs some.
    Invalid(Code),
    /// Name and password of an account (Basic).
    Basic {
        /// The entity id of the account.
        id: String,
        /// The account name.
        account: String,
    },
    /// A token of an account of this cell.
    Resident {
        /// The entity id of the account.
        id: String,
        /// The subject URL, `{cell}#{account}`.
        subject: String,
    },
    /// A token that only allows to change the password of an account.
    PasswordChange {
        /// The account name.
        account: String,
    },
    /// A token that this cell issued to a user of another cell.
    Visitor {
        /// The visitor's subject URL.
        subject: String,
    },
    /// A token of another cell, used directly.
    TransCell {
        /// The subject URL.
        subject: String,
        /// The cell that issued it.
        issuer: String,
    },
    /// A unit user.
    UnitUser {
        /// The subject that owns cells, in `http(s)` form or verbatim from a header.
        subject: String,
        /// The role at unit level.
        role: UnitRole,
        /// The origin of the subject.
        named_by: NamedBy,
    },
    /// An administrator of the unit.
    UnitAdmin {
        /// The role at unit level.
        role: UnitRole,
    },
    /// The configured master token.
    UnitMaster,
}

/// The origin of the subject of a unit user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The token.
    Token,
    /// An administrator or the master, who acts for the unit user.
    Administrator,
}

/// The access of a unit user to the content of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitRole {
    /// No access.
    None,
    /// Read access.
    ContentsReader,
    /// Read and write access.
    ContentsAdmin,
}

impl Access {
    /// The access without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(Identity::Anonymous)
    }

    /// The access of invalid credentials. Operations that need some are refused with this code.
    #[must_use]
    pub fn invalid(reason: Code) -> Self {
        Self::of(Identity::Invalid(reason))
    }

    /// The access of an identity without roles, application and scopes.
    #[must_use]
    pub fn of(identity: Identity) -> Self {
        Self {
            identity,
            roles: Vec::new(),
            schema: None,
            scopes: Vec::new(),
            administrator: None,
        }
    }

    /// The URL of the identity, as in events and histories.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match &self.identity {
            Identity::Resident { subject, .. }
            | Identity::Visitor { subject }
            | Identity::TransCell { subject, .. }
            | Identity::UnitUser { subject, .. } => Some(subject),
            Identity::Basic { account, .. } | Identity::PasswordChange { account } => Some(account),
            Identity::Anonymous
            | Identity::Invalid(_)
            | Identity::UnitAdmin { .. }
            | Identity::UnitMaster => None,
        }
    }

    /// The entity id of the account of this cell that the credentials are of: a token or a password.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        match &self.identity {
            Identity::Resident { id, .. } | Identity::Basic { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The URL of the application, without the mark of a confidential client.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.schema.as_deref().map(client_id::of_schema)
    }

    /// Whether the identity may manage this cell: an administrator of the unit or the owner. Its content is another matter; see
    /// [`Self::manages_content`].
    #[must_use]
    pub fn manages(&self, urls: &UnitUrls, cell: &Cell) -> bool {
        match &self.identity {
            Identity::UnitMaster | Identity::UnitAdmin { .. } => true,
            Identity::UnitUser { subject, .. } => owns(urls, cell, subject),
            _ => false,
        }
    }

    /// Whether the identity may use the privilege `wanted` on the content of this cell as a unit user.
    #[must_use]
    pub fn manages_content(&self, urls: &UnitUrls, cell: &Cell, wanted: Privilege) -> bool {
        let role = match &self.identity {
            Identity::UnitMaster => return true,
            Identity::UnitAdmin { role } => *role,
            Identity::UnitUser { subject, role, .. } if owns(urls, cell, subject) => *role,
            _ => return false,
        };
        match role {
            UnitRole::ContentsAdmin => true,
            UnitRole::ContentsReader => wanted.access_type() == AccessType::Read,
            UnitRole::None => false,
        }
    }

    /// Whether the identity may give a cell a name whose accounts are unit users: those could become administrators.
    #[must_use]
    pub fn may_name_issuers(&self) -> bool {
        matches!(
            &self.identity,
            Identity::UnitMaster
                | Identity::UnitAdmin { .. }
                | Identity::UnitUser {
                    named_by: NamedBy::Administrator,
                    ..
                }
        )
    }

    /// Whether the scopes of the token include a privilege of the cell level.
    #[must_use]
    pub fn scope_includes(&self, wanted: Privilege) -> bool {
        match &self.identity {
            Identity::UnitMaster
            | Identity::UnitAdmin { .. }
            | Identity::UnitUser { .. }
            | Identity::Basic { .. } => true,
            _ => self
                .scopes
                .iter()
                .any(|scope| Privilege::find_cell_level(scope).is_some_and(|p| p.includes(wanted))),
        }
    }
}

fn owns(urls: &UnitUrls, cell: &Cell, subject: &str) -> bool {
    cell.owner
        .as_deref()
        .is_some_and(|owner| owner == subject || urls.resolve(owner).as_deref() == Some(subject))
}
