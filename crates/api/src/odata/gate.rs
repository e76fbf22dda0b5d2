//! Which privilege a request needs.

use std::sync::Arc;

use personium_model::keys::ControlSet;
use personium_model::locate::Target;
use personium_model::node::Node;
use personium_model::odata::{Entity, Root, SetRef};
use personium_model::records::Versioned;
use personium_model::{Access, CellView, Permit, cell};
use personium_types::{Code, Privilege, Result};

/// What decides about access to a service root.
pub(crate) enum Gate {
    /// Control objects of the unit: unit users only.
    Unit,
    /// Control objects of a cell: privileges of the cell.
    Cell {
        /// The cell.
        view: Arc<CellView>,
        /// Its node with its access control list.
        node: Arc<Versioned<Node>>,
    },
    /// An OData collection: privileges of the box.
    Collection {
        /// The collection.
        target: Box<Target>,
        /// Whether it is about the schema rather than the data.
        schema: bool,
    },
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It looks.
    Reading,
    /// It changes something.
    Writing,
}

/// The privilege to read and the privilege to write a control set of a cell.
fn of_set(set: ControlSet) -> (Privilege, Privilege) {
    match set {
        ControlSet::Account | ControlSet::Role | ControlSet::ExtRole => {
            (Privilege::AuthRead, Privilege::Auth)
        }
        ControlSet::Relation | ControlSet::ExtCell => (Privilege::SocialRead, Privilege::Social),
        ControlSet::Box => (Privilege::BoxRead, Privilege::Box),
        ControlSet::Rule => (Privilege::RuleRead, Privilege::Rule),
        ControlSet::ReceivedMessage | ControlSet::SentMessage => {
            (Privilege::MessageRead, Privilege::Message)
        }
        _ => (Privilege::Root, Privilege::Root),
    }
}

impl Gate {
    /// Lets a request read or write a set.
    pub(crate) fn permit(
        &self,
        root: &Root,
        access: &Access,
        set: &SetRef,
        doing: Doing,
    ) -> Result<Permit> {
        match self {
            Self::Unit => access.permit_unit(),
            Self::Cell { view, node } => {
                let (read, write) = set
                    .control
                    .map_or((Privilege::Root, Privilege::Root), of_set);
                let wanted = if doing == Doing::Reading { read } else { write };
                access.permit_cell(root.owner().urls(), view.cell(), &node.value.acl, wanted)
            }
            Self::Collection { target, schema } => {
                let wanted = match (doing, schema) {
                    (Doing::Reading, _) => Privilege::Read,
                    (Doing::Writing, false) => Privilege::Write,
                    (Doing::Writing, true) => Privilege::AlterSchema,
                };
                target.permit(root.owner().urls(), access, wanted)
            }
        }
    }

    /// Lets a request follow a link between two sets, which needs the privileges of both; reading or marking
    /// received messages needs only that of messages.
    pub(crate) fn permit_both(
        &self,
        root: &Root,
        access: &Access,
        (here, there): (&SetRef, &SetRef),
        doing: Doing,
    ) -> Result<Permit> {
        let message = Some(ControlSet::ReceivedMessage);
        if there.control == message && here.control == Some(ControlSet::Account) {
            return self.permit(root, access, there, doing);
        }
        let permit = self.permit(root, access, here, doing)?;
        if here.control == message || matches!(self, Self::Unit | Self::Collection { .. }) {
            return Ok(permit);
        }
        self.permit(root, access, there, doing)
    }

    /// Lets a request read what describes the service: service document, OPTIONS.
    pub(crate) fn permit_description(&self, root: &Root, access: &Access) -> Result<Permit> {
        match self {
            Self::Unit => access.permit_unit(),
            Self::Cell { view, node } => access.permit_cell(
                root.owner().urls(),
                view.cell(),
                &node.value.acl,
                Privilege::Read,
            ),
            Self::Collection { target, .. } => {
                target.permit(root.owner().urls(), access, Privilege::Read)
            }
        }
    }

    /// Lets a request ask for the methods of links between two sets.
    pub(crate) fn permit_link_options(&self, root: &Root, access: &Access) -> Result<Permit> {
        match self {
            Self::Cell { view, node } => access.permit_cell(
                root.owner().urls(),
                view.cell(),
                &node.value.acl,
                Privilege::SocialRead,
            ),
            Self::Unit | Self::Collection { .. } => self.permit_description(root, access),
        }
    }

    /// Whether a request may see a cell of the catalogue: a unit user sees only own ones.
    pub(crate) fn shows(&self, root: &Root, access: &Access, entity: &Entity) -> bool {
        match self {
            Self::Unit => cell::Cell::from_entity(&entity.id, &entity.stored, &entity.properties)
                .is_none_or(|cell| access.manages(root.owner().urls(), &cell)),
            Self::Cell { .. } | Self::Collection { .. } => true,
        }
    }

    /// Refuses a cell of the catalogue that belongs to another unit user.
    pub(crate) fn check_owner(&self, root: &Root, access: &Access, entity: &Entity) -> Result<()> {
        if self.shows(root, access, entity) {
            Ok(())
        } else {
            Err(Code::NotCellOwner.into())
        }
    }
}
