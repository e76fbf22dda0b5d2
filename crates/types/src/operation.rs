//! What requests do and what each of that needs: the one table that access control decides by.

use crate::Privilege;

/// Where an operation belongs, which decides in what order credentials, application, scope and list are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// The unit.
    Unit,
    /// A cell itself. The scope of the token must include a privilege of the cell.
    Cell,
    /// What lies in a box. The application of the token must fit the box.
    Box,
}

/// What somebody must have to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing: whoever asks is answered.
    Nothing,
    /// What the request itself proves: a password, a code, an assertion, a token in a form, the own account.
    SelfAuthenticated,
    /// To be a unit user; a unit user sees the own cells only.
    UnitUser,
    /// To be an administrator of the unit.
    UnitAdmin,
    /// To be a unit user who manages the cell: an administrator of the unit, or the owner.
    Manager,
    /// A privilege on the cell or on the resource itself.
    On(Privilege),
    /// A privilege on the collection or box that holds the resource.
    OnParent(Privilege),
}

macro_rules! operations {
    ($($(#[doc = $text:literal])+ $name:ident = $level:ident, $need:expr;)*) => {
        /// Something that requests do. Handlers name it; the table says what it needs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation { $($(#[doc = $text])+ $name,)* }

        impl Operation {
            /// Every operation, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Where it belongs.
            #[must_use]
            pub const fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)* }
            }

            /// What it needs.
            #[must_use]
            pub const fn need(self) -> Need {
                use Need::{Manager, Nothing, On, OnParent, SelfAuthenticated, UnitAdmin, UnitUser};
                use Privilege as P;
                match self { $(Self::$name => $need,)* }
            }

            /// The requests that do it, for people.
            #[must_use]
            pub const fn requests(self) -> &'static str {
                match self { $(Self::$name => concat!($($text),+),)* }
            }
        }
    };
}

impl Operation {
    /// The privilege that it needs, if an access control list decides about it.
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
    /// `GET {unit}`, `OPTIONS {unit}`, `GET {unit}crossdomain.xml`
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
    /// `OPTIONS` of `__token`, `__authz`, `__mypassword`, `__certs`, `__sign`, `__message/...`, `__event`, `__log/...`, `__rule`
    OptionsEndpoint = Cell, Nothing;
    /// `POST {cell}__token`
    RequestToken = Cell, SelfAuthenticated;
    /// `GET` and `POST {cell}__authz`
    Authorize = Cell, SelfAuthenticated;
    /// `POST {cell}__introspect`
    Introspect = Cell, SelfAuthenticated;
    /// `PUT {cell}__mypassword`
    ChangeOwnPassword = Cell, SelfAuthenticated;
    /// `POST {cell}__message/port`, by the cell that the message is from
    DeliverMessage = Cell, SelfAuthenticated;
    /// `PROPPATCH {cell}`
    WriteCellProperties = Cell, Manager;
    /// `DELETE {cell}` with everything in it
    RemoveCell = Cell, Manager;
    /// `OPTIONS {cell}`
    OptionsCell = Cell, On(P::SocialRead);
    /// `PROPFIND {cell}`
    ReadCellProperties = Cell, On(P::Propfind);
    /// The access control list in `PROPFIND {cell}`
    ReadCellAcl = Cell, On(P::AclRead);
    /// `ACL {cell}`
    WriteCellAcl = Cell, On(P::Acl);
    /// `GET {cell}__role`, also of one box and of one role
    ReadRolePages = Cell, On(P::AuthRead);
    /// `OPTIONS {cell}__introspect`
    OptionsIntrospect = Cell, On(P::AuthRead);
    /// `POST {cell}__sign`
    Sign = Cell, On(P::Sign);
    /// `GET` and `OPTIONS` of `{cell}__ctl`, `OPTIONS` of its `$metadata`
    DescribeCellControl = Cell, On(P::Read);
    /// `OPTIONS` of links and navigation between control objects
    OptionsCellLinks = Cell, On(P::SocialRead);
    /// `GET` and `OPTIONS` of accounts
    ReadAccounts = Cell, On(P::AuthRead);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of accounts
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
    DecideMessage = Cell, On(P::Message);
    /// Approval of a message that asks to change relations or roles
    ApproveSocial = Cell, On(P::Social);
    /// Approval of a message that asks to change rules
    ApproveRules = Cell, On(P::Rule);

