//! `__mypassword`: an account changes its own password.

use http::{Method, StatusCode};
use personium_model::auth::account;
use personium_types::Result;

use crate::headers::CREDENTIAL;
use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// Answers a request to `__mypassword`. The new password is in the header `X-Personium-Credential`.
///
/// # Errors
/// The refusal of the request.
pub async fn handle(request: CellRequest) -> Result<Response> {
    match request.method {
        Method::PUT => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, PUT")),
        _ => return Err(request.method_not_allowed()),
    }
    let (permit, name) = request.access.permit_own_password(request.context.cell())?;
    let password = request.headers.get(CREDENTIAL);
    let password = password.ok_or(personium_types::Code::CredentialMissing)?;
    let password = String::from_utf8_lossy(password.as_bytes());
    account::change_password(&request.unit, &request.context, &permit, &name, &password).await?;
    Ok(response::status(StatusCode::NO_CONTENT))
}
