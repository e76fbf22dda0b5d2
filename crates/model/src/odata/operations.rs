//! The operations that reading and writing entity sets and links are, and the checks of permits for them.

use personium_types::{Operation, Result};

use super::association::Association;
use super::root::{RootScope, ServiceRoot, SetRef};
use crate::keys::ControlSet;
use crate::{Permit, PermitTarget, ServerAuthority};

/// The kind of access to an entity set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// Something is read.
    Read,
    /// Something is changed.
    Write,
}

/// The operations that reading and writing a control or schema set are.
fn of_control_set(set: ControlSet) -> (Operation, Operation) {
    use Operation as O;
    match set {
        ControlSet::Cell => (O::ReadCells, O::WriteCells),
        ControlSet::Account => (O::ReadAccounts, O::WriteAccounts),
        ControlSet::Role => (O::ReadRoles, O::WriteRoles),
        ControlSet::ExtRole => (O::ReadExtRoles, O::WriteExtRoles),
        ControlSet::Relation => (O::ReadRelations, O::WriteRelations),
        ControlSet::ExtCell => (O::ReadExtCells, O::WriteExtCells),
        ControlSet::Box => (O::ReadBoxes, O::WriteBoxes),
        ControlSet::Rule => (O::ReadRules, O::WriteRules),
        ControlSet::ReceivedMessage => (O::ReadReceivedMessages, O::WriteReceivedMessages),
        ControlSet::SentMessage => (O::ReadSentMessages, O::WriteSentMessages),
        ControlSet::EntityType
        | ControlSet::Property
        | ControlSet::ComplexType
        | ControlSet::ComplexTypeProperty
        | ControlSet::AssociationEnd => (O::ReadSchema, O::WriteSchema),
    }
}

impl SetRef {
    /// The operation that an access to the set is.
    #[must_use]
    pub fn operation(&self, kind: AccessKind) -> Operation {
        let (read, write) = self.control.map_or(
            (Operation::ReadEntities, Operation::WriteEntities),
            of_control_set,
        );
        match kind {
            AccessKind::Read => read,
            AccessKind::Write => write,
        }
    }
}

impl ServiceRoot {
    /// The target of a permit for this service root.
    #[must_use]
    pub fn permit_target(&self) -> PermitTarget {
        let Some(context) = &self.context else {
            return PermitTarget::Unit;
        };
        let cell = context.cell().id;
        match self.scope {
            RootScope::Unit | RootScope::Cell => PermitTarget::Cell(cell),
            RootScope::Schema(node) | RootScope::Data(node) => PermitTarget::Node { cell, node },
        }
    }

    /// The operation, or the two operations, that following or changing a link is. Between control objects of a cell it is an
    /// access to both sets. To see which accounts read a received message, and to mark it as read, access to messages is
    /// enough.
    #[must_use]
    pub fn link_operations(
        &self,
        association: &Association,
        kind: AccessKind,
    ) -> (Operation, Option<Operation>) {
        use ControlSet::{Account, ReceivedMessage};
        let (source, target) = (&association.source.set, &association.target.set);
        match (source.control, target.control) {
            (Some(ReceivedMessage), Some(Account)) => (source.operation(kind), None),
            (Some(Account), Some(ReceivedMessage)) => (target.operation(kind), None),
            _ if self.scope == RootScope::Cell => {
                (source.operation(kind), Some(target.operation(kind)))
            }
            _ => (source.operation(kind), None),
        }
    }
}

impl ServerAuthority {
    /// A permit of the server for writing a set.
    #[must_use]
    pub fn permit_write(&self, root: &ServiceRoot, set: &SetRef) -> Permit {
        self.permit(set.operation(AccessKind::Write), root.permit_target())
    }

    /// A permit of the server for changing links along an association.
    #[must_use]
    pub fn permit_link(&self, root: &ServiceRoot, association: &Association) -> Permit {
        let (operation, other) = root.link_operations(association, AccessKind::Write);
        self.permit_both(operation, other, root.permit_target())
    }
}

/// Checks that a permit is for writing a set.
pub(super) fn check_write(root: &ServiceRoot, permit: &Permit, set: &SetRef) -> Result<()> {
    permit.check(set.operation(AccessKind::Write), &root.permit_target())
}

/// Whether a permit is for changing links along an association.
pub(super) fn permits_link(root: &ServiceRoot, permit: &Permit, association: &Association) -> bool {
    let target = root.permit_target();
    let (operation, other) = root.link_operations(association, AccessKind::Write);
    permit.covers(operation, &target) && other.is_none_or(|other| permit.covers(other, &target))
}

/// Checks that a permit is for changing links along an association.
pub(super) fn check_link(
    root: &ServiceRoot,
    permit: &Permit,
    association: &Association,
) -> Result<()> {
    let target = root.permit_target();
    let (operation, other) = root.link_operations(association, AccessKind::Write);
    permit.check(operation, &target)?;
    other.map_or(Ok(()), |other| permit.check(other, &target))
}
