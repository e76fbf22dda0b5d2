//! `{unit}__status`: what an administrator sees of the unit, and reading its settings anew.

use http::{Method, StatusCode};
use personium_model::Settings;
use personium_types::{Code, Operation, Result};
use serde_json::{Map, Value, json};

use crate::preflight;
use crate::request_context::RequestContext;
use crate::response::{self, Response};
use crate::service::ApiService;

/// Knows the settings of the unit and where they come from.
pub trait AdminHooks: Send + Sync + 'static {
    /// Every setting by its name, as it was read last. Secrets are masked.
    fn settings(&self) -> Vec<(String, String)>;

    /// The names of settings that were changed but count only from the next start on.
    fn pending_restart(&self) -> Vec<String>;

    /// Reads the settings anew; what of them a running unit can follow.
    ///
    /// # Errors
    /// 409 if they cannot be used; then nothing changes.
    fn reload(&self) -> Result<Settings>;
}

/// Shows the settings and how the unit is, or reads the settings anew.
pub(crate) async fn handle(request: RequestContext, service: &ApiService) -> Result<Response> {
    let operator = service.operator().ok_or(Code::NoSuchPath)?;
    match request.method {
        Method::GET => {
            request.access.permit_unit(Operation::ReadStatus)?;
            let properties = operator.settings().into_iter();
            let properties: Map<String, Value> = properties
                .map(|(name, value)| (name, value.into()))
                .collect();
            let records = match request.unit.store().check().await {
                Ok(()) => "ok",
                Err(_) => "down",
            };
            let body = json!({
                "properties": properties,
                "waitingForRestart": operator.pending_restart(),
                "health": {"records": records},
            });
            Ok(response::json(StatusCode::OK, &body))
        }
        Method::POST => {
            request.access.permit_unit(Operation::ReloadSettings)?;
            service.apply(operator.reload()?);
            tracing::info!("the settings were read anew");
            Ok(response::status(StatusCode::NO_CONTENT))
        }
        Method::OPTIONS => {
            request.access.permit_unit(Operation::ReadStatus)?;
            Ok(preflight::allow("OPTIONS, GET, POST"))
        }
        _ => Err(request.method_not_allowed()),
    }
}
