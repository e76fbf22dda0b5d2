//! The OAuth2 token endpoint.

mod client;
mod error;
mod form;
mod grant;
mod oidc;
mod response;

pub use form::Form;

use http::Method;
use personium_types::{Code, Error, Result};

use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::Response;

/// Largest body, in bytes: a form with two of the longest assertions.
const BODY_MAX: usize = 4 << 20;
/// Longest life of an access token in seconds, and the usual one.
const ACCESS_SECONDS: i64 = 3_600;
/// Longest life of a refresh token in seconds, and the usual one.
const REFRESH_SECONDS: i64 = 86_400;

/// A request to `__token`.
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
    let body = request.read_body(BODY_MAX).await?;
    if body.is_empty() {
        return Err(Error::new(Code::GrantParameter).with("grant_type"));
    }
    let form = Form::parse(&body);
    let target = form.target(request.unit.urls())?;
    let schema = client::authenticate(request, &form)?;
    let token_request = grant::TokenRequest {
        cookie: target.is_none() && form.is_true("p_cookie"),
        target,
        schema,
        expires: form.seconds("expires_in", ACCESS_SECONDS)?,
        refresh_expires: form.seconds("refresh_token_expires_in", REFRESH_SECONDS)?,
        form,
    };
    grant::dispatch(request, &token_request).await
}
