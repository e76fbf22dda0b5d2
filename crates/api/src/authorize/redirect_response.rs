//! The redirect to the application after a login.

use std::collections::BTreeMap;

use personium_model::auth::grant::Grant;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::auth::{claims, id_token, scope};
use personium_types::Result;

use super::logged_in_account::LoggedInAccount;
use super::request::{AuthorizationRequest, ResponseType};
use super::see_other;
use crate::request_context::CellRequest;
use crate::response::Response;

/// The lifetime of a code.
const CODE_TTL_MS: i64 = 600_000;

/// Redirects to the application with the requested token or code.
///
/// # Errors
/// The refusal of a scope, or an error of the server.
pub async fn finish(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    account: &LoggedInAccount,
) -> Result<Response> {
    let unit = &request.unit;
    scope::check_role_urls(unit.urls(), &request.context, &authorization.scopes).await?;
    let mut scopes = match authorization.response_type {
        ResponseType::Code => authorization.scopes.clone(),
        ResponseType::Token | ResponseType::IdToken => Vec::new(),
    };
    if let Some(max_scopes) = &account.max_scopes {
        scope::retain_allowed(&mut scopes, max_scopes);
    }
    let grant = account.grant(&authorization.client_id, scopes);
    let parameters = parameters(request, authorization, account, &grant).await?;
    Ok(see_other(&authorization.target.url_with(&parameters)))
}

async fn parameters(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    account: &LoggedInAccount,
    grant: &Grant,
) -> Result<Vec<(&'static str, String)>> {
    let (unit, context) = (&request.unit, &request.context);
    let (response_type, ttl_ms) = (authorization.response_type, authorization.access_ttl_ms);
    let issuer = TokenIssuer::new(unit, context);
    let mut out = Vec::new();
    if response_type == ResponseType::Token {
        let token = issuer.access_token(grant, ttl_ms).await?;
        out.push(("access_token", token));
    }
    if let Some(history) = &account.history {
        let last = history.last_authenticated;
        let last = last.map_or_else(|| "null".to_owned(), |ms| ms.to_string());
        out.push(("last_authenticated", last));
    }
    if response_type == ResponseType::Code {
        let code = issuer.code(grant, CODE_TTL_MS, code_claims(authorization))?;
        out.push(("code", code));
    }
    if !is_installed(request, &authorization.client_id).await? {
        out.push(("box_not_installed", "true".to_owned()));
    }
    if response_type == ResponseType::IdToken {
        let claims = id_token::IdTokenClaims {
            account: &account.name,
            audience: &authorization.client_id,
            nonce: authorization.form.get("nonce"),
        };
        out.push(("id_token", id_token::issue(unit, context, &claims).await?));
    }
    if let Some(history) = &account.history {
        out.push(("failed_count", history.failed_count.to_string()));
    }
    out.extend(authorization.target.state_parameter());
    if response_type == ResponseType::Token {
        out.push(("token_type", "Bearer".to_owned()));
        out.push(("expires_in", (ttl_ms / 1_000).to_string()));
    }
    Ok(out)
}

/// The claims that bind a code to its request.
fn code_claims(authorization: &AuthorizationRequest) -> BTreeMap<String, String> {
    let mut bound = BTreeMap::from([(
        claims::REDIRECT_URI.to_owned(),
        authorization.target.redirect_uri.clone(),
    )]);
    for (name, claim) in [
        ("nonce", claims::NONCE),
        ("code_challenge", claims::CODE_CHALLENGE),
    ] {
        if let Some(value) = authorization.form.get(name) {
            bound.insert(claim.to_owned(), value.to_owned());
        }
    }
    bound
}

/// Whether the application has a box in this cell.
///
/// # Errors
/// The error of the store.
pub async fn is_installed(request: &CellRequest, client_id: &str) -> Result<bool> {
    let spellings = request.unit.urls().spellings(client_id);
    let boxes = request.context.boxes().await?;
    Ok(boxes
        .iter()
        .filter_map(|b| b.schema.as_ref())
        .any(|schema| spellings.contains(schema)))
}
