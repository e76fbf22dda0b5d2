//! Permits: what the access check gives out, and what each change of data checks.

use personium_types::{CellId, Error, NodeId, Operation, Result};

/// The target of a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermitTarget {
    /// The unit.
    Unit,
    /// A cell itself, with its control objects, events and messages.
    Cell(CellId),
    /// A box, collection or file. For a new member it is the collection that gets it.
    Node {
        /// The cell.
        cell: CellId,
        /// The id of the node.
        node: NodeId,
    },
    /// An account, by its name.
    Account {
        /// The cell.
        cell: CellId,
        /// The name of the account.
        name: String,
    },
    /// The messages that one cell delivers to another.
    Delivery {
        /// The cell that receives.
        cell: CellId,
        /// The URL of the cell that delivers.
        sender: String,
    },
}

/// The result of an access check: the operations that a request may do to one target.
///
/// Only the access check of [`crate::Access`] and the [`ServerAuthority`] make permits. A function that changes data takes
/// one and checks that it is for its operation and its target.
#[derive(Debug)]
pub struct Permit {
    operation: Operation,
    /// The operations of the permits that were joined with it; usually none.
    others: Vec<Operation>,
    target: PermitTarget,
}

impl Permit {
    pub(super) fn new(operation: Operation, target: PermitTarget) -> Self {
        Self {
            operation,
            others: Vec::new(),
            target,
        }
    }

    /// One permit for the operations of two permits for the same target.
    ///
    /// # Errors
    /// An internal error if the targets differ.
    pub fn and(mut self, other: Self) -> Result<Self> {
        if self.target != other.target {
            return Err(Error::internal(format!(
                "permits for {:?} and for {:?} cannot be joined",
                self.target, other.target
            )));
        }
        self.others.push(other.operation);
        self.others.extend(other.others);
        Ok(self)
    }

    /// Whether the permit is for this operation on this target.
    #[must_use]
    pub fn covers(&self, operation: Operation, target: &PermitTarget) -> bool {
        (self.operation == operation || self.others.contains(&operation)) && self.target == *target
    }

    /// Checks that the permit is for this operation on this target.
    ///
    /// # Errors
    /// An internal error if it is not: the caller requested the permit for another operation.
    pub fn check(&self, operation: Operation, target: &PermitTarget) -> Result<()> {
        if self.covers(operation, target) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "{operation:?} on {target:?} needs another permit than one for {:?}, {:?} on {:?}",
            self.operation, self.others, self.target
        )))
    }
}

/// The authority of the server to change data without a request of a user: to install the content of archives and to post
/// events of the unit itself.
///
/// [`crate::Unit::new`] returns the only one to the caller that builds the unit. Code that knows only the unit cannot make one.
#[derive(Debug, Clone)]
pub struct ServerAuthority(());

impl ServerAuthority {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// A permit of the server for an operation.
    #[must_use]
    pub fn permit(&self, operation: Operation, target: PermitTarget) -> Permit {
        Permit::new(operation, target)
    }

    /// A permit of the server for an operation, and perhaps another, on one target.
    pub(crate) fn permit_both(
        &self,
        operation: Operation,
        other: Option<Operation>,
        target: PermitTarget,
    ) -> Permit {
        let mut permit = Permit::new(operation, target);
        permit.others.extend(other);
        permit
    }
}

#[cfg(test)]
mod tests {
    use personium_types::Code;

    use super::*;

    const CELL: CellId = CellId::from_bytes([1; 16]);
    const OTHER_CELL: CellId = CellId::from_bytes([2; 16]);

    fn node(cell: CellId, id: u8) -> PermitTarget {
        PermitTarget::Node {
            cell,
            node: NodeId::from_bytes([id; 16]),
        }
    }

    fn account(name: &str) -> PermitTarget {
        PermitTarget::Account {
            cell: CELL,
            name: name.to_owned(),
        }
    }

    fn delivery(sender: &str) -> PermitTarget {
        PermitTarget::Delivery {
            cell: CELL,
            sender: sender.to_owned(),
        }
    }

    fn code(checked: Result<()>) -> Option<Code> {
        checked.err().map(|error| error.code())
    }

    #[test]
    fn permit_is_valid_for_its_operation_and_target_only() {
        let targets = [
            PermitTarget::Unit,
            PermitTarget::Cell(CELL),
            PermitTarget::Cell(OTHER_CELL),
            node(CELL, 1),
            node(CELL, 2),
            node(OTHER_CELL, 1),
            account("a"),
            account("b"),
            delivery("https://u.example/a/"),
            delivery("https://u.example/b/"),
        ];
        let operations = [Operation::ReadLog, Operation::RemoveCell];
        for target in &targets {
            let permit = Permit::new(Operation::ReadLog, target.clone());
            for other in &targets {
                for operation in operations {
                    let allowed = operation == Operation::ReadLog && other == target;
                    let expected = (!allowed).then_some(Code::Unknown);
                    assert_eq!(code(permit.check(operation, other)), expected, "{other:?}");
                }
            }
        }
    }

    #[test]
    fn joined_permit_is_valid_for_both_operations() {
        let permit = |operation| Permit::new(operation, PermitTarget::Cell(CELL));
        let both = permit(Operation::WriteRoles)
            .and(permit(Operation::WriteAccounts))
            .unwrap();
        let check = |operation| code(both.check(operation, &PermitTarget::Cell(CELL)));
        assert_eq!(check(Operation::WriteRoles), None);
        assert_eq!(check(Operation::WriteAccounts), None);
        assert_eq!(check(Operation::WriteBoxes), Some(Code::Unknown));
    }

    #[test]
    fn permits_for_different_targets_cannot_be_joined() {
        let permit = Permit::new(Operation::WriteRoles, PermitTarget::Cell(CELL));
        let other = Permit::new(Operation::WriteRoles, PermitTarget::Cell(OTHER_CELL));
        assert_eq!(permit.and(other).unwrap_err().code(), Code::Unknown);
    }
}
