//! The properties of one resource that a PROPFIND request wants: those that exist, and those that do not.

use personium_xml::Name;

use super::indented::IndentedXml;
use super::{
    AclProperty, DeadProperties, ResponseProps, creation_date, http_date, open_acl, resource_type,
};
use crate::propfind::PropFind;
use crate::proppatch::key;
use crate::{DAV_NS, PERSONIUM_NS};

/// The key of a `displayname` that a client has set.
const DISPLAY_NAME_KEY: &str = "displayname@DAV:";

/// A property that the server computes. The order is that in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LiveProperty {
    CreationDate,
    DisplayName,
    ContentLength,
    ContentType,
    ETag,
    LastModified,
    ResourceType,
    QuotaAvailable,
    QuotaUsed,
    CellStatus,
    Acl,
}

impl LiveProperty {
    /// Each with its namespace and local name, and whether `allprop` includes it.
    const ALL: [(Self, &'static str, &'static str, bool); 11] = [
        (Self::CreationDate, DAV_NS, "creationdate", true),
        (Self::DisplayName, DAV_NS, "displayname", false),
        (Self::ContentLength, DAV_NS, "getcontentlength", true),
        (Self::ContentType, DAV_NS, "getcontenttype", true),
        (Self::ETag, DAV_NS, "getetag", false),
        (Self::LastModified, DAV_NS, "getlastmodified", true),
        (Self::ResourceType, DAV_NS, "resourcetype", true),
        (Self::QuotaAvailable, DAV_NS, "quota-available-bytes", false),
        (Self::QuotaUsed, DAV_NS, "quota-used-bytes", false),
        (Self::CellStatus, PERSONIUM_NS, "cellstatus", true),
        (Self::Acl, DAV_NS, "acl", true),
    ];

    fn is_present(self, props: &ResponseProps<'_>) -> bool {
        match self {
            Self::ResourceType => true,
            Self::CreationDate => props.created_ms.is_some(),
            Self::LastModified => props.updated_ms.is_some(),
            // One that a client has set is a dead property.
            Self::DisplayName => {
                props.display_name.is_some() && !props.dead.contains_key(DISPLAY_NAME_KEY)
            }
            Self::ContentLength => props.length.is_some(),
            Self::ContentType => props.content_type.is_some(),
            Self::ETag => props.etag.is_some(),
            Self::QuotaAvailable | Self::QuotaUsed => props.quota.is_some(),
            Self::CellStatus => props.cell_status.is_some(),
            Self::Acl => matches!(props.acl, AclProperty::Shown(_)),
        }
    }

    /// Prints the property with its value; of an access control list only the start tag.
    fn print(self, xml: &mut IndentedXml<'_>, props: &ResponseProps<'_>) {
        let text = match self {
            Self::CreationDate => props.created_ms.map(creation_date),
            Self::LastModified => props.updated_ms.map(http_date),
            Self::ContentLength => props.length.map(|n| n.to_string()),
            Self::QuotaAvailable => props.quota.map(|q| q.available_bytes.to_string()),
            Self::QuotaUsed => props.quota.map(|q| q.used_bytes.to_string()),
            Self::DisplayName => props.display_name.map(str::to_owned),
            Self::ContentType => props.content_type.map(str::to_owned),
            Self::ETag => props.etag.map(str::to_owned),
            Self::ResourceType => return resource_type(xml, props.kind),
            Self::CellStatus => return xml.personium("cellstatus", props.cell_status),
            Self::Acl => {
                if let AclProperty::Shown(list) = &props.acl {
                    open_acl(xml, list);
                }
                return;
            }
        };
        let name = Self::ALL
            .iter()
            .find(|(property, ..)| *property == self)
            .map_or("", |(_, _, local, _)| local);
        xml.text(name, &text.unwrap_or_default());
    }
}

/// The dead properties that are printed.
#[derive(Debug, PartialEq, Eq)]
enum DeadSelection {
    All,
    /// Those with these keys.
    Keys(Vec<String>),
}

/// The properties of one resource in a response.
#[derive(Debug)]
pub(super) struct SelectedProperties {
    live: Vec<LiveProperty>,
    dead: DeadSelection,
    /// Only names are printed, no values.
    names_only: bool,
    has_found: bool,
    missing: Vec<Name>,
    /// Properties that the caller may not read.
    hidden: Vec<Name>,
}

