//! `__certs` and `__sign`: the public key of a cell, and signatures with it. And what OpenID Connect clients want to
//! know about a cell.

use http::{Method, StatusCode, header};
use personium_model::auth::cell_key;
use personium_model::cell::{OAuthPolicy, policy_enabled};
use personium_types::{Code, Error, Operation, Result};
use serde_json::json;

use crate::cell_root::only_get;
use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The media type of a signed payload.
const JOSE: &str = "application/jose";
/// Largest payload, in bytes.
const PAYLOAD_MAX: usize = 1 << 20;

/// The public keys of a cell (RFC 7517).
pub async fn certs(request: CellRequest) -> Result<Response> {
    match request.method {
        Method::GET => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET")),
        _ => return Err(request.method_not_allowed()),
    }
    let key = cell_key::get_or_create(&request.unit, &request.context).await?;
    let body = json!({"keys": [key.jwk()]});
    Ok(response::json(StatusCode::OK, &body))
}

/// Signs the body (RFC 7515).
pub async fn sign(mut request: CellRequest) -> Result<Response> {
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, POST")),
        _ => return Err(request.method_not_allowed()),
    }
    request.permit(Operation::Sign).await?;
    if !accepts_jose(&request) {
        return Err(Error::new(Code::NotAcceptable).with(JOSE));
    }
    let payload = request.read_body(PAYLOAD_MAX).await?;
    let key = cell_key::get_or_create(&request.unit, &request.context).await?;
    let signed = key.sign(&payload).map_err(Error::internal)?;
    Ok(response::content(StatusCode::OK, JOSE, signed))
}

fn accepts_jose(request: &CellRequest) -> bool {
    let mut listed = request
        .request
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|entry| entry.split(';').next().unwrap_or_default().trim())
        .filter(|entry| !entry.is_empty())
        .peekable();
    listed.peek().is_none()
        || listed.any(|entry| {
            ["*/*", "application/*", JOSE]
                .iter()
                .any(|known| entry.eq_ignore_ascii_case(known))
        })
}

/// What clients want to know (OpenID Connect Discovery 1.0 section 3).
pub async fn discovery(request: CellRequest) -> Result<Response> {
    only_get(&request.method)?;
    let path = request.path.decoded.get(1..).unwrap_or_default();
    if !matches!(path, [name] if name == "openid-configuration") {
        return Err(Code::NoSuchPath.into());
    }
    let cell = request.cell_url();
    let mut response_types = vec!["code", "token", "id_token"];
    if policy_enabled(&request.context, OAuthPolicy::RefusesImplicit).await? {
        response_types.retain(|kind| *kind != "token");
    }
    let mut grant_types = vec![
        "authorization_code",
        "implicit",
        "password",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
    ];
    if policy_enabled(&request.context, OAuthPolicy::RefusesPassword).await? {
        grant_types.retain(|kind| *kind != "password");
    }
    let names_issuer = policy_enabled(&request.context, OAuthPolicy::NamesIssuer).await?;
    let body = json!({
        "issuer": cell,
        "authorization_response_iss_parameter_supported": names_issuer,
        "authorization_endpoint": format!("{cell}__authz"),
        "token_endpoint": format!("{cell}__token"),
        "introspection_endpoint": format!("{cell}__introspect"),
        "jwks_uri": format!("{cell}__certs"),
        "scopes_supported": ["openid"],
        "response_types_supported": response_types,
        "response_modes_supported": ["query", "fragment"],
        "grant_types_supported": grant_types,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nonce"],
        "ui_locales_supported": ["en", "ja"],
    });
    Ok(response::json(StatusCode::OK, &body))
}
