//! `{unit}__status`: the settings and the health of the unit, and the reload of settings.

use http::{Method, StatusCode};
use personium_model::Unit;
use personium_model::low_space::DiskContent;
use personium_types::time::iso_time;
use personium_types::{Code, Operation, Result};
use serde_json::{Map, Value, json};

use crate::admin::Admin;
use crate::preflight;
use crate::request_context::RequestContext;
use crate::response::{self, Response};

/// Shows the settings and the health of the unit, or reloads the settings.
///
/// # Errors
/// [`Code::NoSuchPath`] if there is no administration, the refusal of the access check, [`Code::MethodNotAllowed`], or the
/// error of the reload.
pub(crate) async fn handle(request: RequestContext, admin: Option<&Admin>) -> Result<Response> {
    let admin = admin.ok_or(Code::NoSuchPath)?;
    match request.method {
        Method::GET => {
            request.access.permit_unit(Operation::ReadStatus)?;
            let properties = admin.hooks().settings().into_iter();
            let properties: Map<String, Value> = properties
                .map(|(name, value)| (name, value.into()))
                .collect();
            let records = match request.unit.store().check().await {
                Ok(()) => "ok",
                Err(_) => "down",
            };
            let low_space = request.unit.low_space().contents().into_iter();
            let low_space: Vec<&str> = low_space.map(DiskContent::name).collect();
            let nodes = nodes(&request.unit).await.unwrap_or_default();
            let body = json!({
                "properties": properties,
                "waitingForRestart": admin.hooks().pending_restart(),
                "health": {"records": records, "lowSpace": low_space},
                "nodes": nodes,
            });
            Ok(response::json(StatusCode::OK, &body))
        }
        Method::POST => {
            request.access.permit_unit(Operation::ReloadSettings)?;
            admin.reload()?;
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        Method::OPTIONS => {
            request.access.permit_unit(Operation::ReadStatus)?;
            Ok(preflight::allow("OPTIONS, GET, POST"))
        }
        _ => Err(request.method_not_allowed()),
    }
}

/// The nodes of the unit that run, or that were not found dead yet.
async fn nodes(unit: &Unit) -> Result<Vec<Value>> {
    let (listed, own_id) = (unit.list_nodes().await?, unit.node_id());
    let own = listed.iter().find(|(id, _)| Some(*id) == own_id);
    let nodes = listed.iter().map(|(id, info)| {
        let other_settings = own.map(|(_, own)| own.different_settings(info));
        json!({
            "id": id.to_string(),
            "host": info.host,
            "address": info.address,
            "version": info.version,
            "startedAt": iso_time(info.started_at_ms),
            "renewedAt": iso_time(info.clock_ms),
            "isThis": Some(*id) == own_id,
            "otherSettings": other_settings.unwrap_or_default(),
        })
    });
    Ok(nodes.collect())
}
