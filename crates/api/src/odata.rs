//! OData over HTTP: control objects of the unit and of cells, schemas and user data of collections.
//!
//! `dispatch.rs` selects the handler by path and method, `service_authorizer.rs` the operation that a request needs.
//! The other files handle one kind of request each.

mod batch;
mod count;
mod credential;
mod dispatch;
mod errors;
mod links;
mod metadata;
mod navigation;
mod property;
mod read;
mod request;
mod response;
mod service_authorizer;
mod write;

use std::sync::Arc;

use personium_model::locate::Target;
use personium_model::odata::ServiceRoot;
use personium_odata::path::ResourcePath;
use personium_types::{Error, Result};

use crate::error;
use crate::request_context::{CellRequest, RequestContext};
use crate::response::Response;
pub(crate) use request::ODataRequest;
pub(crate) use response::no_content;
use service_authorizer::ServiceAuthorizer;
pub(crate) use write::created;

/// The number of attempts to carry out a request while the schema changes. A failed attempt stores nothing.
const MAX_SCHEMA_RETRIES: usize = 32;

/// Control objects of the unit.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn unit_control(request: RequestContext) -> Result<Response> {
    let root = ServiceRoot::of_unit(Arc::clone(&request.unit));
    let base = format!("{}__ctl/", request.unit.urls().unit());
    let path = request.path.raw.get(1..).unwrap_or_default().join("/");
    let request = Box::new(request);
    let mut request = ODataRequest::new(request, root, base, ServiceAuthorizer::Unit);
    let outcome = dispatch::dispatch(&mut request, &path).await;
    outcome.map_err(|refusal| with_methods(refusal, &request, &path))
}

/// Control objects of a cell.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn cell_control(request: CellRequest) -> Result<Response> {
    let path = request.path.raw.get(1..).unwrap_or_default().join("/");
    let mut request = cell_control_request(request).await?;
    let outcome = Box::pin(dispatch::dispatch(&mut request, &path)).await;
    outcome.map_err(|refusal| with_methods(refusal, &request, &path))
}

/// The same request as one to the control objects of its cell.
///
/// # Errors
/// The error of the store, if the cell cannot be read.
pub(crate) async fn cell_control_request(request: CellRequest) -> Result<ODataRequest> {
    let node = request.context.cell_node().await?;
    let root = ServiceRoot::of_cell(Arc::clone(&request.unit), Arc::clone(&request.context));
    let root = root.reporting(request.events.clone(), "__ctl");
    let base = format!("{}__ctl/", request.cell_url());
    let authorizer = ServiceAuthorizer::Cell {
        context: request.context,
        node,
    };
    Ok(ODataRequest::new(request.request, root, base, authorizer))
}

/// A request to an OData collection or to something in it. `target` leads to the collection; `target.rest` are the
/// segments below it.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn collection(request: CellRequest, target: Target) -> Result<Response> {
    let cell_url = request.cell_url();
    let CellRequest { request, context } = request;
    let raw = &request.path.raw;
    let split = raw.len().saturating_sub(target.rest.len());
    let (above, below) = raw.split_at_checked(split).unwrap_or_default();
    let base = format!("{cell_url}{}/", above.join("/"));
    let events = request.events.clone();
    let collection = match events {
        Some(_) => request
            .path
            .decoded
            .get(..split)
            .unwrap_or_default()
            .join("/"),
        None => String::new(),
    };
    let unit = Arc::clone(&request.unit);
    if let [first, rest @ ..] = below
        && first == "$metadata"
        && !rest.is_empty()
    {
        let path = rest.join("/");
        let root = ServiceRoot::of_schema(unit, context, target.node());
        let root = match events {
            Some(cause) => root.reporting(Some(cause), &format!("{collection}/$metadata")),
            None => root,
        };
        let base = format!("{base}$metadata/");
        let authorizer = ServiceAuthorizer::collection(target);
        let mut request = ODataRequest::new(request, root, base, authorizer);
        let outcome = Box::pin(dispatch::dispatch(&mut request, &path)).await;
        return outcome.map_err(|refusal| with_methods(refusal, &request, &path));
    }
    let path = below.join("/");
    let root = ServiceRoot::of_data(unit, context, target.node()).await?;
    let root = match events {
        Some(cause) => root.reporting(Some(cause), &collection),
        None => root,
    };
    let authorizer = ServiceAuthorizer::collection(target);
    let mut request = ODataRequest::new(request, root, base, authorizer);
    let outcome = dispatch::dispatch_with_retry(&mut request, &path).await;
    outcome.map_err(|refusal| with_methods(refusal, &request, &path))
}

/// Adds to the refusal of a method those that the resource with this path supports.
fn with_methods(refusal: Error, request: &ODataRequest, path: &str) -> Error {
    let methods = match ResourcePath::parse(path) {
        Ok(
            ResourcePath::Root
            | ResourcePath::Metadata
            | ResourcePath::Count(_)
            | ResourcePath::NavigationCount { .. }
            | ResourcePath::Property { .. },
        )
        | Err(_) => "OPTIONS, GET, HEAD",
        Ok(ResourcePath::Batch) => "POST",
        Ok(ResourcePath::Set(_) | ResourcePath::Navigation { .. }) => "OPTIONS, GET, HEAD, POST",
        Ok(ResourcePath::Entity { .. }) => "OPTIONS, GET, HEAD, PUT, MERGE, PATCH, DELETE",
        Ok(ResourcePath::Links { .. }) => "OPTIONS, GET, HEAD, POST, DELETE",
    };
    error::with_methods(refusal, &request.method, methods)
}
