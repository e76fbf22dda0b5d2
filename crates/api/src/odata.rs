//! OData over HTTP: control objects of the unit and of cells, schemas and user data of collections.
//!
//! `service.rs` dispatches by path and method, `gate.rs` says which operation a request is, the other files hold
//! one kind of request each.

mod account;
mod batch;
mod faults;
mod gate;
mod links;
mod metadata;
mod navigation;
mod read;
mod service;
mod write;

use std::sync::Arc;

use personium_model::locate::Target;
use personium_model::odata::Root;
use personium_types::Result;

use crate::answer::Answer;
use crate::call::{Call, CellCall};
use gate::Gate;
pub(crate) use service::{Service, no_content};
pub(crate) use write::created;

/// Control objects of the unit.
pub(crate) async fn unit_control(call: Call) -> Result<Answer> {
    let root = Root::unit(Arc::clone(&call.unit));
    let base = format!("{}__ctl/", call.unit.urls().unit());
    let path = call.path.raw.get(1..).unwrap_or_default().join("/");
    Service {
        root,
        base,
        gate: Gate::Unit,
        call,
    }
    .handle(&path)
    .await
}

/// Control objects of a cell.
pub(crate) async fn cell_control(call: CellCall) -> Result<Answer> {
    let path = call.call.path.raw.get(1..).unwrap_or_default().join("/");
    cell_service(call).await?.handle(&path).await
}

/// The control objects of the cell that a request is for.
pub(crate) async fn cell_service(call: CellCall) -> Result<Service> {
    let node = call.view.cell_node().await?;
    Ok(Service {
        root: Root::cell(Arc::clone(&call.call.unit), Arc::clone(&call.view)),
        base: format!("{}__ctl/", call.cell_url()),
        gate: Gate::Cell {
            view: call.view,
            node,
        },
        call: call.call,
    })
}

/// A request to an OData collection or to something in it. `target` leads to the collection; `target.rest` are the
/// segments below it.
pub(crate) async fn collection(call: CellCall, target: Target) -> Result<Answer> {
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
        let root = Root::schema(unit, call.view, target.node());
        let path = below.get(1..).unwrap_or_default().join("/");
        let base = format!("{base}$metadata/");
        let gate = Gate::Collection {
            target: Box::new(target),
        };
        return Service {
            root,
            base,
            gate,
            call: call.call,
        }
        .handle(&path)
        .await;
    }
    let root = Root::data(unit, call.view, target.node()).await?;
    let gate = Gate::Collection {
        target: Box::new(target),
    };
    Service {
        root,
        base,
        gate,
        call: call.call,
    }
    .handle(&below.join("/"))
    .await
}
