//! `{unit}__status`: the settings and the health of the unit, and the reload of settings.

use http::{Method, StatusCode};
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
            let body = json!({
                "properties": properties,
                "waitingForRestart": admin.hooks().pending_restart(),
                "health": {"records": records},
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
