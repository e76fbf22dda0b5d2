//! WebDAV over HTTP: boxes, collections and files. Each method has a file; this one dispatches to them.

mod acl;
mod delete;
mod get;
mod mkcol;
mod moving;
mod options;
pub(crate) mod propfind;
mod proppatch;
mod put;
mod read_report;
mod service;
mod snapshot_parts;
mod snapshots;
mod stream;

pub(crate) use self::snapshots::handle as snapshots;

use http::{Method, StatusCode};
use personium_model::Resource;
use personium_model::locate::{Prefetch, Target};
use personium_model::node::NodeKind;
use personium_types::{Code, Operation, Result};

use self::read_report::ReadReport;
use crate::error::Challenge;
use crate::request_context::CellRequest;
use crate::response::Response;
use crate::{box_install, box_root, error, odata};

/// The kind of the target of a path below a box, as far as methods treat it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetKind {
    Box,
    Collection,
    /// The source collection of a service.
    Source,
    File,
    Odata,
    Service,
    Stream,
    /// No resource, but one could be created there or above.
    Missing,
    BelowFile,
    BelowOdata,
    /// A path of a service outside its sources.
    BelowService,
    BelowStream,
}

impl TargetKind {
    fn of(target: &Target) -> Self {
        match (target.node().value().kind, target.exists()) {
            (NodeKind::Box | NodeKind::Cell, true) => Self::Box,
            (NodeKind::Collection, true) if target.is_service_source() => Self::Source,
            (NodeKind::Collection, true) => Self::Collection,
            (NodeKind::File, true) => Self::File,
            (NodeKind::Odata, true) => Self::Odata,
            (NodeKind::Service, true) => Self::Service,
            (NodeKind::Stream, true) => Self::Stream,
            (NodeKind::Box | NodeKind::Collection | NodeKind::Cell, false) => Self::Missing,
            (NodeKind::File, false) => Self::BelowFile,
            (NodeKind::Odata, false) => Self::BelowOdata,
            (NodeKind::Service, false) => Self::BelowService,
            (NodeKind::Stream, false) => Self::BelowStream,
        }
    }
}

/// Requests to a box or to something in it.
///
/// # Errors
/// The refusal of the request.
pub async fn handle(request: CellRequest, challenge: &mut Challenge) -> Result<Response> {
    if box_install::is_install_request(&request).await? {
        return Box::pin(box_install::handle(request)).await;
    }
    let resource = resource_of(&request);
    let target = match resource.locate().await {
        Err(missing) if missing.code() == Code::NoSuchBox => {
            return box_root::get_failed(request, missing).await;
        }
        located => located?,
    };
    if target.target_box.schema.is_none() {
        *challenge = Challenge::BearerOrBasic(request.cell_url());
    }
    let kind = TargetKind::of(&target);
    let method = request.method.clone();
    let outcome = by_kind(request, resource, target, kind).await;
    outcome.map_err(|refusal| error::with_methods(refusal, &method, options::supported(kind)))
}

async fn by_kind(
    request: CellRequest,
    resource: Resource,
    target: Target,
    kind: TargetKind,
) -> Result<Response> {
    match kind {
        TargetKind::BelowFile => {
            resource.permit(&target, Operation::Options)?;
            Err(Code::NoSuchPath.into())
        }
        TargetKind::BelowOdata if request.method.as_str() == "MKCOL" => {
            Err(Code::NoSuchPath.into())
        }
        TargetKind::BelowOdata => Box::pin(odata::collection(request, target)).await,
        TargetKind::BelowService if let Some(id) = service::job::id_in(&target.rest) => {
            Box::pin(service::job::handle_document(request, resource, target, id)).await
        }
        TargetKind::BelowService => {
            let executed = ReadReport::of_service(&request);
            let outcome = Box::pin(service::handle(request, resource, target)).await;
            let is_job = outcome.as_ref().is_ok_and(service::is_accepted_job);
            if let Some(executed) = executed.filter(|_| !is_job) {
                let status = match &outcome {
                    Ok(response) => Some(response.status()),
                    Err(failure) => failure
                        .code()
                        .is_server_error()
                        .then_some(StatusCode::INTERNAL_SERVER_ERROR),
                };
                Box::pin(executed.post_executed(status)).await;
            }
            outcome
        }
        TargetKind::BelowStream => Box::pin(stream::handle(request, resource, target)).await,
        _ => {
            let read = ReadReport::of(&request, &resource, &target);
            // Boxed: the future of a request to an OData collection, the most frequent one, would have the size of this one.
            let response = Box::pin(by_method(request, resource, target, kind)).await?;
            if let Some(read) = read {
                Box::pin(read.post(response.status())).await;
            }
            Ok(response)
        }
    }
}

