//! `__sign`: signatures with the key of a cell (RFC 7515).

use http::{Method, StatusCode};
use personium_model::auth::cell_key;
use personium_types::{Code, Error, Operation, Result};

use crate::request_context::CellRequest;
use crate::response::Response;
use crate::{accept, answer, preflight};

/// The media type of a signed payload.
const JOSE: &str = "application/jose";
/// The largest payload in bytes.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Signs the body of a request to `__sign`.
///
/// # Errors
/// [`Code::MethodNotAllowed`], the refusal of the access check, [`Code::NotAcceptable`], [`Code::BodyTooLarge`], or the
/// error of the store.
pub async fn handle(mut request: CellRequest) -> Result<Response> {
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, POST")),
        _ => return Err(request.method_not_allowed()),
    }
    request.permit(Operation::Sign).await?;
    if !accept::accepts(&request.headers, JOSE) {
        return Err(Error::new(Code::NotAcceptable).with(JOSE));
    }
    let payload = request.read_body(MAX_PAYLOAD_BYTES).await?;
    let memory = request.memory_for_echo(&payload).await?;
    let key = cell_key::get_or_create(&request.unit, &request.context).await?;
    let signed = key.sign(&payload).map_err(Error::internal)?;
    Ok(answer::bytes(StatusCode::OK, JOSE, signed, memory))
}