    /// `MKCOL` of a box, which installs an application
    InstallBox = Cell, On(P::BoxInstall);
    /// `POST {cell}__event`
    PostEvent = Cell, On(P::Event);
    /// `GET {cell}__rule`
    ReadRulesInForce = Cell, On(P::RuleRead);
    /// `GET` and `PROPFIND` of `{cell}__log/...`
    ReadLog = Cell, On(P::LogRead);
    /// `DELETE {cell}__log/...`
    RemoveLog = Cell, On(P::Log);

    /// `GET {cell}__box`, but for the application that the box belongs to
    FindBox = Box, On(P::Read);
    /// `DELETE {box}` with everything in it
    RemoveBox = Box, On(P::Box);
    /// `GET` of a box, a collection or a file
    Read = Box, On(P::Read);
    /// `OPTIONS` of a box or of something in it; any method that it does not have
    Ask = Box, On(P::Read);
    /// `REPORT`, which nothing answers
    Report = Box, On(P::Read);
    /// `POST` where nothing is
    PostToNothing = Box, On(P::Write);
    /// `PUT` where nothing is
    CreateFile = Box, OnParent(P::Bind);
    /// `PUT` of a file that exists
    WriteFile = Box, On(P::WriteContent);
    /// `MKCOL`
    CreateCollection = Box, OnParent(P::Bind);
    /// `DELETE` of a file or collection
    Remove = Box, OnParent(P::Unbind);
    /// `MOVE`: what is moved
    MoveAway = Box, OnParent(P::Unbind);
    /// `MOVE`: where it goes
    MoveTo = Box, OnParent(P::Bind);
    /// `MOVE`: the file that is replaced
    MoveOver = Box, OnParent(P::Unbind);
    /// `MOVE` of a box or of the sources of a service, which is refused
    MoveFixed = Box, On(P::Write);
    /// `PROPFIND`
    ReadProperties = Box, On(P::ReadProperties);
    /// The access control lists in `PROPFIND`
    ReadAcl = Box, On(P::ReadAcl);
    /// `PROPPATCH`
    WriteProperties = Box, On(P::WriteProperties);
    /// `ACL`
    WriteAcl = Box, On(P::WriteAcl);
    /// `GET` and `OPTIONS` of an OData collection and of its `$metadata`; `OPTIONS` of links and navigation in it
    DescribeData = Box, On(P::Read);
    /// `GET` and `OPTIONS` of entities and links; `$batch`, unless writing is allowed
    ReadEntities = Box, On(P::Read);
    /// `POST`, `PUT`, `MERGE`, `DELETE` of entities and links; `$batch`, unless reading is allowed
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
    fn privileges_fit_their_level() {
        for &operation in Operation::ALL {
            let Some(privilege) = operation.privilege() else {
                continue;
            };
            match operation.level() {
                Level::Unit => panic!("{operation:?} asks a list that no unit has"),
                // A box has no list that grants it; the cell's does.
                Level::Box if operation == Operation::RemoveBox => {
                    assert!(privilege.is_cell_level());
                }
                Level::Box => assert!(!privilege.is_cell_level(), "{operation:?}"),
                Level::Cell if operation == Operation::DescribeCellControl => {
                    assert_eq!(privilege, Privilege::Read);
                }
                Level::Cell => assert!(privilege.is_cell_level(), "{operation:?}"),
            }
        }
    }

    #[test]
    fn texts_are_one_line_without_a_border() {
        for operation in Operation::ALL {
            let text = operation.requests().trim();
            assert!(
                !text.is_empty() && !text.contains(['|', '\n']),
                "{operation:?}"
            );
        }
    }
}
