//! The kinds of grants.

use personium_model::auth::account::Account;
use personium_model::auth::issue::{self, Grant, TOKEN_GENERATION_CLAIM, TokenSubject};
use personium_model::auth::login::{self, LoginChannel, LoginOutcome, LoginRequest};
use personium_model::auth::{
    bearer, cell_token, client, id_token, one_time_tokens, pkce, scope, visitor,
};
use personium_model::cell::{OAuthPolicy, policy_enabled};
use personium_token::local::{LocalKind, LocalToken};
use personium_token::saml;
use personium_types::{Code, Result};

use super::form::Form;
use super::oidc;
use super::response::{self, TokenExtras};
use crate::request_context::CellRequest;
use crate::response::Response;

/// A token request whose common parameters were understood.
pub struct TokenRequest {
    /// All parameters.
    pub form: Form,
    /// The URL that the access token shall be made for.
    pub target: Option<String>,
    /// The application that asks.
    pub schema: Option<String>,
    /// Life of the access token, in milliseconds.
    pub expires: i64,
    /// Life of the refresh token, in milliseconds.
    pub refresh_expires: i64,
    /// Whether a cookie is wanted too.
    pub cookie: bool,
}

/// Carries out the grant that a request names.
pub async fn dispatch(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    match token_request.form.raw("grant_type").unwrap_or_default() {
        "password" => password(request, token_request).await,
        "refresh_token" => refresh(request, token_request).await,
        "urn:ietf:params:oauth:grant-type:saml2-bearer" => assertion(request, token_request).await,
        "authorization_code" => code(request, token_request).await,
        other => {
            let providers = &request.unit.settings().auth.oidc;
            match providers.iter().find(|p| p.grant_type == other) {
                Some(provider) => oidc::handle(request, token_request, provider).await,
                None => Err(Code::GrantType.into()),
            }
        }
    }
}

/// The scopes that a request asks for.
pub fn wanted_scopes(token_request: &TokenRequest) -> Vec<String> {
    scope::parse(token_request.form.raw("scope").unwrap_or_default())
}

/// The scopes that who logs in with credentials of its own is granted.
pub async fn granted_ropc(
    request: &CellRequest,
    token_request: &TokenRequest,
) -> Result<Vec<String>> {
    let most = &request.unit.settings().auth.scope_ropc;
    granted(request, &wanted_scopes(token_request), most).await
}

async fn password(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    if policy_enabled(&request.context, OAuthPolicy::RefusesPassword).await? {
        return Err(Code::GrantType.into());
    }
    let form = &token_request.form;
    let attempt = LoginRequest {
        name: form.required("username")?,
        password: form.required("password")?,
        client_address: request.client,
        channel: LoginChannel::Grant,
    };
    if form.is_true("p_owner") {
        return Err(Code::OwnerNotAllowed.into());
    }
    match login::login(&request.unit, &request.context, &attempt).await? {
        LoginOutcome::Refused => Err(Code::AuthnFailed.into()),
        LoginOutcome::PasswordChangeRequired(login) => {
            let history = login.history;
            let grant = resident(token_request, login.account, wanted_scopes(token_request));
            response::password_change(request, token_request, &grant, Some(history))
        }
        LoginOutcome::Authenticated(login) => {
            let extras = TokenExtras {
                history: Some(login.history),
                id_token: None,
            };
            let scopes = granted_ropc(request, token_request).await?;
            let grant = resident(token_request, login.account, scopes);
            response::tokens(request, token_request, &grant, extras).await
        }
    }
}

/// What an account of the cell is granted.
pub fn resident(token_request: &TokenRequest, account: Account, scopes: Vec<String>) -> Grant {
    Grant {
        subject: TokenSubject::Resident {
            id: account.id,
            account: account.name,
            token_generation: account.token_generation,
        },
        schema: token_request.schema.clone(),
        scopes,
        family: None,
    }
}

async fn granted(request: &CellRequest, wanted: &[String], most: &[String]) -> Result<Vec<String>> {
    scope::grant(request.unit.urls(), &request.context, wanted, most).await
}

