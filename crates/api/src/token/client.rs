//! Client authentication at the token endpoint (RFC 6749 section 2.3, RFC 7522).

use http::header;
use personium_model::auth::client;
use personium_types::{Code, Result};

use crate::access;
use crate::form::Form;
use crate::request_context::CellRequest;

/// The supported type of client assertions (RFC 7522).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";

/// The client of a token request.
pub enum Client {
    /// The request names none.
    Unnamed,
    /// A client that has authenticated itself, by the schema of its tokens.
    Authenticated(String),
    /// A client that names itself and has no secret. The grant decides whether it needs one: a code that is bound to a
    /// challenge (RFC 7636), and a refresh token that descends from one, prove themselves that they are used by the client
    /// that they were issued to.
    Public(String),
}

/// Whether a client may be public for this grant.
fn permits_public_clients(form: &Form) -> bool {
    matches!(
        form.raw("grant_type"),
        Some("authorization_code" | "refresh_token")
    )
}

/// Authenticates the client.
///
/// # Errors
/// [`Code::ClientAssertionType`], [`Code::TokenAuthHeader`], or as [`client::authenticate`].
pub fn authenticate(request: &CellRequest, form: &Form) -> Result<Client> {
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
    } else if let Some(id) = id
        && form.get("client_secret").is_none()
        && permits_public_clients(form)
    {
        let resolved = unit.urls().resolve(id).unwrap_or_else(|| id.to_owned());
        return Ok(Client::Public(resolved));
    } else if let Some(id) = id {
        (
            id.to_owned(),
            form.get("client_secret").unwrap_or_default().to_owned(),
        )
    } else {
        return Ok(Client::Unnamed);
    };
    client::authenticate(unit, &request.cell_url(), &id, &secret).map(Client::Authenticated)
}
