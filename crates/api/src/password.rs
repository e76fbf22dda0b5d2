//! `__mypassword`: an account changes its own password.

use http::{Method, StatusCode};
use personium_model::auth::account;
use personium_types::Result;

use crate::answer::{self, Answer};
use crate::preflight;
use crate::request_context::CellRequest;

/// Answers a request to `__mypassword`. The new password is in the header `X-Personium-Credential`.
pub async fn handle(call: CellRequest) -> Result<Answer> {
    match call.call.method {
        Method::PUT => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, PUT")),
        _ => return Err(call.call.method_not_allowed()),
    }
    let (permit, name) = call.call.access.permit_own_password()?;
    let password = call.call.headers.get("x-personium-credential");
    let password = password.ok_or(personium_types::Code::CredentialMissing)?;
    let password = String::from_utf8_lossy(password.as_bytes());
    account::change_password(&call.call.unit, &call.context, &permit, &name, &password).await?;
    Ok(answer::status(StatusCode::NO_CONTENT))
}
