//! What the token endpoint answers.

use http::{StatusCode, header};
use personium_model::auth::grant::{Grant, TokenSubject};
use personium_model::auth::login_history::LoginHistory;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_token::local::TokenCookie;
use personium_types::{Code, Error, Result};
use serde_json::{Map, Value, json};

use super::error;
use super::request::TokenRequest;
use crate::access::{self, COOKIE};
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// What is told besides the tokens.
#[derive(Debug, Default)]
pub struct TokenExtras {
    /// The history of the account, after a login.
    pub history: Option<LoginHistory>,
    /// The ID token.
    pub id_token: Option<String>,
}

/// The tokens of a grant.
pub async fn tokens(
    request: &CellRequest,
    token_request: &TokenRequest,
    grant: &Grant,
    extras: TokenExtras,
) -> Result<Response> {
    let issuer = TokenIssuer::new(&request.unit, &request.context);
    let cell_url = request.cell_url();
    let (access_token, target) = match (&token_request.target, &grant.subject) {
        (Some(target), _) => {
            let token = issuer
                .trans_cell_token(grant, target, token_request.access_ttl_ms)
                .await?;
            (token, Some(target.clone()))
        }
        (None, subject) => {
            let token = issuer
                .access_token(grant, token_request.access_ttl_ms)
                .await?;
            let is_resident = matches!(subject, TokenSubject::Resident { .. });
            (token, is_resident.then(|| cell_url.clone()))
        }
    };
    let mut body = Map::new();
    let mut cookie_header = None;
    if token_request.with_cookie {
        let (peer, header) = cookie(request, &access_token)?;
        body.insert("p_cookie_peer".to_owned(), peer.into());
        cookie_header = Some(header);
    }
    body.insert("access_token".to_owned(), access_token.into());
    body.insert(
        "expires_in".to_owned(),
        (token_request.access_ttl_ms / 1_000).into(),
    );
    body.insert("token_type".to_owned(), "Bearer".into());
    let refresh_token = issuer.refresh_token(grant, token_request.refresh_ttl_ms)?;
    body.insert("refresh_token".to_owned(), refresh_token.into());
    let refresh_seconds = token_request.refresh_ttl_ms / 1_000;
    body.insert(
        "refresh_token_expires_in".to_owned(),
        refresh_seconds.into(),
    );
    if !grant.scopes.is_empty() {
        body.insert("scope".to_owned(), grant.scopes.join(" ").into());
    }
    if let Some(id_token) = extras.id_token {
        body.insert("id_token".to_owned(), id_token.into());
    }
    add_history(&mut body, extras.history);
    if let Some(target) = &target {
        body.insert("p_target".to_owned(), target.as_str().into());
    }
    let mut out = response::json(StatusCode::OK, &Value::Object(body))
        .with_header(header::CACHE_CONTROL, "no-store");
    if let Some(target) = target {
        out = out.with_header(header::LOCATION, &format!("{target}__token"));
    }
    if let Some(header) = cookie_header {
        out = out.append_header(header::SET_COOKIE, &header);
    }
    Ok(out)
}

/// Tells that the password must be changed first, with the token that allows nothing else.
pub fn password_change(
    request: &CellRequest,
    token_request: &TokenRequest,
    grant: &Grant,
    history: Option<LoginHistory>,
) -> Result<Response> {
    let issuer = TokenIssuer::new(&request.unit, &request.context);
    let token = issuer.password_change_token(grant, token_request.refresh_ttl_ms)?;
    let cell_url = request.cell_url();
    let refusal = Error::new(Code::PasswordChangeRequired);
    let mut body = match error::body(&refusal) {
        Some(Value::Object(body)) => body,
        _ => Map::new(),
    };
    body.insert("access_token".to_owned(), token.into());
    body.insert("url".to_owned(), format!("{cell_url}__mypassword").into());
    add_history(&mut body, history);
    Ok(error::respond(
        refusal.code(),
        &Value::Object(body),
        &cell_url,
    ))
}

fn add_history(body: &mut Map<String, Value>, history: Option<LoginHistory>) {
    if let Some(history) = history {
        body.insert(
            "last_authenticated".to_owned(),
            json!(history.last_authenticated),
        );
        body.insert("failed_count".to_owned(), json!(history.failed_count));
    }
}

/// A new peer id, and the cookie that holds it and the token. Over `https` scripts cannot read the cookie, and pages
/// of other sites may send it: they must know the peer id.
fn cookie(request: &CellRequest, token: &str) -> Result<(String, String)> {
    let url = request.cell_url();
    let host = access::host_of(&url);
    let cookie = TokenCookie {
        peer: request.unit.random().uuid().to_string(),
        token: token.to_owned(),
    };
    let value = request
        .request
        .unit
        .keys()
        .local_tokens
        .seal_cookie(&host, &cookie, request.unit.random())
        .map_err(Error::internal)?;
    let path = url::Url::parse(&url).map_or_else(|_| "/".to_owned(), |u| u.path().to_owned());
    let mut header = format!("{COOKIE}={value};Version=0;Comment=;Domain={host};Path={path}");
    if request.unit.urls().scheme() == "https" {
        header.push_str(";Secure;HttpOnly;SameSite=None");
    }
    Ok((cookie.peer, header))
}