async fn refresh(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let unit = &request.unit;
    let text = token_request.form.get("refresh_token").unwrap_or_default();
    let token =
        cell_token::open(unit, &request.context, text).map_err(|_| Code::GrantTokenParse)?;
    let is_resident = match token.kind {
        LocalKind::ResidentRefresh => true,
        LocalKind::VisitorRefresh => false,
        _ => return Err(Code::NotRefreshToken.into()),
    };
    if token.expired_at(unit.now_ms()) {
        return Err(Code::GrantTokenExpired.into());
    }
    let bound_to = token.schema.as_deref().filter(|s| !s.is_empty());
    match (bound_to, token_request.schema.as_deref()) {
        (Some(_), None) => return Err(Code::ClientAuthRequired.into()),
        (bound, authenticated) if bound != authenticated => {
            return Err(Code::ClientMismatch.into());
        }
        _ => {}
    }
    if token_request.form.is_true("p_owner") {
        return Err(match is_resident {
            true => Code::OwnerNotAllowed.into(),
            false => Code::OwnerRefused.into(),
        });
    }
    if let Some(origin) = &token.origin
        && !visitor::issuer_may_assert(unit.urls(), &origin.issuer, &token.subject)
    {
        return Err(Code::GrantTokenSignature.into());
    }
    if is_resident && !bearer::is_still_valid(unit, &request.context, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    let rotates = unit.settings().auth.rotate_refresh;
    if rotates
        && !one_time_tokens::consume_refresh_token(unit, &request.context, text, &token).await?
    {
        return Err(Code::GrantTokenExpired.into());
    }
    let grant = Grant {
        schema: token.schema.clone(),
        scopes: token.scopes.clone(),
        family: token.extra.get(issue::FAMILY_CLAIM).cloned(),
        subject: holder(token),
    };
    response::tokens(request, token_request, &grant, TokenExtras::default()).await
}

/// Who holds a refresh token or a code.
fn holder(mut token: LocalToken) -> TokenSubject {
    match token.origin {
        Some(origin) => TokenSubject::Visitor {
            subject: token.subject,
            issuer: origin.issuer,
            assertion_id: origin.assertion_id,
            roles: token.roles,
        },
        None => TokenSubject::Resident {
            id: token.extra.remove(cell_token::ACCOUNT).unwrap_or_default(),
            account: token.subject,
            token_generation: token.extra.remove(TOKEN_GENERATION_CLAIM),
        },
    }
}

async fn assertion(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let unit = &request.unit;
    let now = unit.now_ms();
    let refuse = |e| client::assertion_error(e, Code::GrantTokenParse, Code::GrantTokenSignature);
    let text = token_request.form.get("assertion").unwrap_or_default();
    let token = saml::parse(text).map_err(refuse)?;
    if token_request.form.is_true("p_owner") {
        return Err(Code::OwnerRefused.into());
    }
    let token = token
        .verify(now, &unit.keys().trust_roots)
        .map_err(refuse)?;
    if token.expired_at(now) {
        return Err(Code::GrantTokenExpired.into());
    }
    if !is_for(&token.target, &request.cell_url()) {
        return Err(Code::GrantTokenTarget.into());
    }
    if !visitor::issuer_may_assert(unit.urls(), &token.issuer, &token.subject) {
        return Err(Code::GrantTokenSignature.into());
    }
    let most = &unit.settings().auth.scope_assertion;
    let grant = Grant {
        scopes: granted(request, &token.scopes, most).await?,
        schema: token_request.schema.clone(),
        subject: TokenSubject::Visitor {
            subject: token.subject,
            issuer: token.issuer,
            assertion_id: token.id,
            roles: token.roles,
        },
        family: None,
    };
    response::tokens(request, token_request, &grant, TokenExtras::default()).await
}

/// Whether a target is this cell: authority and path are equal, the scheme may differ.
fn is_for(target: &str, cell_url: &str) -> bool {
    let rest = |url: &str| {
        let parsed = url::Url::parse(url).ok()?;
        let port = parsed.port();
        Some((
            parsed.host_str()?.to_owned(),
            port,
            parsed.path().to_owned(),
        ))
    };
    match (rest(target), rest(cell_url)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

async fn code(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let unit = &request.unit;
    let text = token_request.form.get("code").unwrap_or_default();
    let opened = cell_token::open_as(unit, &request.context, text, LocalKind::GrantCode);
    let token = opened.map_err(|_| Code::CodeParse)?;
    let Some(schema) = &token_request.schema else {
        return Err(Code::ClientAuthRequired.into());
    };
    if token_request.form.is_true("p_owner") {
        return Err(Code::OwnerRefused.into());
    }
    if token.expired_at(unit.now_ms()) {
        return Err(Code::GrantTokenExpired.into());
    }
    if token.schema.as_deref().map(client::id_of) != Some(client::id_of(schema)) {
        return Err(Code::ClientMismatch.into());
    }
    if !bearer::is_still_valid(unit, &request.context, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    check_code_binding(&token, &token_request.form)?;
    let once = unit.settings().auth.single_use_codes;
    if once && !one_time_tokens::consume_code(unit, &request.context, text, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    let id_token = if token.scopes.iter().any(|s| s == scope::OPENID) {
        let claims = id_token::IdTokenClaims {
            account: &token.subject,
            audience: client::id_of(schema),
            nonce: token.extra.get(issue::NONCE_CLAIM).map(String::as_str),
        };
        Some(id_token::issue(unit, &request.context, &claims).await?)
    } else {
        None
    };
    let grant = Grant {
        schema: Some(schema.clone()),
        scopes: token.scopes.clone(),
        family: None,
        subject: holder(token),
    };
    let extras = TokenExtras {
        history: None,
        id_token,
    };
    response::tokens(request, token_request, &grant, extras).await
}

/// A code is good only for who began the login: with the verifier of its challenge (RFC 7636 section 4.6), and the
/// URL that it was sent to if the request names one.
fn check_code_binding(token: &LocalToken, form: &Form) -> Result<()> {
    if let Some(url) = form.get("redirect_uri")
        && token.extra.get(issue::REDIRECT_CLAIM).map(String::as_str) != Some(url)
    {
        return Err(Code::CodeRedirect.into());
    }
    let verified = match (
        token.extra.get(issue::CHALLENGE_CLAIM),
        form.get("code_verifier"),
    ) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => pkce::verifier_matches(challenge, verifier),
        _ => false,
    };
    if verified {
        Ok(())
    } else {
        Err(Code::CodeVerifier.into())
    }
}
