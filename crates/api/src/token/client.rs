//! Authentication of the application that asks for a token.

use http::header;
use personium_model::auth::client;
use personium_types::{Code, Result};

use super::form::Form;
use crate::access;
use crate::request_context::CellRequest;

/// The only kind of assertion (RFC 7522).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";

/// The schema of the application that asks; `None` if none does.
///
/// # Errors
/// 400 with the first thing that is wrong about its authentication.
pub fn authenticate(request: &CellRequest, form: &Form) -> Result<Option<String>> {
    let unit = &request.unit;
    let header = request.headers.get(header::AUTHORIZATION);
    let kind = form.get("client_assertion_type");
    let assertion = form.get("client_assertion");
    let id = form.get("client_id");
    let (id, secret) = if kind.is_some() || assertion.is_some() {
        if kind != Some(ASSERTION_TYPE) {
            return Err(Code::ClientAssertionType.into());
        }
        let id = id.and_then(|id| unit.urls().resolve(id));
        (
            id.unwrap_or_default(),
            assertion.unwrap_or_default().to_owned(),
        )
    } else if let Some(header) = header {
        let pair = header
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Basic"))
            .and_then(access::client_basic);
        pair.ok_or(Code::TokenAuthHeader)?
    } else if let Some(id) = id {
        (
            id.to_owned(),
            form.get("client_secret").unwrap_or_default().to_owned(),
        )
    } else {
        return Ok(None);
    };
    client::authenticate(unit, &request.cell_url(), &id, &secret).map(Some)
}
