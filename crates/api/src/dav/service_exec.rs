//! Paths of services.

use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::{Code, Operation, Result};

use crate::answer::Answer;
use crate::request_context::RequestContext;

/// A request to a path of a service: for who may run scripts, if there is something to run them.
pub(super) fn handle(
    call: &RequestContext,
    resource: &Resource,
    target: &Target,
) -> Result<Answer> {
    match call.method.as_str() {
        "GET" | "POST" | "PUT" | "DELETE" => {
            resource.permit(target, Operation::Execute)?;
            Err(Code::ServiceConnect.into())
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}
