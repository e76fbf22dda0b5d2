//! Paths of services.

use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::{Code, Operation, Result};

use crate::request_context::RequestContext;
use crate::response::Response;

/// A request to a path of a service. There is no script engine yet, so it is refused even with the privilege to execute.
///
/// # Errors
/// The refusal of the request.
pub(super) fn handle(
    request: &RequestContext,
    resource: &Resource,
    target: &Target,
) -> Result<Response> {
    match request.method.as_str() {
        "GET" | "POST" | "PUT" | "DELETE" => {
            resource.permit(target, Operation::Execute)?;
            Err(Code::ServiceConnect.into())
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}
