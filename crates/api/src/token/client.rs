//! Client authentication at the token endpoint (RFC 6749 section 2.3, RFC 7522).

use http::header;
use personium_model::auth::client;
use personium_types::{Code, Result};

use crate::access;
use crate::form::Form;
use crate::request_context::CellRequest;

/// The supported type of client assertions (RFC 7522).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";

/// Authenticates the client and returns its id; `None` if the request names no client.
///
/// # Errors
/// [`Code::ClientAssertionType`], [`Code::TokenAuthHeader`], or as [`client::authenticate`].
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
