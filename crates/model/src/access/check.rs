//! The access check: makes permits.

use personium_types::{Code, Error, Need, NodeId, Operation, Privilege, Result};

use super::{Access, Identity, Permit, PermitTarget};
use crate::credentials::client_id;
use crate::{Acl, BoxInfo, Cell, SchemaLevel, UnitUrls};

/// A node in a box, for the access check.
pub(crate) struct BoxTarget<'t, A> {
    pub cell: &'t Cell,
    pub target_box: &'t BoxInfo,
    /// The access control lists that decide: of the target, its ancestors, the box and the cell, in this order.
    pub acls: A,
    /// The level in the list of the deepest node of the path, whichever lists decide: what is moved or removed may need
    /// more than its parent.
    pub own_level: Option<SchemaLevel>,
    /// The id of the node that the permit is for.
    pub node: NodeId,
}

/// The folder with the snapshots of a cell, or a file in it, for the access check.
pub(crate) struct SnapshotTarget<'t> {
    pub cell: &'t Cell,
    /// The access control list of the cell.
    pub acl: &'t Acl,
    /// The id of the node that the permit is for.
    pub node: NodeId,
}

impl Access {
    /// Checks that a request may do an operation of WebDAV to the snapshots of a cell, and returns the permit. The list of the
    /// cell decides, by the operations on snapshots: a privilege for the content of boxes is not enough.
    ///
    /// # Errors
    /// As [`Self::permit_cell`]; [`Code::MethodNotAllowed`] for operations that snapshots do not have.
    pub(crate) fn permit_snapshots(
        &self,
        urls: &UnitUrls,
        target: &SnapshotTarget<'_>,
        operation: Operation,
    ) -> Result<Permit> {
        use Operation as O;
        let needed = match operation {
            O::Read | O::ReadProperties | O::ReadAcl | O::Options | O::Report => O::ReadSnapshots,
            O::CreateFile | O::WriteFile | O::Remove | O::ReadQuota => O::WriteSnapshots,
            _ => return Err(Code::MethodNotAllowed.into()),
        };
        self.permit_cell(urls, target.cell, target.acl, needed)?;
        let permit_target = PermitTarget::Node {
            cell: target.cell.id,
            node: target.node,
        };
        Ok(Permit::new(operation, permit_target))
    }

    /// Checks that a request may do an operation at cell level, and returns the permit. `acl` is the list of the cell.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the code of invalid credentials; [`Code::PrivilegeLacking`] or [`Code::ScopeLacking`].
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
        // At cell level, Basic authentication gives only what is granted to all users.
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

    /// Checks that a request may do an operation in a box, and returns the permit.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the code of invalid credentials; the code of the first check that fails: of the
    /// application, the privilege or the scope.
    pub(crate) fn permit_box<'a>(
        &self,
        urls: &UnitUrls,
        target: &BoxTarget<'_, impl IntoIterator<Item = &'a Acl> + Clone>,
        operation: Operation,
    ) -> Result<Permit> {
        let (cell, target_box) = (target.cell, target.target_box);
        let wanted = operation.privilege().ok_or_else(|| self.refusal())?;
        let permit_target = PermitTarget::Node {
            cell: cell.id,
            node: target.node,
        };
        let permit = Permit::new(operation, permit_target);
        if self.manages_content(urls, cell, wanted) {
            return Ok(permit);
        }
        if matches!(self.identity, Identity::PasswordChange { .. }) {
            return Err(Code::PasswordChangeOnly.into());
        }
        let mut acls = target.acls.clone().into_iter();
        let level = acls.find_map(|acl| acl.schema_level).max(target.own_level);
        let level = level.unwrap_or(SchemaLevel::None);
        self.check_app(urls, cell, target_box, level)?;
        let basic_in_app_box =
            matches!(self.identity, Identity::Basic { .. }) && target_box.schema.is_some();
        let roles: &[String] = if basic_in_app_box { &[] } else { &self.roles };
        let mut acls = target.acls.clone().into_iter();
        if acls.any(|acl| acl.grants(roles, wanted)) {
            self.check_scope(wanted)?;
            return Ok(permit);
        }
        if basic_in_app_box {
            return Err(Code::AuthRequired.into());
        }
        Err(self.refusal_in_box())
    }

    /// Checks that a request comes from a unit user who manages the cell, and returns the permit for an operation that needs
    /// this.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the code of invalid credentials; [`Code::UnitUserRequired`] if they are not those of a unit
    /// user, [`Code::NotCellOwner`] if another unit user owns the cell.
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

    /// Checks that a request comes from a unit user, or from an administrator if the operation needs one, and returns the
    /// permit. The cells that a unit user sees are decided by [`Access::manages`].
    ///
    /// # Errors
    /// [`Code::AuthRequired`], [`Code::BasicRefused`] or the code of invalid credentials; [`Code::UnitUserRequired`],
    /// [`Code::PrivilegeLacking`] or [`Code::PasswordChangeOnly`] if the credentials do not suffice.
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

    /// Checks that a request may change the password of its own account of this cell, and returns the permit and the name of
    /// the account.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the code of invalid credentials, [`Code::PrivilegeLacking`] if they are not those of an
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

    /// Checks that a request comes from a cell that delivers a message of its own to this cell, and returns the permit and the
    /// URL of the cell that delivers.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] or the code of invalid credentials, [`Code::PrivilegeLacking`] if they are not a token that
    /// a cell issues for itself.
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

    /// Checks that the scopes of the token include a privilege, if it is one of the cell.
    fn check_scope(&self, wanted: Privilege) -> Result<()> {
        if wanted.is_cell_level() && !self.scope_includes(wanted) {
            return Err(Error::new(Code::ScopeLacking).with(wanted.local_name()));
        }
        Ok(())
    }

    /// Checks that a request that may read a box may also read something in it with this required authentication of
    /// applications.
    ///
    /// # Errors
    /// The code of the check that fails.
    pub fn check_application(
        &self,
        urls: &UnitUrls,
        cell: &Cell,
        target_box: &BoxInfo,
        level: SchemaLevel,
    ) -> Result<()> {
        if self.manages_content(urls, cell, Privilege::Read) {
            return Ok(());
        }
        self.check_app(urls, cell, target_box, level)
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
            let needed = match level {
                SchemaLevel::Confidential => "confidential",
                SchemaLevel::None | SchemaLevel::Public => "public",
            };
            return Err(Error::new(Code::SchemaLevelLow).with(needed));
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
