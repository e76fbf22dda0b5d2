//! OData over HTTP: control objects of the unit and of cells, schemas and user data of collections.
//!
//! `service.rs` dispatches by path and method, `gate.rs` says which operation a request is, the other files hold
//! one kind of request each.

mod account;
mod batch;
mod faults;
mod links;
mod metadata;
mod navigation;
mod read;
mod service;
mod service_authorizer;
mod write;

use std::sync::Arc;

use personium_model::locate::Target;
use personium_model::odata::ServiceRoot;
use personium_types::{Code, Result};

use crate::answer::Answer;
use crate::request_context::{CellRequest, RequestContext};
pub(crate) use service::{Service, no_content};
use service_authorizer::ServiceAuthorizer;
pub(crate) use write::created;

/// How often a request is carried out anew because somebody changed the schema meanwhile: nothing of it was stored then.
const SCHEMA_RACES: usize = 32;

/// Control objects of the unit.
pub(crate) async fn unit_control(call: RequestContext) -> Result<Answer> {
    let root = ServiceRoot::of_unit(Arc::clone(&call.unit));
    let base = format!("{}__ctl/", call.unit.urls().unit());
    let path = call.path.raw.get(1..).unwrap_or_default().join("/");
    Service::new(call, root, base, ServiceAuthorizer::Unit)
        .handle(&path)
        .await
}

/// Control objects of a cell.
pub(crate) async fn cell_control(call: CellRequest) -> Result<Answer> {
    let path = call.call.path.raw.get(1..).unwrap_or_default().join("/");
    let mut service = cell_service(call).await?;
    Box::pin(service.handle(&path)).await
}

/// The control objects of the cell that a request is for.
pub(crate) async fn cell_service(call: CellRequest) -> Result<Service> {
    let node = call.context.cell_node().await?;
    let root = ServiceRoot::of_cell(Arc::clone(&call.call.unit), Arc::clone(&call.context));
    let base = format!("{}__ctl/", call.cell_url());
    let gate = ServiceAuthorizer::Cell {
        context: call.context,
        node,
    };
    Ok(Service::new(call.call, root, base, gate))
}

/// A request to an OData collection or to something in it. `target` leads to the collection; `target.rest` are the
/// segments below it.
pub(crate) async fn collection(call: CellRequest, target: Target) -> Result<Answer> {
    let raw = &call.call.path.raw;
    let below = raw
        .get(raw.len().saturating_sub(target.rest.len())..)
        .unwrap_or_default()
        .to_vec();
    let at = raw
        .get(..raw.len() - below.len())
        .unwrap_or_default()
        .join("/");
    let base = format!("{}{at}/", call.cell_url());
    let unit = Arc::clone(&call.call.unit);
    let in_schema = below.first().is_some_and(|s| s == "$metadata") && below.len() > 1;
    if in_schema {
        let root = ServiceRoot::of_schema(unit, call.context, target.node());
        let path = below.get(1..).unwrap_or_default().join("/");
        let base = format!("{base}$metadata/");
        let gate = ServiceAuthorizer::Collection {
            target: Box::new(target),
        };
        return Service::new(call.call, root, base, gate)
            .handle(&path)
            .await;
    }
    let root = ServiceRoot::of_data(unit, call.context, target.node()).await?;
    let gate = ServiceAuthorizer::Collection {
        target: Box::new(target),
    };
    let mut service = Service::new(call.call, root, base, gate);
    let path = below.join("/");
    for _ in 0..SCHEMA_RACES {
        // Boxed: held within this loop, it would lie on the stack of every request.
        match Box::pin(service.handle(&path)).await {
            Err(refusal) if service.is_outdated(&refusal).await? => service.reload().await?,
            answer => return answer,
        }
    }
    Err(Code::Conflict.into())
}
