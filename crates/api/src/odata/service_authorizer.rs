//! The operations that OData requests need.

use std::sync::Arc;

use personium_model::keys::ControlSet;
use personium_model::locate::Target;
use personium_model::node::Node;
use personium_model::odata::{Association, Entity, ServiceRoot, SetRef};
use personium_model::records::Versioned;
use personium_model::{Access, CellContext, Permit, cell};
use personium_types::{Operation, Result};

/// The authorization rules of a service root.
pub(crate) enum ServiceAuthorizer {
    /// Control objects of the unit: unit users only.
    Unit,
    /// Control objects of a cell: privileges of the cell.
    Cell {
        /// The cell.
        context: Arc<CellContext>,
        /// Its node with its access control list.
        node: Arc<Versioned<Node>>,
    },
    /// An OData collection, its data or its schema: privileges of the box.
    Collection {
        /// The collection.
        target: Box<Target>,
    },
}

/// The kind of access to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessKind {
    /// The request reads.
    Read,
    /// The request changes something.
    Write,
}

/// The operations of reading and of writing a set.
fn operations_of(set: ControlSet) -> (Operation, Operation) {
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

impl ServiceAuthorizer {
    /// The rules of an OData collection.
    pub(crate) fn collection(target: Target) -> Self {
        Self::Collection {
            target: Box::new(target),
        }
    }

    /// Permits to read or write a set.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(crate) fn permit(
        &self,
        root: &ServiceRoot,
        access: &Access,
        set: &SetRef,
        kind: AccessKind,
    ) -> Result<Permit> {
        let (read, write) = set.control.map_or(
            (Operation::ReadEntities, Operation::WriteEntities),
            operations_of,
        );
        let operation = match kind {
            AccessKind::Read => read,
            AccessKind::Write => write,
        };
        self.permit_operation(root, access, operation)
    }

    fn permit_operation(
        &self,
        root: &ServiceRoot,
        access: &Access,
        operation: Operation,
    ) -> Result<Permit> {
        let urls = root.unit().urls();
        match self {
            Self::Unit => access.permit_unit(operation),
            Self::Cell { context, node } => {
                access.permit_cell(urls, context.cell(), &node.value.acl, operation)
            }
            Self::Collection { target } => target.permit(urls, access, operation),
        }
    }

    /// Permits to follow or change the links of an association, which needs the privileges of both sets. Between received
    /// messages and accounts (the marks of who has read a message), the privilege for messages is enough.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(crate) fn permit_association(
        &self,
        root: &ServiceRoot,
        access: &Access,
        association: &Association,
        kind: AccessKind,
    ) -> Result<Permit> {
        use ControlSet::{Account, ReceivedMessage};
        let (here, there) = (&association.source_set, &association.target_set);
        match (here.control, there.control) {
            (Some(ReceivedMessage), Some(Account)) => {
                return self.permit(root, access, here, kind);
            }
            (Some(Account), Some(ReceivedMessage)) => {
                return self.permit(root, access, there, kind);
            }
            _ => {}
        }
        let permit = self.permit(root, access, here, kind)?;
        match self {
            Self::Unit | Self::Collection { .. } => Ok(permit),
            Self::Cell { .. } => self.permit(root, access, there, kind),
        }
    }

    /// Permits to read the descriptions of the service: service document, OPTIONS.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(crate) fn permit_description(&self, root: &ServiceRoot, access: &Access) -> Result<Permit> {
        let operation = match self {
            Self::Unit => Operation::DescribeUnitControl,
            Self::Cell { .. } => Operation::DescribeCellControl,
            Self::Collection { .. } => Operation::DescribeData,
        };
        self.permit_operation(root, access, operation)
    }

    /// Permits to use the data of a collection, by reading or by writing: a batch as a whole, and answers that disclose the
    /// schema.
    ///
    /// # Errors
    /// The refusal of the access check for reading.
    pub(crate) fn permit_use(&self, root: &ServiceRoot, access: &Access) -> Result<Permit> {
        self.permit_operation(root, access, Operation::ReadEntities)
            .or_else(|refusal| {
                self.permit_operation(root, access, Operation::WriteEntities)
                    .map_err(|_| refusal)
            })
    }

    /// Permits to ask for the methods of links between two sets.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(crate) fn permit_link_options(
        &self,
        root: &ServiceRoot,
        access: &Access,
    ) -> Result<Permit> {
        match self {
            Self::Cell { .. } => self.permit_operation(root, access, Operation::OptionsCellLinks),
            Self::Unit | Self::Collection { .. } => self.permit_description(root, access),
        }
    }

    /// Whether a requester may see an entity: of the catalogue of cells, a unit user sees only own ones.
    pub(crate) fn can_see(&self, root: &ServiceRoot, access: &Access, entity: &Entity) -> bool {
        match self {
            Self::Unit => cell::Cell::from_entity(&entity.id, &entity.stored, &entity.properties)
                .is_none_or(|cell| access.manages(root.unit().urls(), &cell)),
            Self::Cell { .. } | Self::Collection { .. } => true,
        }
    }
}
