//! The identity behind a request, and the access check.
//!
//! An [`Access`] is the identity with its roles and scopes. Its `permit` functions are the access check: they make the
//! [`Permit`] that every function that changes data takes and checks. The privilege that an [`Operation`] needs stands in
//! the table of operations alone.

mod permit;

use personium_types::privilege::AccessType;
use personium_types::{Code, Error, Need, NodeId, Operation, Privilege, Result};

pub use self::permit::{Permit, PermitTarget, ServerAuthority};
use crate::credentials::client_id;
use crate::{Acl, BoxInfo, Cell, SchemaLevel, UnitUrls};

/// Who asks.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who.
    pub identity: Identity,
    /// The entity ids of the roles in the cell that is asked.
    pub roles: Vec<String>,
    /// The app the token was issued to; ends with `#c` for a confidential client. `None` for kinds without an app.
    pub schema: Option<String>,
    /// The scopes of the token. A token without the privilege among them cannot use it at cell level.
    pub scopes: Vec<String>,
}

/// The kind of credentials behind a request.
#[derive(Debug, Clone)]
pub enum Identity {
    /// None.
    Anonymous,
    /// Credentials that are no good; why is told only when something needs them.
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
    /// A token that this cell gave to a visitor.
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
    },
    /// An administrator of the unit.
    UnitAdmin {
        /// The role at unit level.
        role: UnitRole,
    },
    /// The configured master token.
    UnitMaster,
}

/// What a unit user may do with the content of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitRole {
    /// Nothing.
    None,
    /// Read.
    ContentsReader,
    /// Read and write.
    ContentsAdmin,
}

/// A node in a box, for the access check.
pub(crate) struct BoxTarget<'t, A> {
    pub cell: &'t Cell,
    pub target_box: &'t BoxInfo,
    /// The access control lists that decide: of the target, its ancestors, the box and the cell, in this order.
    pub acls: A,
    /// The id of the node that the permit is for.
    pub node: NodeId,
}

