//! The table of operations: the privilege or other requirement of every request.
//!
//! Access control decides by this table alone.

use crate::Privilege;

/// The kind of resource that an operation acts on.
///
/// It determines the order in which access control checks credentials, application, scope and access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetLevel {
    /// The unit.
    Unit,
    /// A cell or one of its control objects. The scope of the token must include the privilege.
    Cell,
    /// A box or a resource in a box. The application of the token must match the box.
    Box,
}

/// The requirement that a caller must meet to perform an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// No requirement; anonymous callers are accepted.
    Nothing,
    /// Credentials in the request itself: a password, a code, an assertion, a token in a form, or the account's own token.
    SelfAuthenticated,
    /// The caller is a unit user. A unit user sees only the cells that it owns.
    UnitUser,
    /// The caller is an administrator of the unit.
    UnitAdmin,
    /// The caller is an administrator of the unit or the owner of the cell.
    Manager,
    /// The caller has a privilege on the cell or on the resource.
    On(Privilege),
    /// The caller has a privilege on the collection or box that contains the resource.
    OnParent(Privilege),
}

macro_rules! operations {
    ($($(#[doc = $text:literal])+ $name:ident = $level:ident, $need:expr;)*) => {
        /// An operation that requests perform. Handlers name the operation; the table defines its requirement.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation { $($(#[doc = $text])+ $name,)* }

        impl Operation {
            /// All operations, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind of resource that the operation acts on.
            #[must_use]
            pub const fn level(self) -> TargetLevel {
                match self { $(Self::$name => TargetLevel::$level,)* }
            }

            /// The requirement of the operation.
            #[must_use]
            pub const fn need(self) -> Need {
                use Need::{Manager, Nothing, On, OnParent, SelfAuthenticated, UnitAdmin, UnitUser};
                use Privilege as P;
                match self { $(Self::$name => $need,)* }
            }

            /// The requests that perform the operation, as Markdown for the documentation.
            #[must_use]
            pub const fn requests(self) -> &'static str {
                match self { $(Self::$name => concat!($($text),+),)* }
            }
        }
    };
}

impl Operation {
    /// The required privilege, if an access control list decides about the operation.
    #[must_use]
    pub const fn privilege(self) -> Option<Privilege> {
        match self.need() {
            Need::On(privilege) | Need::OnParent(privilege) => Some(privilege),
            Need::Nothing
            | Need::SelfAuthenticated
            | Need::UnitUser
            | Need::UnitAdmin
            | Need::Manager => None,
        }
    }
}

operations! {
    /// `GET {unit}`, `OPTIONS {unit}`, `PROPFIND {unit}`, `GET {unit}crossdomain.xml`
    ReadUnit = Unit, Nothing;
    /// `GET` and `OPTIONS` of `{unit}__ctl`, `OPTIONS` of its `$metadata`
    DescribeUnitControl = Unit, UnitUser;
    /// `GET` and `OPTIONS` of cells in `{unit}__ctl`
    ReadCells = Unit, UnitUser;
    /// `POST`, `PUT`, `MERGE`, `DELETE` of cells in `{unit}__ctl`
    WriteCells = Unit, UnitUser;
    /// `GET` and `OPTIONS` of `{unit}__status`
    ReadStatus = Unit, UnitAdmin;
    /// `POST {unit}__status`
    ReloadSettings = Unit, UnitAdmin;
    /// `GET` and `OPTIONS` of `{unit}__quota`
    ReadQuotas = Unit, UnitAdmin;
    /// `POST {unit}__quota`
    WriteQuotas = Unit, UnitAdmin;
    /// `GET` and `OPTIONS` of `{unit}__maintenance`
    ReadMaintenance = Unit, UnitAdmin;
    /// `PUT` and `DELETE` of `{unit}__maintenance`
    WriteMaintenance = Unit, UnitAdmin;

    /// `GET {cell}`
    ReadCell = Cell, Nothing;
    /// `GET` of `$metadata` of `{unit}__ctl` and `{cell}__ctl`
    ReadControlSchema = Cell, Nothing;
    /// `GET {cell}__certs`
    ReadKeys = Cell, Nothing;
    /// `GET {cell}.well-known/openid-configuration`
    ReadDiscovery = Cell, Nothing;
    /// `GET {cell}__html/error`
    ReadErrorPage = Cell, Nothing;
    /// `OPTIONS` of `__token`, `__authz`, `__mypassword`, `__certs`, `__sign`, `__message/...`, `__event`, `__log/...`, `__rule/...`
    OptionsEndpoint = Cell, Nothing;
    /// `POST {cell}__token`
    RequestToken = Cell, SelfAuthenticated;
    /// `GET` and `POST {cell}__authz`
    Authorize = Cell, SelfAuthenticated;
    /// `POST {cell}__introspect`
    Introspect = Cell, SelfAuthenticated;
    /// `PUT {cell}__mypassword`
    ChangeOwnPassword = Cell, SelfAuthenticated;
    /// `POST {cell}__message/port`, sent by the cell of the sender
    DeliverMessage = Cell, SelfAuthenticated;
    /// `PROPPATCH {cell}`
    WriteCellProperties = Cell, Manager;
    /// `DELETE {cell}` with all of its contents
    RemoveCell = Cell, Manager;
    /// `OPTIONS {cell}`
    OptionsCell = Cell, On(P::SocialRead);
    /// `PROPFIND {cell}`
    ReadCellProperties = Cell, On(P::Propfind);
    /// The access control list in `PROPFIND {cell}`
    ReadCellAcl = Cell, On(P::AclRead);
    /// `ACL {cell}`
    WriteCellAcl = Cell, On(P::Acl);
    /// `GET {cell}__role`, also for one box and for one role
    ReadRolePages = Cell, On(P::AuthRead);
    /// `OPTIONS {cell}__introspect`
    OptionsIntrospect = Cell, On(P::AuthRead);
    /// `POST {cell}__sign`
    Sign = Cell, On(P::Sign);
    /// `GET` and `OPTIONS` of `{cell}__ctl`, `OPTIONS` of its `$metadata`
    DescribeCellControl = Cell, On(P::Read);
    /// `OPTIONS` of links and navigation properties between control objects
    OptionsCellLinks = Cell, On(P::SocialRead);
    /// `GET` and `OPTIONS` of accounts
    ReadAccounts = Cell, On(P::AuthRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of accounts; to name the account that a service acts as
    WriteAccounts = Cell, On(P::Auth);
    /// `GET` and `OPTIONS` of roles
    ReadRoles = Cell, On(P::AuthRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of roles
    WriteRoles = Cell, On(P::Auth);
    /// `GET` and `OPTIONS` of external roles
    ReadExtRoles = Cell, On(P::AuthRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of external roles
    WriteExtRoles = Cell, On(P::Auth);
    /// `GET` and `OPTIONS` of relations
    ReadRelations = Cell, On(P::SocialRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of relations
    WriteRelations = Cell, On(P::Social);
    /// `GET` and `OPTIONS` of external cells
    ReadExtCells = Cell, On(P::SocialRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of external cells
    WriteExtCells = Cell, On(P::Social);
    /// `GET` and `OPTIONS` of boxes as control objects
    ReadBoxes = Cell, On(P::BoxRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of boxes as control objects
    WriteBoxes = Cell, On(P::Box);
    /// `GET` and `OPTIONS` of rules
    ReadRules = Cell, On(P::RuleRead);
    /// `POST`, `PUT`, `DELETE` of rules
    WriteRules = Cell, On(P::Rule);
    /// `GET` and `OPTIONS` of received messages
    ReadReceivedMessages = Cell, On(P::MessageRead);
    /// `DELETE` of received messages, and links between them and accounts
    WriteReceivedMessages = Cell, On(P::Message);
    /// `GET` and `OPTIONS` of sent messages
    ReadSentMessages = Cell, On(P::MessageRead);
    /// `DELETE` of sent messages
    WriteSentMessages = Cell, On(P::Message);

    /// `POST {cell}__message/send`
    SendMessage = Cell, On(P::Message);
    /// `POST {cell}__message/received/{id}`
    ChangeMessageStatus = Cell, On(P::Message);
    /// `POST {cell}__message/received/{id}` that approves a request to change the cells of relations or roles
    ApproveSocial = Cell, On(P::Social);
    /// `POST {cell}__message/received/{id}` that approves a request to change the cells of roles
    ApproveRoles = Cell, On(P::Auth);
    /// `POST {cell}__message/received/{id}` that approves a request to change rules
    ApproveRules = Cell, On(P::Rule);

    /// `MKCOL` of a box, which installs a box from an archive
    InstallBox = Cell, On(P::BoxInstall);
    /// `POST {cell}__event`
    PostEvent = Cell, On(P::Event);
    /// Events over a WebSocket at `{cell}__event`, with a token in its first message; `GET {cell}__event` as Server-Sent Events
    SubscribeEvents = Cell, On(P::EventRead);
    /// `GET {cell}__rule` and `{cell}__rule/state`
    ReadActiveRules = Cell, On(P::RuleRead);
    /// `GET`, `POST` and `DELETE` of `{cell}__rule/failed`: requests of rules that were given up, with their events
    ManageFailedRequests = Cell, On(P::Rule);
    /// `POST {cell}__rule/test`
    TestRule = Cell, On(P::Rule);
    /// `GET` and `PROPFIND` of `{cell}__log/...`
    ReadLog = Cell, On(P::LogRead);
    /// `DELETE {cell}__log/...`
    RemoveLog = Cell, On(P::Log);
    /// `GET`, `PROPFIND`, `OPTIONS` and `REPORT` of `{cell}__snapshot` and of its files
    ReadSnapshots = Cell, On(P::Root);
    /// `PUT` and `DELETE` of files in `{cell}__snapshot`
    WriteSnapshots = Cell, On(P::Root);
    /// `GET`, `POST` and `OPTIONS` of `{cell}__export`
    ExportCell = Cell, On(P::Root);
    /// `GET`, `POST` and `OPTIONS` of `{cell}__import`
    ImportCell = Cell, On(P::Root);

    /// `GET {cell}__box`, unless the caller is the application of the box
    FindBox = Box, On(P::Read);
    /// `DELETE {box}` with all of its contents
    RemoveBox = Box, On(P::Box);
    /// `GET` of a box, also as an archive, of a collection or a file
    Read = Box, On(P::Read);
    /// `OPTIONS` of a box or of a resource in it; any method that the resource does not support
    Options = Box, On(P::Read);
    /// `REPORT`, which is not implemented
    Report = Box, On(P::Read);
    /// `POST` to a path that does not exist
    PostToMissing = Box, On(P::Write);
    /// `PUT` to a path that does not exist
    CreateFile = Box, OnParent(P::Bind);
    /// `PUT` of an existing file
    WriteFile = Box, On(P::WriteContent);
    /// `MKCOL` (with properties `PROPPATCH` must be permitted too)
    CreateCollection = Box, OnParent(P::Bind);
    /// `DELETE` of a file or collection
    Remove = Box, OnParent(P::Unbind);
    /// `MOVE`: the source
    MoveSource = Box, OnParent(P::Unbind);
    /// `MOVE`: the destination
    MoveDestination = Box, OnParent(P::Bind);
    /// `MOVE`: the file that is replaced
    MoveOverwrite = Box, OnParent(P::Unbind);
    /// `MOVE` of a box or of the source collection of a service, which is always refused
    MoveImmovable = Box, On(P::Write);
    /// `PROPFIND`
    ReadProperties = Box, On(P::ReadProperties);
    /// The access control lists in `PROPFIND`
    ReadAcl = Box, On(P::ReadAcl);
    /// The properties of the storage in `PROPFIND`
    ReadQuota = Box, On(P::Bind);
    /// `PROPPATCH`
    WriteProperties = Box, On(P::WriteProperties);
    /// `ACL`
    WriteAcl = Box, On(P::WriteAcl);
    /// `GET` and `OPTIONS` of an OData collection and of its `$metadata`; `OPTIONS` of its links and navigation properties
    DescribeData = Box, On(P::Read);
    /// `GET` and `OPTIONS` of entities and links; `$batch`, if the caller has no write access
    ReadEntities = Box, On(P::Read);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of entities and links; `$batch`, if the caller has no read access
    WriteEntities = Box, On(P::Write);
    /// `GET` and `OPTIONS` of the schema of an OData collection
    ReadSchema = Box, On(P::Read);
    /// `POST`, `PUT`, `MERGE`, `DELETE` in the schema of an OData collection
    WriteSchema = Box, On(P::AlterSchema);
    /// Any request to a path of a service
    Execute = Box, On(P::Exec);
    /// `OPTIONS` of a queue or topic
    OptionsStream = Box, On(P::Read);
    /// `POST` and `PUT` to a queue or topic
    SendToStream = Box, On(P::StreamSend);
    /// `GET` of a queue or topic
    ReceiveFromStream = Box, On(P::StreamReceive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_level_matches_operation_level() {
        for &operation in Operation::ALL {
            let Some(privilege) = operation.privilege() else {
                continue;
            };
            match operation.level() {
                TargetLevel::Unit => panic!(
                    "{operation:?} needs an access control list, which the unit does not have"
                ),
                // Granted by the access control list of the cell.
                TargetLevel::Box if operation == Operation::RemoveBox => {
                    assert!(privilege.is_cell_level());
                }
                TargetLevel::Box => assert!(!privilege.is_cell_level(), "{operation:?}"),
                TargetLevel::Cell if operation == Operation::DescribeCellControl => {
                    assert_eq!(privilege, Privilege::Read);
                }
                TargetLevel::Cell => assert!(privilege.is_cell_level(), "{operation:?}"),
            }
        }
    }

    #[test]
    fn request_texts_are_one_line_without_table_borders() {
        for operation in Operation::ALL {
            let text = operation.requests().trim();
            assert!(
                !text.is_empty() && !text.contains(['|', '\n']),
                "{operation:?}"
            );
        }
    }
}
