//! PROPFIND of boxes, collections, files and cells. Members are sent page by page as they are read.

use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use personium_dav::acl::SchemaAuthz;
use personium_dav::headers::{Depth, DepthError};
use personium_dav::multistatus::{
    AceView, AclView, Multistatus, PrincipalView, ResourceKind, ResponseProps,
};
use personium_dav::propfind;
use personium_model::listing::Members;
use personium_model::locate::Target;
use personium_model::node::{Kind, Node};
use personium_model::roles::RoleNames;
use personium_model::{Acl, Principal, Resource, SchemaLevel};
use personium_types::{Code, Error, Operation, Result};

use super::hrefs::{member_url, node_urls};
use super::xml_limits;
use crate::answer::{self, Answer, WithHeader};
use crate::body::{self, BoxError};
use crate::call::{Call, CellCall};

const XML: &str = "application/xml";

/// PROPFIND of a box or of something in it.
pub(super) async fn handle(mut call: Call, resource: Resource, target: Target) -> Result<Answer> {
    resource.permit(&target, Operation::ReadProperties)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    check_body(&mut call).await?;
    let depth = depth(call.header("depth"))?;
    drop(call);
    let urls = resource.unit.urls();
    let lists = resource.permit(&target, Operation::ReadAcl).is_ok();
    let info = &target.target_box;
    let base = format!(
        "{}__role/{}/",
        urls.cell(&target.view.cell().name),
        info.name
    );
    let names = match lists {
        true => Some(RoleNames::relative_to(&target.view, Some(info)).await?),
        false => None,
    };
    let hrefs = node_urls(urls, &target);
    let above: Vec<(String, Acl)> = hrefs
        .iter()
        .zip(target.found())
        .map(|(href, node)| (href.clone(), node.value().acl.clone()))
        .rev()
        .collect();
    let href = hrefs.last().cloned().unwrap_or_default();
    let printer = Printer {
        base,
        names,
        above,
        cell_status: None,
    };
    let node = target.node().value();
    let etag = node.etag();

    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    printer.print(&mut out, &document, &href, node, printer.above.get(1..));
    let members = match depth {
        Depth::Zero => None,
        Depth::One => Some(Members::of(&target)),
    };
    let listing = Listing {
        printer,
        href,
        members,
        document: Some(document),
    };
    listing.answer(out, &etag).await
}

/// PROPFIND of a cell. Its boxes are never listed.
pub(super) async fn handle_cell(call: CellCall) -> Result<Answer> {
    let CellCall { mut call, view } = call;
    let cell = view.cell();
    let node = view.cell_node().await?;
    let (node, list) = (&node.value, &node.value.acl);
    let unit = call.unit.clone();
    call.access
        .permit_cell(unit.urls(), cell, list, Operation::ReadCellProperties)?;
    check_body(&mut call).await?;
    depth(Some(call.header("depth").unwrap_or("0")))?;
    let lists = call
        .access
        .permit_cell(unit.urls(), cell, list, Operation::ReadCellAcl)
        .is_ok();
    drop(call);
    let names = match lists {
        true => Some(RoleNames::relative_to(&view, None).await?),
        false => None,
    };
    let url = unit.urls().cell(&cell.name);
    let printer = Printer {
        base: format!("{url}__role/__/"),
        names,
        above: Vec::new(),
        cell_status: Some(if cell.import_failed {
            "import failed"
        } else {
            "normal"
        }),
    };
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    let href = url.strip_suffix('/').unwrap_or(&url);
    printer.print(&mut out, &document, href, node, None);
    document.finish(&mut out);
    Ok(answer::content(StatusCode::MULTI_STATUS, XML, out).with(header::ETAG, &node.etag()))
}

async fn check_body(call: &mut Call) -> Result<()> {
    if call.has_body() {
        let limits = xml_limits(call);
        let body = call.read_body(limits.bytes).await?;
        propfind::parse(&body, &limits).map_err(|e| Error::new(Code::DavXml).because(e))?;
    }
    Ok(())
}

fn depth(header: Option<&str>) -> Result<Depth> {
    Depth::of_propfind(header).map_err(|refusal| match refusal {
        DepthError::Infinity => Code::PropfindInfinity.into(),
        DepthError::Invalid => Error::new(Code::Depth).with(header.unwrap_or("null")),
    })
}

