//! `__token`, the OAuth2 token endpoint.

mod client;
mod error;
mod grant;
mod plugin;
mod request;
mod response;

use http::Method;
use personium_types::{Code, Error, Result};

use crate::form::Form;
use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::Response;
use request::TokenRequest;

/// The largest body in bytes: a form with two of the longest assertions.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Answers a request to `__token`.
///
/// # Errors
/// [`Code::MethodNotAllowed`], or a refusal without an OAuth2 error code. Other refusals are responses.
pub async fn handle(mut request: CellRequest) -> Result<Response> {
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, POST")),
        _ => return Err(request.method_not_allowed()),
    }
    let realm = request.cell_url();
    let outcome = post(&mut request).await;
    outcome.or_else(|refusal| error::render(refusal, &realm, &request.request_key))
}

async fn post(request: &mut CellRequest) -> Result<Response> {
    let body = request.read_body(MAX_BODY_BYTES).await?;
    if body.is_empty() {
        return Err(Error::new(Code::GrantParameter).with("grant_type"));
    }
    let token_request = TokenRequest::read(request, Form::parse(&body))?;
    grant::dispatch(request, &token_request).await
}
