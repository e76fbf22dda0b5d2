//! WebDAV over HTTP: boxes, collections and files. One file a method; this one decides which answers.

mod acl;
mod delete;
mod get;
mod hrefs;
mod mkcol;
mod moving;
mod options;
mod propfind;
mod proppatch;
mod put;
mod service_exec;
mod stream;

use personium_model::Resource;
use personium_model::locate::Target;
use personium_model::node::Kind;
use personium_types::{Code, Operation, Result};
use personium_xml::Limits;

use crate::answer::Answer;
use crate::error::Challenge;
use crate::request_context::{CellRequest, RequestContext};
use crate::{box_install, box_root, odata};

pub use hrefs::box_url;

/// What a path below a box leads to, as far as methods differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    Box,
    Collection,
    /// The source collection of a service.
    Source,
    File,
    Odata,
    Service,
    Stream,
    /// Nothing, but something could be made there or on the way.
    Missing,
    BelowFile,
    BelowOdata,
    /// A path of a service that is not in its sources.
    BelowService,
    BelowStream,
}

impl Spot {
    fn of(target: &Target) -> Self {
        match (target.node().value().kind, target.exists()) {
            (Kind::Box | Kind::Cell, true) => Self::Box,
            (Kind::Collection, true) if target.is_service_source() => Self::Source,
            (Kind::Collection, true) => Self::Collection,
            (Kind::File, true) => Self::File,
            (Kind::Odata, true) => Self::Odata,
            (Kind::Service, true) => Self::Service,
            (Kind::Stream, true) => Self::Stream,
            (Kind::Box | Kind::Collection | Kind::Cell, false) => Self::Missing,
            (Kind::File, false) => Self::BelowFile,
            (Kind::Odata, false) => Self::BelowOdata,
            (Kind::Service, false) => Self::BelowService,
            (Kind::Stream, false) => Self::BelowStream,
        }
    }
}

/// Requests to a box or to something in it.
pub async fn handle(call: CellRequest, challenge: &mut Challenge) -> Result<Answer> {
    if box_install::is_meant(&call).await? {
        return box_install::handle(call).await;
    }
    let resource = resource_of(&call);
    let target = resource.locate().await?;
    if target.target_box.schema.is_none() {
        *challenge = Challenge::BearerOrBasic(call.cell_url());
    }
    let spot = Spot::of(&target);
    match spot {
        Spot::BelowFile => {
            resource.permit(&target, Operation::Ask)?;
            Err(Code::NoSuchPath.into())
        }
        Spot::BelowOdata if call.call.method.as_str() == "MKCOL" => Err(Code::NoSuchPath.into()),
        Spot::BelowOdata => odata::collection(call, target).await,
        Spot::BelowService => service_exec::handle(&call.call, &resource, &target),
        Spot::BelowStream => stream::handle(&call.call, &resource, &target),
        _ => by_method(call, resource, target, spot).await,
    }
}

async fn by_method(
    call: CellRequest,
    resource: Resource,
    target: Target,
    spot: Spot,
) -> Result<Answer> {
    let method = call.call.method.clone();
    match (method.as_str(), spot) {
        ("OPTIONS", _) => options::answer(&resource, &target, spot),
        ("PROPFIND", _) => propfind::handle(call.call, resource, target).await,
        ("PROPPATCH", _) => proppatch::handle(call.call, resource, target).await,
        ("ACL", _) => acl::handle(call.call, resource, target).await,
        ("REPORT", _) => {
            resource.permit(&target, Operation::Report)?;
            Err(if target.exists() {
                Code::NotImplementedMethod.into()
            } else {
                resource.not_found()
            })
        }
        ("MOVE", _) => moving::handle(call.call, resource, target).await,
        ("GET", Spot::Box) => box_root::get(call, resource, target).await,
        ("DELETE", Spot::Box) => box_root::delete(call.call, resource, target).await,
        ("MKCOL", Spot::Box) => not_allowed(&resource, &target),
        ("GET", Spot::Odata) => odata::collection(call, target).await,
        ("GET", Spot::Collection | Spot::File | Spot::Missing) => {
            get::handle(call.call, resource, target).await
        }
        ("PUT", Spot::File | Spot::Missing) => put::handle(call.call, resource, target).await,
        ("DELETE", Spot::Source) => not_allowed(&resource, &target),
        ("DELETE", _) => delete::handle(call.call, resource, target).await,
        ("MKCOL", _) => mkcol::handle(call.call, resource, target).await,
        ("POST", Spot::Missing) => {
            resource.permit(&target, Operation::PostToNothing)?;
            Err(resource.not_found())
        }
        _ => not_allowed(&resource, &target),
    }
}

/// 405, which tells that something is there: to those who may know.
fn not_allowed(resource: &Resource, target: &Target) -> Result<Answer> {
    resource.permit(target, Operation::Ask)?;
    Err(Code::MethodNotAllowed.into())
}

/// WebDAV requests to the cell itself.
pub async fn cell_root(call: CellRequest) -> Result<Answer> {
    match call.call.method.as_str() {
        "PROPFIND" => propfind::handle_cell(call).await,
        "PROPPATCH" => proppatch::handle_cell(call).await,
        "ACL" => acl::handle_cell(call).await,
        _ => Err(Code::MethodNotAllowed.into()),
    }
}

/// What a request to a path below a box is about.
#[must_use]
pub fn resource_of(call: &CellRequest) -> Resource {
    let mut segments = call.call.path.decoded.iter().cloned();
    Resource {
        unit: call.call.unit.clone(),
        context: call.context.clone(),
        access: call.call.access.clone(),
        box_name: segments.next().unwrap_or_default(),
        box_id: None,
        segments: segments.collect(),
        url: call.call.url.clone(),
    }
}

/// Limits for XML in request bodies.
pub(crate) fn xml_limits(call: &RequestContext) -> Limits {
    Limits {
        bytes: call.unit.settings().dav.xml_max,
        ..Limits::REQUEST
    }
}