impl SelectedProperties {
    pub(super) fn of(wanted: &PropFind, props: &ResponseProps<'_>) -> Self {
        match wanted {
            PropFind::Unspecified => Self::all(&[], props),
            PropFind::AllProp { include } => Self::all(include, props),
            PropFind::Prop(names) => Self::named(names, props),
            PropFind::PropName => Self {
                names_only: true,
                ..Self::everything(|_| true, props)
            },
        }
    }

    /// The live properties that `is_wanted` selects by their place in the table, and all dead ones.
    fn everything(is_wanted: impl Fn(bool) -> bool, props: &ResponseProps<'_>) -> Self {
        let live = LiveProperty::ALL
            .iter()
            .filter(|(property, _, _, in_allprop)| {
                is_wanted(*in_allprop) && property.is_present(props)
            })
            .map(|(property, ..)| *property)
            .collect();
        Self {
            live,
            dead: DeadSelection::All,
            names_only: false,
            has_found: true,
            missing: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// The properties of `allprop` and these. What is included but does not exist is reported as missing.
    fn all(include: &[Name], props: &ResponseProps<'_>) -> Self {
        let included = Self::named(include, props);
        let mut selected = Self::everything(|in_allprop| in_allprop, props);
        selected.live = LiveProperty::ALL
            .iter()
            .map(|(property, ..)| *property)
            .filter(|property| selected.live.contains(property) || included.live.contains(property))
            .collect();
        Self {
            missing: included.missing,
            hidden: included.hidden,
            ..selected
        }
    }

    fn named(names: &[Name], props: &ResponseProps<'_>) -> Self {
        let (mut missing, mut hidden, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut wanted = Vec::new();
        for name in names {
            let live = LiveProperty::ALL
                .iter()
                .find(|(_, namespace, local, _)| name.is(namespace, local))
                .map(|(property, ..)| *property);
            let key = key(name.namespace(), name.local());
            match live {
                Some(property) if property.is_present(props) => wanted.push(property),
                _ if props.dead.contains_key(&key) => keys.push(key),
                Some(LiveProperty::Acl) if props.acl == AclProperty::Hidden => {
                    hidden.push(name.clone());
                }
                _ => missing.push(name.clone()),
            }
        }
        let in_order = LiveProperty::ALL
            .iter()
            .map(|(property, ..)| *property)
            .filter(|property| wanted.contains(property));
        Self {
            has_found: !wanted.is_empty() || !keys.is_empty() || names.is_empty(),
            live: in_order.collect(),
            dead: DeadSelection::Keys(keys),
            names_only: false,
            missing,
            hidden,
        }
    }

    /// Whether there is a `propstat` with status 200.
    pub(super) fn has_found(&self) -> bool {
        self.has_found
    }

    /// Prints the live properties. Returns whether the entries of an access control list follow.
    pub(super) fn print_live(&self, xml: &mut IndentedXml<'_>, props: &ResponseProps<'_>) -> bool {
        if self.names_only {
            for (property, namespace, local, _) in LiveProperty::ALL {
                if self.live.contains(&property) {
                    xml.empty_in(namespace, local);
                }
            }
            return false;
        }
        for property in &self.live {
            property.print(xml, props);
        }
        self.live.contains(&LiveProperty::Acl)
    }

    pub(super) fn print_dead(&self, xml: &mut IndentedXml<'_>, dead: &DeadProperties) {
        match &self.dead {
            DeadSelection::All if self.names_only => {
                for (local, namespace) in dead.keys().filter_map(|key| key.split_once('@')) {
                    xml.empty_in(namespace, local);
                }
            }
            DeadSelection::All => dead.values().for_each(|element| xml.verbatim(element)),
            DeadSelection::Keys(keys) => keys
                .iter()
                .filter_map(|key| dead.get(key))
                .for_each(|element| xml.verbatim(element)),
        }
    }

    /// Prints a `propstat` for the wanted properties that do not exist, and one for those that the caller may not read.
    pub(super) fn print_not_found(&self, xml: &mut IndentedXml<'_>) {
        for (names, status) in [
            (&self.missing, "404 Not Found"),
            (&self.hidden, "403 Forbidden"),
        ] {
            if names.is_empty() {
                continue;
            }
            xml.open("propstat");
            xml.open("prop");
            for name in names {
                xml.empty_in(name.namespace(), name.local());
            }
            xml.close_propstat(status);
        }
    }
}