async fn by_method(
    request: CellRequest,
    resource: Resource,
    target: Target,
    kind: TargetKind,
) -> Result<Response> {
    let method = request.method.clone();
    // Boxed as in `cell::handle`.
    match (method.as_str(), kind) {
        ("OPTIONS", _) => options::handle(&resource, &target, kind),
        ("PROPFIND", _) => Box::pin(propfind::handle(*request.request, resource, target)).await,
        ("PROPPATCH", _) => Box::pin(proppatch::handle(*request.request, resource, target)).await,
        ("ACL", _) => Box::pin(acl::handle(*request.request, resource, target)).await,
        ("REPORT", _) => {
            resource.permit(&target, Operation::Report)?;
            Err(if target.exists() {
                Code::NotImplementedMethod.into()
            } else {
                resource.not_found()
            })
        }
        ("MOVE", _) => Box::pin(moving::handle(*request.request, resource, target)).await,
        ("GET", TargetKind::Box) => Box::pin(box_root::get(request, resource, target)).await,
        ("DELETE", TargetKind::Box) => {
            Box::pin(box_root::delete(*request.request, resource, target)).await
        }
        ("MKCOL", TargetKind::Box) => not_allowed(&resource, &target),
        ("GET", TargetKind::Odata) => Box::pin(odata::collection(request, target)).await,
        ("GET", TargetKind::Collection | TargetKind::File | TargetKind::Missing) => {
            get::handle(&request, &resource, &target).await
        }
        ("PUT", TargetKind::File | TargetKind::Missing) => {
            Box::pin(put::handle(*request.request, resource, target)).await
        }
        ("DELETE", TargetKind::Source) => not_allowed(&resource, &target),
        ("DELETE", _) => Box::pin(delete::handle(*request.request, resource, target)).await,
        ("MKCOL", _) => Box::pin(mkcol::handle(*request.request, resource, target)).await,
        ("POST", TargetKind::Missing) => {
            resource.permit(&target, Operation::PostToMissing)?;
            Err(resource.not_found())
        }
        _ => not_allowed(&resource, &target),
    }
}

/// 405. It reveals that the resource exists, so requesters who may not know get the refusal of the access check.
fn not_allowed(resource: &Resource, target: &Target) -> Result<Response> {
    resource.permit(target, Operation::Options)?;
    Err(Code::MethodNotAllowed.into())
}

/// WebDAV requests to the cell itself.
///
/// # Errors
/// The refusal of the request.
pub async fn cell_root(request: CellRequest) -> Result<Response> {
    match request.method.as_str() {
        "PROPFIND" => {
            let read = ReadReport::of_cell(&request);
            let response = Box::pin(propfind::handle_cell(request)).await?;
            if let Some(read) = read {
                Box::pin(read.post(response.status())).await;
            }
            Ok(response)
        }
        "PROPPATCH" => Box::pin(proppatch::handle_cell(request)).await,
        "ACL" => Box::pin(acl::handle_cell(request)).await,
        _ => Err(Code::MethodNotAllowed.into()),
    }
}

/// The resource that a path below a box names.
#[must_use]
pub fn resource_of(request: &CellRequest) -> Resource {
    let mut segments = request.path.decoded.iter().cloned();
    Resource {
        unit: request.unit.clone(),
        context: request.context.clone(),
        access: request.access.clone(),
        box_name: segments.next().unwrap_or_default(),
        box_id: None,
        segments: segments.collect(),
        url: request.url.clone(),
        conditions: request.preconditions(),
        prefetch: match request.method {
            Method::GET => Prefetch::InlineBody,
            Method::PUT => Prefetch::MemberCount,
            ref method if method.as_str() == "MKCOL" => Prefetch::MemberCount,
            _ => Prefetch::Nothing,
        },
        events: request.events.clone(),
    }
}
