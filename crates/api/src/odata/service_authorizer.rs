//! Which operation a request is.

use std::sync::Arc;

use personium_model::keys::ControlSet;
use personium_model::locate::Target;
use personium_model::node::Node;
use personium_model::odata::{Entity, ServiceRoot, SetRef};
use personium_model::records::Versioned;
use personium_model::{Access, CellContext, Permit, cell};
use personium_types::{Code, Operation, Result};

/// What decides about access to a service root.
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

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessKind {
    /// It looks.
    Reading,
    /// It changes something.
    Writing,
}

/// What reading and what writing a set is.
fn of_set(set: ControlSet) -> (Operation, Operation) {
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
    /// Lets a request read or write a set.
    pub(crate) fn permit(
        &self,
        root: &ServiceRoot,
        access: &Access,
        set: &SetRef,
        doing: AccessKind,
    ) -> Result<Permit> {
        let (read, write) = set
            .control
            .map_or((Operation::ReadEntities, Operation::WriteEntities), of_set);
        let operation = match doing {
            AccessKind::Reading => read,
            AccessKind::Writing => write,
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

    /// Lets a request follow or change a link between two sets, which needs the privileges of both. To see who read a
    /// received message, and to mark it as read, that of messages is enough.
    pub(crate) fn permit_both(
        &self,
        root: &ServiceRoot,
        access: &Access,
        (here, there): (&SetRef, &SetRef),
        doing: AccessKind,
    ) -> Result<Permit> {
        use ControlSet::{Account, ReceivedMessage};
        match (here.control, there.control) {
            (Some(ReceivedMessage), Some(Account)) => {
                return self.permit(root, access, here, doing);
            }
            (Some(Account), Some(ReceivedMessage)) => {
                return self.permit(root, access, there, doing);
            }
            _ => {}
        }
        let permit = self.permit(root, access, here, doing)?;
        match self {
            Self::Unit | Self::Collection { .. } => Ok(permit),
            Self::Cell { .. } => self.permit(root, access, there, doing),
        }
    }

    /// Lets a request read what describes the service: service document, OPTIONS.
    pub(crate) fn permit_description(&self, root: &ServiceRoot, access: &Access) -> Result<Permit> {
        let operation = match self {
            Self::Unit => Operation::DescribeUnitControl,
            Self::Cell { .. } => Operation::DescribeCellControl,
            Self::Collection { .. } => Operation::DescribeData,
        };
        self.permit_operation(root, access, operation)
    }

    /// Lets a request use the data of a collection in some way, by reading or writing: the envelope of a batch, and what the
    /// schema says.
    pub(crate) fn permit_use(&self, root: &ServiceRoot, access: &Access) -> Result<Permit> {
        self.permit_operation(root, access, Operation::ReadEntities)
            .or_else(|refusal| {
                self.permit_operation(root, access, Operation::WriteEntities)
                    .map_err(|_| refusal)
            })
    }

    /// Lets a request ask for the methods of links between two sets.
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

    /// Whether a request may see a cell of the catalogue: a unit user sees only own ones.
    pub(crate) fn shows(&self, root: &ServiceRoot, access: &Access, entity: &Entity) -> bool {
        match self {
            Self::Unit => cell::Cell::from_entity(&entity.id, &entity.stored, &entity.properties)
                .is_none_or(|cell| access.manages(root.unit().urls(), &cell)),
            Self::Cell { .. } | Self::Collection { .. } => true,
        }
    }

    /// Refuses a cell of the catalogue that belongs to another unit user.
    pub(crate) fn check_owner(
        &self,
        root: &ServiceRoot,
        access: &Access,
        entity: &Entity,
    ) -> Result<()> {
        if self.shows(root, access, entity) {
            Ok(())
        } else {
            Err(Code::NotCellOwner.into())
        }
    }
}