/// What is the same for all resources of one answer.
struct Printer {
    /// What role names are relative to.
    base: String,
    /// The roles, if lists are shown.
    names: Option<RoleNames>,
    /// URLs and lists of the target and everything above it up to the box, the target first.
    above: Vec<(String, Acl)>,
    /// The state of the cell, if it is the cell that is shown.
    cell_status: Option<&'static str>,
}

impl Printer {
    fn print(
        &self,
        out: &mut String,
        document: &Multistatus,
        href: &str,
        node: &Node,
        above: Option<&[(String, Acl)]>,
    ) {
        let mut aces = Vec::new();
        if let Some(names) = &self.names {
            push_aces(&mut aces, names, &node.acl, None);
            for (url, list) in above.unwrap_or_default() {
                push_aces(&mut aces, names, list, Some(url));
            }
        }
        let dead: Vec<&str> = node.properties.values().map(String::as_str).collect();
        let file = node.file.as_ref();
        document.response(
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
                    aces: &aces,
                }),
                dead: &dead,
            },
        );
    }
}

fn push_aces<'a>(
    out: &mut Vec<AceView<'a>>,
    names: &'a RoleNames,
    list: &'a Acl,
    inherited: Option<&'a str>,
) {
    for ace in &list.aces {
        let principal = match &ace.principal {
            Principal::All => PrincipalView::All,
            Principal::Role(id) => match names.find(id) {
                Some(name) => PrincipalView::Href(name),
                None => continue,
            },
        };
        out.push(AceView {
            principal,
            privileges: &ace.grants,
            inherited,
        });
    }
}

fn resource_kind(kind: Kind) -> ResourceKind {
    match kind {
        Kind::Cell | Kind::Box | Kind::Collection => ResourceKind::Collection,
        Kind::Odata => ResourceKind::OData,
        Kind::Service => ResourceKind::Service,
        Kind::Stream => ResourceKind::Stream,
        Kind::File => ResourceKind::File,
    }
}

fn schema_authz(level: SchemaLevel) -> SchemaAuthz {
    match level {
        SchemaLevel::None => SchemaAuthz::None,
        SchemaLevel::Public => SchemaAuthz::Public,
        SchemaLevel::Confidential => SchemaAuthz::Confidential,
    }
}

/// An answer that is still being written.
struct Listing {
    printer: Printer,
    href: String,
    members: Option<Members>,
    document: Option<Multistatus>,
}

impl Listing {
    /// The answer that begins with `out`. What fits into one page is sent as a whole.
    async fn answer(mut self, mut out: String, etag: &str) -> Result<Answer> {
        let more = self.next(&mut out).await?;
        let body = if more {
            let first = stream::once(async move { Ok::<_, BoxError>(Bytes::from(out)) });
            let rest = stream::try_unfold(Some(self), |listing| async move {
                let Some(mut listing) = listing else {
                    return Ok::<_, BoxError>(None);
                };
                let mut out = String::new();
                let more = listing.next(&mut out).await?;
                Ok(Some((Bytes::from(out), more.then_some(listing))))
            });
            body::of_stream(stream::StreamExt::chain(first, rest))
        } else {
            body::full(out)
        };
        Ok(answer::with_body(StatusCode::MULTI_STATUS, body)
            .with(header::CONTENT_TYPE, XML)
            .with(header::ETAG, etag))
    }

    /// Appends the next page, or the end of the document. `false` after the end.
    async fn next(&mut self, out: &mut String) -> Result<bool> {
        let page = match &mut self.members {
            Some(members) => members.next_page().await?,
            None => Vec::new(),
        };
        let ends = page.is_empty() || self.members.as_ref().is_none_or(Members::is_finished);
        if let Some(document) = &self.document {
            for member in &page {
                let href = member_url(&self.href, &member.name);
                let above = self.printer.above.get(..);
                self.printer
                    .print(out, document, &href, &member.node, above);
            }
        }
        if ends && let Some(document) = self.document.take() {
            document.finish(out);
        }
        Ok(!ends)
    }
}
