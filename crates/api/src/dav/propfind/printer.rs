//! The resources of a PROPFIND response, written entry by entry.

use std::sync::Arc;
use std::vec;

use personium_dav::multistatus::{
    AceView, AclProperty, AclView, DeadProperties, Multistatus, OpenResponse, PrincipalView, Quota,
    ResponseProps,
};
use personium_dav::propfind::PropFind;
use personium_model::Principal;
use personium_model::acl::Ace;
use personium_model::locate::Target;
use personium_model::node::{Node, NodeKind};
use personium_model::records::Versioned;
use personium_model::roles::RoleNames;

use crate::hrefs::NodeUrls;

/// The parts that all resources of one response share.
pub struct Printer {
    /// The properties that the request wants.
    pub wanted: PropFind,
    /// The base URL of role names.
    pub base: String,
    /// Knowledge of the caller about access control lists.
    pub lists: Lists,
    /// The access control lists that the members of the target inherit.
    pub inherited: Inherited,
    /// The state of the cell, if the target is a cell.
    pub cell_status: Option<&'static str>,
    /// The storage of the unit, if it is known and wanted.
    pub quota: Option<Quota>,
}

/// Knowledge of the caller about access control lists.
pub enum Lists {
    /// Nothing.
    Hidden,
    /// The lists with these names of roles.
    Shown(RoleNames),
}

impl Lists {
    /// Their approximate memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Hidden => 0,
            Self::Shown(names) => names.memory_bytes(),
        }
    }
}

/// The access control lists of the target and of its ancestors up to the box, that of the target first. Ancestors without
/// entries are left out. While members of members are listed, the lists of the collections on the way to them come before.
#[derive(Default)]
pub struct Inherited {
    urls: NodeUrls,
    /// The nodes with their positions along the path.
    nodes: Vec<(usize, Arc<Versioned<Node>>)>,
    /// The URLs and entries of the collections below the target, the deepest last.
    below: Vec<(String, Vec<Ace>)>,
}

impl Inherited {
    /// The lists along a path whose nodes have these URLs.
    pub fn of(target: &Target, urls: NodeUrls) -> Self {
        let deepest = target.found().len().saturating_sub(1);
        let along = target.found().iter().enumerate().rev();
        let nodes = along
            .filter(|(at, found)| *at == deepest || !found.value().acl.aces.is_empty())
            .map(|(at, found)| (at, Arc::clone(&found.node)))
            .collect();
        Self {
            urls,
            nodes,
            below: Vec::new(),
        }
    }

    /// Adds the list of a collection whose members follow.
    pub fn enter(&mut self, url: &str, node: &Node) {
        self.below.push((url.to_owned(), node.acl.aces.clone()));
    }

    /// Removes the list of the deepest collection below the target.
    pub fn leave(&mut self) {
        self.below.pop();
    }

    /// The URL and the entries of the list at this index; `None` after the last.
    fn find(&self, index: usize) -> Option<(&str, &[Ace])> {
        match index.checked_sub(self.below.len()) {
            None => {
                let (url, aces) = self.below.iter().rev().nth(index)?;
                Some((url, aces))
            }
            Some(above) => {
                let (at, node) = self.nodes.get(above)?;
                Some((self.urls.find(*at)?, &node.value.acl.aces))
            }
        }
    }
}

/// How a resource appears in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'n> {
    /// Its name for people.
    pub name: &'n str,
    /// Whether its own list is the first of those that are inherited now.
    pub leads_inherited: bool,
}

/// A resource whose entries are being written.
pub struct Printing {
    response: OpenResponse,
    own: vec::IntoIter<Ace>,
    /// The index of the current inherited list, and that of its next entry.
    list: usize,
    entry: usize,
    dead: DeadProperties,
}

impl Printer {
    /// Starts a resource.
    pub fn begin(
        &self,
        out: &mut String,
        document: &Multistatus,
        href: &str,
        node: Node,
        shown: Shown<'_>,
    ) -> Printing {
        let file = node.file.as_ref();
        let etag = node.etag().strong().to_string();
        let acl = match &self.lists {
            Lists::Hidden => AclProperty::Hidden,
            Lists::Shown(_) => AclProperty::Shown(AclView {
                base: &self.base,
                schema_authz: node.acl.schema_level.map(Into::into),
            }),
        };
        let props = ResponseProps {
            href,
            kind: node.kind.into(),
            display_name: Some(shown.name),
            created_ms: Some(node.created),
            updated_ms: Some(node.updated),
            length: file.map(|f| f.length),
            // A file without a type has an empty one.
            content_type: file.map(|f| f.media_type.as_deref().unwrap_or_default()),
            etag: Some(&etag),
            quota: self.quota.filter(|_| node.kind != NodeKind::File),
            cell_status: self.cell_status,
            acl,
            dead: &node.properties,
        };
        let response = document.start_response(out, &self.wanted, &props);
        Printing {
            response,
            own: node.acl.aces.into_iter(),
            list: usize::from(shown.leads_inherited),
            entry: 0,
            dead: node.properties,
        }
    }

    /// Writes the next entry of the access control list: the own ones, then those of each ancestor. Returns `false` if there
    /// are no more.
    pub fn entry(&self, out: &mut String, printing: &mut Printing) -> bool {
        let (Lists::Shown(names), true) = (&self.lists, printing.response.has_list()) else {
            return false;
        };
        for ace in printing.own.by_ref() {
            if let Some(context) = context(names, &ace, None) {
                printing.response.ace(out, &context);
                return true;
            }
        }
        while let Some((url, aces)) = self.inherited.find(printing.list) {
            let Some(ace) = aces.get(printing.entry) else {
                printing.list += 1;
                printing.entry = 0;
                continue;
            };
            printing.entry += 1;
            if let Some(context) = context(names, ace, Some(url)) {
                printing.response.ace(out, &context);
                return true;
            }
        }
        false
    }
}

impl Printing {
    /// Ends the resource.
    pub fn finish(self, out: &mut String) {
        self.response.finish(out, &self.dead);
    }
}

/// The entry for the writer; `None` if its role does not exist any more.
fn context<'a>(
    names: &'a RoleNames,
    ace: &'a Ace,
    inherited: Option<&'a str>,
) -> Option<AceView<'a>> {
    let principal = match &ace.principal {
        Principal::All => PrincipalView::All,
        Principal::Role(id) => PrincipalView::Href(names.find(id)?),
    };
    Some(AceView {
        principal,
        privileges: &ace.grants,
        inherited,
    })
}
