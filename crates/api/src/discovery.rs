//! `.well-known/openid-configuration`: the OAuth2 and OpenID Connect capabilities of a cell (OpenID Connect Discovery 1.0
//! section 3).

use http::StatusCode;
use personium_model::cell_policy::{OAuthPolicy, policy_enabled};
use personium_types::{Code, Result};
use serde_json::json;

use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// Answers a request below `.well-known`.
///
/// # Errors
/// [`Code::MethodNotAllowed`], [`Code::NoSuchPath`], or the error of the store.
pub async fn handle(request: CellRequest) -> Result<Response> {
    request.require_get()?;
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
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nonce"],
        "ui_locales_supported": ["en", "ja"],
    });
    Ok(response::json(StatusCode::OK, &body))
}
