//! `__certs`: the public keys of a cell (RFC 7517).

use http::{Method, StatusCode};
use personium_model::auth::cell_key;
use personium_types::Result;
use serde_json::json;

use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// Answers a request to `__certs`.
///
/// # Errors
/// [`MethodNotAllowed`](personium_types::Code::MethodNotAllowed), or the error of the store.
pub async fn handle(request: CellRequest) -> Result<Response> {
    match request.method {
        Method::GET => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET")),
        _ => return Err(request.method_not_allowed()),
    }
    let key = cell_key::get_or_create(&request.unit, &request.context).await?;
    let body = json!({"keys": [key.jwk()]});
    Ok(response::json(StatusCode::OK, &body))
}
