//! Privileges that an access control list can grant, and which of them include which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a holder of a privilege may do, in the coarsest terms.
///
/// Decides what a reader of all content (a unit user who may only read) passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessType {
    /// Everything: the two privileges at the top of the trees.
    All,
    /// Looks, changes nothing.
    Read,
    /// Changes something.
    Write,
    /// Runs or signs something.
    Exec,
}

/// The XML namespace that a privilege's name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrivilegeNamespace {
    /// `DAV:`, conventional prefix `D`.
    Dav,
    /// `urn:x-personium:xmlns`, conventional prefix `p`.
    Personium,
}

impl PrivilegeNamespace {
    /// The namespace name as it stands in an XML document.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Dav => "DAV:",
            Self::Personium => "urn:x-personium:xmlns",
        }
    }

    /// The prefix used in the short spelling of a privilege: `D` or `p`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Dav => "D",
            Self::Personium => "p",
        }
    }
}

struct PrivilegeInfo {
    namespace: PrivilegeNamespace,
    local: &'static str,
    parent: Option<Privilege>,
    access: AccessType,
    cell_level: bool,
}

macro_rules! privileges {
    ($($(#[$doc:meta])* $variant:ident = $level:ident $namespace:ident $local:literal $parent:expr, $access:ident;)*) => {
        /// One privilege of a cell or of what lies in its boxes.
        ///
        /// Privileges form one tree: holding one means holding everything below it. [`Privilege::Root`] is at the
        /// top, [`Privilege::All`] is its only child that concerns boxes. `write` does not include `read`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Privilege { $($(#[$doc])* $variant,)* }

        impl Privilege {
            /// Every privilege, parents before their children.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn info(self) -> PrivilegeInfo {
                match self {
                    $(Self::$variant => PrivilegeInfo {
                        namespace: PrivilegeNamespace::$namespace,
                        local: $local,
                        parent: $parent,
                        access: AccessType::$access,
                        cell_level: level::$level,
                    },)*
                }
            }
        }
    };
}

mod level {
    pub(super) const CELL: bool = true;
    pub(super) const BOX: bool = false;
}

privileges! {
    /// Everything in the cell.
    Root = CELL Personium "root" None, All;
    /// Change accounts, roles and external roles.
    Auth = CELL Personium "auth" Some(Self::Root), Write;
    /// Read accounts, roles and external roles.
    AuthRead = CELL Personium "auth-read" Some(Self::Auth), Read;
    /// Send messages and approve received ones.
    Message = CELL Personium "message" Some(Self::Root), Write;
    /// Read messages.
    MessageRead = CELL Personium "message-read" Some(Self::Message), Read;
    /// Post events.
    Event = CELL Personium "event" Some(Self::Root), Write;
    /// Subscribe to events.
    EventRead = CELL Personium "event-read" Some(Self::Event), Read;
    /// Delete archived logs.
    Log = CELL Personium "log" Some(Self::Root), Write;
    /// Read logs.
    LogRead = CELL Personium "log-read" Some(Self::Log), Read;
    /// Change relations and external cells.
    Social = CELL Personium "social" Some(Self::Root), Write;
    /// Read relations and external cells.
    SocialRead = CELL Personium "social-read" Some(Self::Social), Read;
    /// Create, change and delete boxes.
    Box = CELL Personium "box" Some(Self::Root), Write;
    /// Read the list of boxes.
    BoxRead = CELL Personium "box-read" Some(Self::Box), Read;
    /// Install a box from an archive.
    BoxInstall = CELL Personium "box-install" Some(Self::Box), Write;
    /// Change the cell's own access control list.
    Acl = CELL Personium "acl" Some(Self::Root), Write;
    /// Read the cell's own access control list.
    AclRead = CELL Personium "acl-read" Some(Self::Acl), Read;
    /// Read the cell's properties.
    Propfind = CELL Personium "propfind" Some(Self::Root), Read;
    /// Change rules.
    Rule = CELL Personium "rule" Some(Self::Root), Write;
    /// Read rules.
    RuleRead = CELL Personium "rule-read" Some(Self::Rule), Read;
    /// Have the cell sign something.
    Sign = CELL Personium "sign" Some(Self::Root), Exec;

    /// Everything in a box or below.
    All = BOX Dav "all" Some(Self::Root), All;
    /// Read content.
    Read = BOX Dav "read" Some(Self::All), Read;
    /// Read properties.
    ReadProperties = BOX Dav "read-properties" Some(Self::Read), Read;
    /// Read the access control list.
    ReadAcl = BOX Dav "read-acl" Some(Self::All), Read;
    /// Change content, members and properties.
    Write = BOX Dav "write" Some(Self::All), Write;
    /// Add members to a collection.
    Bind = BOX Dav "bind" Some(Self::Write), Write;
    /// Take members out of a collection.
    Unbind = BOX Dav "unbind" Some(Self::Write), Write;
    /// Change the content of a file.
    WriteContent = BOX Dav "write-content" Some(Self::Write), Write;
    /// Change properties.
    WriteProperties = BOX Dav "write-properties" Some(Self::Write), Write;
    /// Change the access control list.
    WriteAcl = BOX Dav "write-acl" Some(Self::All), Write;
    /// Execute a service.
    Exec = BOX Personium "exec" Some(Self::All), Exec;
    /// Change the schema of an OData collection.
    AlterSchema = BOX Dav "alter-schema" Some(Self::All), Write;
    /// Send to a stream.
    StreamSend = BOX Personium "stream-send" Some(Self::All), Write;
    /// Receive from a stream.
    StreamReceive = BOX Personium "stream-receive" Some(Self::All), Read;
}

impl Privilege {
    /// The namespace that the name belongs to.
    #[must_use]
    pub const fn namespace(self) -> PrivilegeNamespace {
        self.info().namespace
    }

    /// The name without prefix, such as `read-acl`.
    #[must_use]
    pub const fn local_name(self) -> &'static str {
        self.info().local
    }

    /// The privilege directly above, `None` for [`Privilege::Root`].
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        self.info().parent
    }

    /// What the holder may do, in the coarsest terms.
    #[must_use]
    pub const fn access_type(self) -> AccessType {
        self.info().access
    }

    /// Whether the privilege concerns the cell itself, so that only the cell's own list may grant it.
    #[must_use]
    pub const fn is_cell_level(self) -> bool {
        self.info().cell_level
    }

    /// Whether a holder of this privilege holds `needed` as well.
    ///
    /// A privilege includes itself and everything below it; [`Privilege::Root`] includes all.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        let mut at = Some(needed);
        while let Some(privilege) = at {
            if privilege == self {
                return true;
            }
            at = privilege.parent();
        }
        false
    }

    /// The privilege of this name in the namespace `uri`; `None` if there is none, however similar.
    #[must_use]
    pub fn find(uri: &str, local_name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.local_name() == local_name && p.namespace().uri() == uri)
    }

    /// The cell level privilege of this name, as scopes spell it (`auth-read`).
    #[must_use]
    pub fn find_cell_level(local_name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.is_cell_level() && p.local_name() == local_name)
    }
}

