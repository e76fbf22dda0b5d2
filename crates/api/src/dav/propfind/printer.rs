//! The resources of a PROPFIND response, written entry by entry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;

use personium_dav::acl::SchemaAuthz;
use personium_dav::multistatus::{
    AceView, AclView, Multistatus, OpenResponse, PrincipalView, ResourceKind, ResponseProps,
};
use personium_model::acl::Ace;
use personium_model::locate::Target;
use personium_model::node::{Node, NodeKind};
use personium_model::records::Versioned;
use personium_model::roles::RoleNames;
use personium_model::{Principal, SchemaLevel};

use crate::hrefs::NodeUrls;

/// The parts that all resources of one response share.
pub struct Printer {
    /// The base URL of role names.
    pub base: String,
    /// The names of roles, if access control lists are shown.
    pub names: Option<RoleNames>,
    /// The access control lists that the members of the target inherit.
    pub inherited: Inherited,
    /// The state of the cell, if the target is a cell.
    pub cell_status: Option<&'static str>,
}

/// The access control lists of the target and of its ancestors up to the box, that of the target first. Ancestors without
/// entries are left out.
#[derive(Default)]
pub struct Inherited {
    urls: NodeUrls,
    /// The nodes with their positions along the path.
    nodes: Vec<(usize, Arc<Versioned<Node>>)>,
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
        Self { urls, nodes }
    }

    /// The URL and the entries of the list at this index; `None` after the last.
    fn find(&self, index: usize) -> Option<(&str, &[Ace])> {
        let (at, node) = self.nodes.get(index)?;
        Some((self.urls.find(*at)?, &node.value.acl.aces))
    }
}

/// The role of a resource in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The resource that the request names.
    Target,
    /// A member of it.
    Member,
}

/// A resource whose entries are being written.
pub struct Printing {
    response: OpenResponse,
    own: vec::IntoIter<Ace>,
    /// The index of the current inherited list, and that of its next entry.
    list: usize,
    entry: usize,
    dead: BTreeMap<String, String>,
}

impl Printer {
    /// Starts a resource.
    pub fn begin(
        &self,
        out: &mut String,
        document: &Multistatus,
        href: &str,
        node: Node,
        shown: Shown,
    ) -> Printing {
        let file = node.file.as_ref();
        let response = document.start_response(
            out,
            &ResponseProps {
                href,
                kind: resource_kind(node.kind),
                created_ms: node.created,
                updated_ms: node.updated,
                length: file.map(|f| f.length),
                content_type: file.and_then(|f| f.media_type.as_deref()),
                cell_status: self.cell_status,
                acl: self.names.as_ref().map(|_| AclView {
                    base: &self.base,
                    schema_authz: node.acl.schema_level.map(schema_authz),
                }),
            },
        );
        Printing {
            response,
            own: node.acl.aces.into_iter(),
            // The list of the target itself is the first.
            list: usize::from(shown == Shown::Target),
            entry: 0,
            dead: node.properties,
        }
    }

    /// Writes the next entry of the access control list: the own ones, then those of each ancestor. Returns `false` if there
    /// are no more.
    pub fn entry(&self, out: &mut String, printing: &mut Printing) -> bool {
        let Some(names) = &self.names else {
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
        let dead = self.dead.values().map(String::as_str);
        self.response.finish(out, dead);
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

fn resource_kind(kind: NodeKind) -> ResourceKind {
    match kind {
        NodeKind::Cell | NodeKind::Box | NodeKind::Collection => ResourceKind::Collection,
        NodeKind::Odata => ResourceKind::OData,
        NodeKind::Service => ResourceKind::Service,
        NodeKind::Stream => ResourceKind::Stream,
        NodeKind::File => ResourceKind::File,
    }
}

fn schema_authz(level: SchemaLevel) -> SchemaAuthz {
    match level {
        SchemaLevel::None => SchemaAuthz::None,
        SchemaLevel::Public => SchemaAuthz::Public,
        SchemaLevel::Confidential => SchemaAuthz::Confidential,
    }
}