impl Access {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(Identity::Anonymous)
    }

    /// Credentials that are no good, for this reason.
    #[must_use]
    pub fn invalid(reason: Code) -> Self {
        Self::of(Identity::Invalid(reason))
    }

    /// An identity without roles, app and scopes.
    #[must_use]
    pub fn of(identity: Identity) -> Self {
        Self {
            identity,
            roles: Vec::new(),
            schema: None,
            scopes: Vec::new(),
        }
    }

    /// The URL of who asks, as events and histories name it.
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

    /// The entity id of the account of this cell that asks, by a token or with its password.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        match &self.identity {
            Identity::Resident { id, .. } | Identity::Basic { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The app without the mark of a confidential client.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.schema.as_deref().map(client_id::of_schema)
    }

    /// Whether it is a unit user who may manage this cell (not necessarily its content).
    #[must_use]
    pub fn manages(&self, urls: &UnitUrls, cell: &Cell) -> bool {
        match &self.identity {
            Identity::UnitMaster | Identity::UnitAdmin { .. } => true,
            Identity::UnitUser { subject, .. } => owns(urls, cell, subject),
            _ => false,
        }
    }

    /// Whether it is a unit user who may use `wanted` on the content of this cell.
    #[must_use]
    pub fn manages_content(&self, urls: &UnitUrls, cell: &Cell, wanted: Privilege) -> bool {
        let role = match &self.identity {
            Identity::UnitMaster => return true,
            Identity::UnitAdmin { role } => *role,
            Identity::UnitUser { subject, role } if owns(urls, cell, subject) => *role,
            _ => return false,
        };
        match role {
            UnitRole::ContentsAdmin => true,
            UnitRole::ContentsReader => wanted.access_type() == AccessType::Read,
            UnitRole::None => false,
        }
    }

    /// Lets a request do something at cell level. `acl` is the list of the cell.
    ///
    /// # Errors
    /// 401 with the reason if the credentials are missing or no good, 403 if the privilege or the scope is lacking.
    pub fn permit_cell(
        &self,
        urls: &UnitUrls,
        cell: &Cell,
        acl: &Acl,
        operation: Operation,
    ) -> Result<Permit> {
        let wanted = operation.privilege().ok_or_else(|| self.refusal())?;
        let permit = Permit::new(operation, PermitTarget::Cell(cell.id));
        if self.manages_content(urls, cell, wanted) {
            return Ok(permit);
        }
        // Basic authentication counts as a bad credential here: a grant to everybody helps, one to a role does not.
        let roles: &[String] = if matches!(self.identity, Identity::Basic { .. }) {
            &[]
        } else {
            &self.roles
        };
        if !acl.grants(roles, wanted) {
            return Err(self.refusal());
        }
        self.check_scope(wanted)?;
        Ok(permit)
    }

    /// Checks that a request may do an operation in a box, and gives the permit.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the reason of invalid credentials; a code that says what is lacking if the application, the
    /// privilege or the scope does not suffice.
    pub(crate) fn permit_box<'a>(
        &self,
        urls: &UnitUrls,
        place: &BoxTarget<'_, impl IntoIterator<Item = &'a Acl> + Clone>,
        operation: Operation,
    ) -> Result<Permit> {
        let (cell, target_box) = (place.cell, place.target_box);
        let wanted = operation.privilege().ok_or_else(|| self.refusal())?;
        let target = PermitTarget::Node {
            cell: cell.id,
            node: place.node,
        };
        let permit = Permit::new(operation, target);
        if self.manages_content(urls, cell, wanted) {
            return Ok(permit);
        }
        if matches!(self.identity, Identity::PasswordChange { .. }) {
            return Err(Code::PasswordChangeOnly.into());
        }
        let level = place
            .acls
            .clone()
            .into_iter()
            .find_map(|acl| acl.schema_level)
            .unwrap_or(SchemaLevel::None);
        self.check_app(urls, cell, target_box, level)?;
        let basic_in_app_box =
            matches!(self.identity, Identity::Basic { .. }) && target_box.schema.is_some();
        let roles: &[String] = if basic_in_app_box { &[] } else { &self.roles };
        let mut acls = place.acls.clone().into_iter();
        if acls.any(|acl| acl.grants(roles, wanted)) {
            self.check_scope(wanted)?;
            return Ok(permit);
        }
        if basic_in_app_box {
            return Err(Code::AuthRequired.into());
        }
        Err(self.refusal_in_box())
    }

    /// Lets a unit user do something that only who manages the cell may do.
    ///
    /// # Errors
    /// 401 if the credentials are missing or no good; 403 if they are not a unit user's, or the cell is another's.
    pub fn permit_manage(
        &self,
        urls: &UnitUrls,
        cell: &Cell,
        operation: Operation,
    ) -> Result<Permit> {
        if operation.need() == Need::Manager && self.manages(urls, cell) {
            return Ok(Permit::new(operation, PermitTarget::Cell(cell.id)));
        }
        Err(match &self.identity {
            Identity::Anonymous | Identity::Basic { .. } => Code::AuthRequired.into(),
            Identity::Invalid(reason) => Error::new(*reason),
            Identity::UnitUser { .. } => Code::NotCellOwner.into(),
            _ => Code::UnitUserRequired.into(),
        })
    }

    /// Lets a unit user, or only an administrator, do something at unit level. Whose cells are seen is decided by
    /// [`Access::manages`].
    ///
    /// # Errors
    /// 401 if the credentials are missing or no good, 403 if they are not a unit user's or an administrator's.
    pub fn permit_unit(&self, operation: Operation) -> Result<Permit> {
        match (&self.identity, operation.need()) {
            (
                Identity::UnitMaster | Identity::UnitAdmin { .. },
                Need::UnitUser | Need::UnitAdmin,
            )
            | (Identity::UnitUser { .. }, Need::UnitUser) => {
                return Ok(Permit::new(operation, PermitTarget::Unit));
            }
            (Identity::UnitUser { .. }, Need::UnitAdmin) => {
                return Err(Code::PrivilegeLacking.into());
            }
            _ => {}
        }
        match &self.identity {
            Identity::Anonymous => Err(Code::AuthRequired.into()),
            Identity::Basic { .. } => Err(Code::BasicRefused.into()),
            Identity::Invalid(reason) => Err(Error::new(*reason)),
            Identity::PasswordChange { .. } => Err(Code::PasswordChangeOnly.into()),
            _ => Err(Code::UnitUserRequired.into()),
        }
    }

    /// Checks that a request may change the password of its own account of this cell, and gives the permit and the name of
    /// the account.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the reason of invalid credentials, [`Code::PrivilegeLacking`] if they are not those of an
    /// account, [`Code::ScopeLacking`] if the token has not the scope.
    pub fn permit_own_password(&self, cell: &Cell) -> Result<(Permit, String)> {
        let name = match &self.identity {
            Identity::PasswordChange { account } => account.clone(),
            Identity::Resident { subject, .. } => {
                self.check_scope(Privilege::Auth)?;
                let name = subject.split_once('#').map_or("", |(_, name)| name);
                name.to_owned()
            }
            _ => return Err(self.refusal()),
        };
        let target = PermitTarget::Account {
            cell: cell.id,
            name: name.clone(),
        };
        Ok((Permit::new(Operation::ChangeOwnPassword, target), name))
    }

    /// Checks that a request comes from a cell that delivers a message of its own to this cell, and gives the permit and the
    /// URL of the cell that delivers.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the reason of invalid credentials, [`Code::PrivilegeLacking`] if they are not what a cell
    /// issues for itself.
    pub fn permit_delivery(&self, cell: &Cell) -> Result<(Permit, &str)> {
        match &self.identity {
            Identity::TransCell { subject, issuer } if subject == issuer => {
                let target = PermitTarget::Delivery {
                    cell: cell.id,
                    sender: issuer.clone(),
                };
                Ok((Permit::new(Operation::DeliverMessage, target), issuer))
            }
            _ => Err(self.refusal()),
        }
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

    /// Refuses a privilege of the cell that the scopes of the token do not include.
    fn check_scope(&self, wanted: Privilege) -> Result<()> {
        if wanted.is_cell_level() && !self.scope_includes(wanted) {
            return Err(Error::new(Code::ScopeLacking).with(wanted.local_name()));
        }
        Ok(())
    }

    fn check_app(
        &self,
        urls: &UnitUrls,
        cell: &Cell,
        target_box: &BoxInfo,
        level: SchemaLevel,
    ) -> Result<()> {
        if level == SchemaLevel::None || self.manages(urls, cell) {
            return Ok(());
        }
        match &self.identity {
            Identity::Invalid(reason) => return Err(Error::new(*reason)),
            Identity::Anonymous => return Err(Code::AuthRequired.into()),
            _ => {}
        }
        let box_schema = if target_box.is_main() {
            Some(urls.cell(&cell.name))
        } else {
            target_box.schema.clone()
        };
        if let Some(box_schema) = box_schema {
            let Some(app) = self.app() else {
                return Err(Code::SchemaAuthRequired.into());
            };
            let same = app == box_schema
                || urls.resolve(&box_schema).as_deref() == urls.resolve(app).as_deref();
            if !same || app.is_empty() {
                return Err(Code::SchemaMismatch.into());
            }
        }
        let reached = match self.schema.as_deref() {
            None | Some("") => SchemaLevel::None,
            Some(schema) if client_id::is_confidential(schema) => SchemaLevel::Confidential,
            Some(_) => SchemaLevel::Public,
        };
        if reached < level {
            return Err(Code::SchemaLevelLow.into());
        }
        Ok(())
    }

    fn refusal(&self) -> Error {
        match &self.identity {
            Identity::Anonymous | Identity::Basic { .. } => Code::AuthRequired.into(),
            Identity::Invalid(reason) => Error::new(*reason),
            _ => Code::PrivilegeLacking.into(),
        }
    }

    fn refusal_in_box(&self) -> Error {
        match &self.identity {
            Identity::Basic { .. } => Code::PrivilegeLacking.into(),
            _ => self.refusal(),
        }
    }
}

fn owns(urls: &UnitUrls, cell: &Cell, subject: &str) -> bool {
    cell.owner
        .as_deref()
        .is_some_and(|owner| owner == subject || urls.resolve(owner).as_deref() == Some(subject))
}
