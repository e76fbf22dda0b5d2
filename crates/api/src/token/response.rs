//! Responses of the token endpoint.

use http::{StatusCode, header};
use personium_model::auth::grant::{Grant, TokenSubject};
use personium_model::auth::login_history::LoginHistory;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::settings::SameSite;
use personium_token::local::TokenCookie;
use personium_types::{Code, Error, Result};
use serde::Serialize;
use serde_json::Value;

use super::error;
use super::request::TokenRequest;
use crate::access::{self, COOKIE};
use crate::browser_request;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// Optional parts of a token response.
#[derive(Debug, Default)]
pub struct TokenExtras {
    /// The history of the account, after a login.
    pub history: Option<LoginHistory>,
    /// The ID token.
    pub id_token: Option<String>,
}

/// The body of a token response (RFC 6749 section 5.1).
#[derive(Serialize)]
struct TokenResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    p_cookie_peer: Option<String>,
    access_token: String,
    expires_in: i64,
    token_type: &'static str,
    refresh_token: String,
    refresh_token_expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(flatten)]
    history: Option<HistoryMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_target: Option<String>,
}

/// The members about earlier logins.
#[derive(Serialize)]
struct HistoryMembers {
    last_authenticated: Option<i64>,
    failed_count: u64,
}

impl From<LoginHistory> for HistoryMembers {
    fn from(history: LoginHistory) -> Self {
        Self {
            last_authenticated: history.last_authenticated,
            failed_count: history.failed_count,
        }
    }
}

/// The response with the tokens of a grant.
///
/// # Errors
/// The error of the store, or of the signature.
pub async fn tokens(
    request: &CellRequest,
    token_request: &TokenRequest,
    grant: &Grant,
    extras: TokenExtras,
) -> Result<Response> {
    let issuer = TokenIssuer::new(&request.unit, &request.context);
    let (access_ttl_ms, refresh_ttl_ms) =
        (token_request.access_ttl_ms, token_request.refresh_ttl_ms);
    let (access_token, target) = match (&token_request.target, &grant.subject) {
        (Some(target), _) => {
            let token = issuer.trans_cell_token(grant, target, access_ttl_ms);
            (token.await?, Some(target.clone()))
        }
        (None, subject) => {
            let token = issuer.access_token(grant, access_ttl_ms).await?;
            let is_resident = matches!(subject, TokenSubject::Resident { .. });
            (token, is_resident.then(|| request.cell_url()))
        }
    };
    let cookie = match token_request.with_cookie {
        true => Some(PeerCookie::new(request, &access_token)?),
        false => None,
    };
    let body = TokenResponse {
        p_cookie_peer: cookie.as_ref().map(|cookie| cookie.peer.clone()),
        access_token,
        expires_in: access_ttl_ms / 1_000,
        token_type: "Bearer",
        refresh_token: issuer.refresh_token(grant, refresh_ttl_ms)?,
        refresh_token_expires_in: refresh_ttl_ms / 1_000,
        scope: (!grant.scopes.is_empty()).then(|| grant.scopes.join(" ")),
        id_token: extras.id_token,
        history: extras.history.map(HistoryMembers::from),
        p_target: target.clone(),
    };
    let body = serde_json::to_value(body).map_err(Error::internal)?;
    let mut response = response::json(StatusCode::OK, &body);
    if let Some(target) = target {
        response = response.with_header(header::LOCATION, &format!("{target}__token"));
    }
    if let Some(cookie) = cookie {
        response = response.append_header(header::SET_COOKIE, &cookie.header);
    }
    Ok(response)
}

/// The body of a response that requires a password change.
#[derive(Serialize)]
struct PasswordChangeResponse {
    #[serde(flatten)]
    refusal: Option<Value>,
    access_token: String,
    url: String,
    #[serde(flatten)]
    history: Option<HistoryMembers>,
}

/// The response that requires a password change, with a token that permits nothing else.
///
/// # Errors
/// The error of the signature.
pub fn password_change(
    request: &CellRequest,
    token_request: &TokenRequest,
    grant: &Grant,
    history: Option<LoginHistory>,
) -> Result<Response> {
    let issuer = TokenIssuer::new(&request.unit, &request.context);
    let refusal = Error::new(Code::PasswordChangeRequired);
    let realm = request.cell_url();
    let body = PasswordChangeResponse {
        refusal: error::body(&refusal),
        access_token: issuer.password_change_token(grant, token_request.refresh_ttl_ms)?,
        url: format!("{realm}__mypassword"),
        history: history.map(HistoryMembers::from),
    };
    let body = serde_json::to_value(body).map_err(Error::internal)?;
    Ok(error::respond(refusal.code(), &body, &realm))
}

/// A cookie with the access token and a random id, the peer. Scripts cannot read the cookie. Pages of other sites may be able
/// to make browsers send it, so requests need the id too.
struct PeerCookie {
    peer: String,
    /// The value of `Set-Cookie`.
    header: String,
}

impl PeerCookie {
    fn new(request: &CellRequest, token: &str) -> Result<Self> {
        let url = request.cell_url();
        let host = access::host_of(&url);
        let cookie = TokenCookie {
            peer: request.unit.random().uuid().to_string(),
            token: token.to_owned(),
        };
        let value = request
            .unit
            .keys()
            .local_tokens
            .seal_cookie(&host, &cookie, request.unit.random())
            .map_err(Error::internal)?;
        let path = url::Url::parse(&url).map_or_else(|_| "/".to_owned(), |u| u.path().to_owned());
        let attributes = match attributes(request) {
            Some(attributes) => format!("Path={path};{attributes}"),
            None => format!("Version=0;Comment=;Domain={host};Path={path}"),
        };
        Ok(Self {
            peer: cookie.peer,
            header: format!("{COOKIE}={value};{attributes}"),
        })
    }
}

/// The attributes that make browsers protect a cookie: `HttpOnly`, `SameSite`, `Secure` over `https`, and no `Domain`, so that
/// it is sent to this host only. `None` for other clients over `http`: they do not need them, and some do not know them.
fn attributes(request: &CellRequest) -> Option<String> {
    let is_secure = request.unit.urls().scheme() == "https";
    if !is_secure && !browser_request::is_of_browser(&request.headers) {
        return None;
    }
    let same_site = match request.unit.settings().cookie_same_site {
        // Browsers accept `None` with `Secure` only.
        SameSite::None if !is_secure => SameSite::Lax,
        same_site => same_site,
    };
    let secure = if is_secure { ";Secure" } else { "" };
    Some(format!("HttpOnly;SameSite={}{secure}", same_site.as_str()))
}
