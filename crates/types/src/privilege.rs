//! The privileges that access control lists grant, and their hierarchy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kind of access that a privilege grants.
///
/// A unit user with read-only access has exactly the privileges of the kind [`AccessType::Read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessType {
    /// All access: the privileges `root` and `all`.
    All,
    /// Reading.
    Read,
    /// Changing.
    Write,
    /// Executing or signing.
    Exec,
}

/// The XML namespace of the name of a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrivilegeNamespace {
    /// `DAV:`, conventional prefix `D`.
    Dav,
    /// `urn:x-personium:xmlns`, conventional prefix `p`.
    Personium,
}

impl PrivilegeNamespace {
    /// The namespace URI.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Dav => "DAV:",
            Self::Personium => "urn:x-personium:xmlns",
        }
    }

    /// The prefix in the short form of a privilege: `D` or `p`.
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
        /// A privilege on a cell, or on a box and its contents.
        ///
        /// Privileges form a tree. A privilege includes all privileges below it. [`Privilege::Root`] is at the top;
        /// [`Privilege::All`] is its only child for boxes. `write` does not include `read`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Privilege { $($(#[$doc])* $variant,)* }

        impl Privilege {
            /// All privileges, parents before their children.
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
    /// All privileges of the cell.
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
    /// Change the access control list of the cell.
    Acl = CELL Personium "acl" Some(Self::Root), Write;
    /// Read the access control list of the cell.
    AclRead = CELL Personium "acl-read" Some(Self::Acl), Read;
    /// Read the properties of the cell.
    Propfind = CELL Personium "propfind" Some(Self::Root), Read;
    /// Change rules.
    Rule = CELL Personium "rule" Some(Self::Root), Write;
    /// Read rules.
    RuleRead = CELL Personium "rule-read" Some(Self::Rule), Read;
    /// Sign data with the key of the cell.
    Sign = CELL Personium "sign" Some(Self::Root), Exec;

    /// All privileges on a box and its contents.
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
    /// Remove members from a collection.
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
    /// The XML namespace of the name.
    #[must_use]
    pub const fn namespace(self) -> PrivilegeNamespace {
        self.info().namespace
    }

    /// The name without its prefix, such as `read-acl`.
    #[must_use]
    pub const fn local_name(self) -> &'static str {
        self.info().local
    }

    /// The privilege directly above, `None` for [`Privilege::Root`].
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        self.info().parent
    }

    /// The kind of access that the privilege grants.
    #[must_use]
    pub const fn access_type(self) -> AccessType {
        self.info().access
    }

    /// Whether only the access control list of a cell can grant the privilege.
    #[must_use]
    pub const fn is_cell_level(self) -> bool {
        self.info().cell_level
    }

    /// Whether the privilege includes `needed`.
    ///
    /// A privilege includes itself and all privileges below it; [`Privilege::Root`] includes all.
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

    /// Finds the privilege with this local name in the namespace `uri`.
    #[must_use]
    pub fn find(uri: &str, local_name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.local_name() == local_name && p.namespace().uri() == uri)
    }

    /// Finds the cell-level privilege with this name, as in scopes (`auth-read`).
    #[must_use]
    pub fn find_cell_level(local_name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.is_cell_level() && p.local_name() == local_name)
    }
}

/// The short form, `D:read` or `p:auth-read`.
impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace().prefix(), self.local_name())
    }
}

/// The text is not the name of a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsePrivilegeError;

impl fmt::Display for ParsePrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no privilege has this name")
    }
}

impl std::error::Error for ParsePrivilegeError {}

/// Parses the short form.
impl FromStr for Privilege {
    type Err = ParsePrivilegeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, local) = text.split_once(':').ok_or(ParsePrivilegeError)?;
        Self::ALL
            .iter()
            .copied()
            .find(|p| p.local_name() == local && p.namespace().prefix() == prefix)
            .ok_or(ParsePrivilegeError)
    }
}

/// The short form, which stored records contain.
impl Serialize for Privilege {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The short form, which stored records contain.
impl<'de> Deserialize<'de> for Privilege {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShortFormVisitor;

        impl serde::de::Visitor<'_> for ShortFormVisitor {
            type Value = Privilege;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a privilege such as D:read")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Privilege, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(ShortFormVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_needs_the_exact_name_and_namespace() {
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
                Err(ParsePrivilegeError),
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
    fn parents_include_children_but_not_the_reverse() {
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
    fn access_types_of_privileges() {
        assert_eq!(Privilege::Root.access_type(), AccessType::All);
        assert_eq!(Privilege::All.access_type(), AccessType::All);
        assert_eq!(Privilege::Propfind.access_type(), AccessType::Read);
        assert_eq!(Privilege::Sign.access_type(), AccessType::Exec);
        assert_eq!(Privilege::Exec.access_type(), AccessType::Exec);
        assert_eq!(Privilege::StreamReceive.access_type(), AccessType::Read);
        assert_eq!(Privilege::BoxInstall.access_type(), AccessType::Write);
    }

    #[test]
    fn find_cell_level_finds_only_cell_privileges() {
        assert_eq!(
            Privilege::find_cell_level("auth-read"),
            Some(Privilege::AuthRead)
        );
        assert_eq!(Privilege::find_cell_level("read"), None);
        assert_eq!(Privilege::find_cell_level("acl"), Some(Privilege::Acl));
    }
}
