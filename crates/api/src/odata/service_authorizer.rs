//! The operations that OData requests need.

use std::sync::Arc;

use personium_model::locate::Target;
use personium_model::node::Node;
use personium_model::odata::{AccessKind, Association, Entity, ServiceRoot, SetRef};
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
        self.permit_operation(root, access, set.operation(kind))
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
        let (operation, other) = root.link_operations(association, kind);
        let permit = self.permit_operation(root, access, operation)?;
        match other {
            Some(other) => permit.and(self.permit_operation(root, access, other)?),
            None => Ok(permit),
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

    /// Permits to use the data of a collection, by reading or by writing: a batch as a whole, and errors that reveal the
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