/// Writes the short spelling, `D:read` or `p:auth-read`.
impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace().prefix(), self.local_name())
    }
}

/// A spelling that names no privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPrivilege;

impl fmt::Display for UnknownPrivilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no privilege has this name")
    }
}

impl std::error::Error for UnknownPrivilege {}

/// Reads the short spelling that [`fmt::Display`] writes.
impl FromStr for Privilege {
    type Err = UnknownPrivilege;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, local) = text.split_once(':').ok_or(UnknownPrivilege)?;
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.local_name() == local && p.namespace().prefix() == prefix)
            .ok_or(UnknownPrivilege)
    }
}

/// The short spelling, which stored records keep.
impl Serialize for Privilege {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The short spelling, which stored records keep.
impl<'de> Deserialize<'de> for Privilege {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spelling;

        impl serde::de::Visitor<'_> for Spelling {
            type Value = Privilege;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a privilege such as D:read")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Privilege, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Spelling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_privilege_is_found_by_its_name_and_by_nothing_else() {
        for &privilege in Privilege::ALL {
            assert_eq!(privilege.to_string().parse(), Ok(privilege));
            assert_eq!(
                Privilege::find(privilege.namespace().uri(), privilege.local_name()),
                Some(privilege)
            );
            let other = match privilege.namespace() {
                PrivilegeNamespace::Dav => PrivilegeNamespace::Personium,
                PrivilegeNamespace::Personium => PrivilegeNamespace::Dav,
            };
            assert_eq!(Privilege::find(other.uri(), privilege.local_name()), None);
        }
        for unknown in [
            "D:exec",
            "p:read",
            "p:box-export",
            "p:signed",
            "read",
            "",
            ":",
            "D:Read",
        ] {
            assert_eq!(
                unknown.parse::<Privilege>(),
                Err(UnknownPrivilege),
                "{unknown}"
            );
        }
    }

    #[test]
    fn names_are_unique() {
        for (at, one) in Privilege::ALL.iter().enumerate() {
            for other in &Privilege::ALL[at + 1..] {
                assert_ne!(one.to_string(), other.to_string());
            }
        }
        assert_eq!(Privilege::ALL.len(), 34);
    }

    #[test]
    fn a_parent_includes_its_children_and_no_child_its_parent() {
        for &privilege in Privilege::ALL {
            assert!(privilege.includes(privilege));
            assert!(Privilege::Root.includes(privilege));
            assert_eq!(
                Privilege::All.includes(privilege),
                !privilege.is_cell_level()
            );
            if let Some(parent) = privilege.parent() {
                assert!(parent.includes(privilege));
                assert!(!privilege.includes(parent));
            }
        }
        assert!(!Privilege::Write.includes(Privilege::Read));
        assert!(!Privilege::Read.includes(Privilege::ReadAcl));
        assert!(Privilege::Write.includes(Privilege::Unbind));
        assert!(Privilege::Box.includes(Privilege::BoxInstall));
        assert!(!Privilege::Auth.includes(Privilege::Read));
    }

    #[test]
    fn access_types_separate_readers_from_writers() {
        assert_eq!(Privilege::Root.access_type(), AccessType::All);
        assert_eq!(Privilege::All.access_type(), AccessType::All);
        assert_eq!(Privilege::Propfind.access_type(), AccessType::Read);
        assert_eq!(Privilege::Sign.access_type(), AccessType::Exec);
        assert_eq!(Privilege::Exec.access_type(), AccessType::Exec);
        assert_eq!(Privilege::StreamReceive.access_type(), AccessType::Read);
        assert_eq!(Privilege::BoxInstall.access_type(), AccessType::Write);
    }

    #[test]
    fn scopes_name_only_cell_privileges() {
        assert_eq!(
            Privilege::find_cell_level("auth-read"),
            Some(Privilege::AuthRead)
        );
        assert_eq!(Privilege::find_cell_level("read"), None);
        assert_eq!(Privilege::find_cell_level("acl"), Some(Privilege::Acl));
    }
}
