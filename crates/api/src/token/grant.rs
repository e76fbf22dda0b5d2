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
use super::reply::{self, Extras};
use crate::answer::Answer;
use crate::request_context::CellRequest;

/// A token request whose common parameters were understood.
pub struct Request {
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
pub async fn dispatch(call: &CellRequest, request: &Request) -> Result<Answer> {
    match request.form.raw("grant_type").unwrap_or_default() {
        "password" => password(call, request).await,
        "refresh_token" => refresh(call, request).await,
        "urn:ietf:params:oauth:grant-type:saml2-bearer" => assertion(call, request).await,
        "authorization_code" => code(call, request).await,
        other => {
            let providers = &call.call.unit.settings().auth.oidc;
            match providers.iter().find(|p| p.grant_type == other) {
                Some(provider) => oidc::handle(call, request, provider).await,
                None => Err(Code::GrantType.into()),
            }
        }
    }
}

/// The scopes that a request asks for.
pub fn wanted_scopes(request: &Request) -> Vec<String> {
    scope::parse(request.form.raw("scope").unwrap_or_default())
}

/// The scopes that who logs in with credentials of its own is granted.
pub async fn granted_ropc(call: &CellRequest, request: &Request) -> Result<Vec<String>> {
    let most = &call.call.unit.settings().auth.scope_ropc;
    granted(call, &wanted_scopes(request), most).await
}

async fn password(call: &CellRequest, request: &Request) -> Result<Answer> {
    if policy_enabled(&call.context, OAuthPolicy::RefusesPassword).await? {
        return Err(Code::GrantType.into());
    }
    let form = &request.form;
    let attempt = LoginRequest {
        name: form.required("username")?,
        password: form.required("password")?,
        client_address: call.call.client,
        channel: LoginChannel::Grant,
    };
    if form.is_true("p_owner") {
        return Err(Code::OwnerNotAllowed.into());
    }
    match login::login(&call.call.unit, &call.context, &attempt).await? {
        LoginOutcome::Refused => Err(Code::AuthnFailed.into()),
        LoginOutcome::PasswordChangeRequired(login) => {
            let history = login.history;
            let grant = resident(request, login.account, wanted_scopes(request));
            reply::password_change(call, request, &grant, Some(history))
        }
        LoginOutcome::Authenticated(login) => {
            let extras = Extras {
                history: Some(login.history),
                id_token: None,
            };
            let scopes = granted_ropc(call, request).await?;
            let grant = resident(request, login.account, scopes);
            reply::tokens(call, request, &grant, extras).await
        }
    }
}

/// What an account of the cell is granted.
pub fn resident(request: &Request, account: Account, scopes: Vec<String>) -> Grant {
    Grant {
        subject: TokenSubject::Resident {
            id: account.id,
            account: account.name,
            token_generation: account.token_generation,
        },
        schema: request.schema.clone(),
        scopes,
        family: None,
    }
}

async fn granted(call: &CellRequest, wanted: &[String], most: &[String]) -> Result<Vec<String>> {
    scope::grant(call.call.unit.urls(), &call.context, wanted, most).await
}

async fn refresh(call: &CellRequest, request: &Request) -> Result<Answer> {
    let unit = &call.call.unit;
    let text = request.form.get("refresh_token").unwrap_or_default();
    let token = cell_token::open(unit, &call.context, text).map_err(|_| Code::GrantTokenParse)?;
    let is_resident = match token.kind {
        LocalKind::ResidentRefresh => true,
        LocalKind::VisitorRefresh => false,
        _ => return Err(Code::NotRefreshToken.into()),
    };
    if token.expired_at(unit.now_ms()) {
        return Err(Code::GrantTokenExpired.into());
    }
    let bound_to = token.schema.as_deref().filter(|s| !s.is_empty());
    match (bound_to, request.schema.as_deref()) {
        (Some(_), None) => return Err(Code::ClientAuthRequired.into()),
        (bound, authenticated) if bound != authenticated => {
            return Err(Code::ClientMismatch.into());
        }
        _ => {}
    }
    if request.form.is_true("p_owner") {
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
    if is_resident && !bearer::is_still_valid(unit, &call.context, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    let rotates = unit.settings().auth.rotate_refresh;
    if rotates && !one_time_tokens::consume_refresh_token(unit, &call.context, text, &token).await?
    {
        return Err(Code::GrantTokenExpired.into());
    }
    let grant = Grant {
        schema: token.schema.clone(),
        scopes: token.scopes.clone(),
        family: token.extra.get(issue::FAMILY_CLAIM).cloned(),
        subject: holder(token),
    };
    reply::tokens(call, request, &grant, Extras::default()).await
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

async fn assertion(call: &CellRequest, request: &Request) -> Result<Answer> {
    let unit = &call.call.unit;
    let now = unit.now_ms();
    let refuse = |e| client::assertion_error(e, Code::GrantTokenParse, Code::GrantTokenSignature);
    let text = request.form.get("assertion").unwrap_or_default();
    let token = saml::parse(text).map_err(refuse)?;
    if request.form.is_true("p_owner") {
        return Err(Code::OwnerRefused.into());
    }
    let token = token
        .verify(now, &unit.keys().trust_roots)
        .map_err(refuse)?;
    if token.expired_at(now) {
        return Err(Code::GrantTokenExpired.into());
    }
    if !is_for(&token.target, &call.cell_url()) {
        return Err(Code::GrantTokenTarget.into());
    }
    if !visitor::issuer_may_assert(unit.urls(), &token.issuer, &token.subject) {
        return Err(Code::GrantTokenSignature.into());
    }
    let most = &unit.settings().auth.scope_assertion;
    let grant = Grant {
        scopes: granted(call, &token.scopes, most).await?,
        schema: request.schema.clone(),
        subject: TokenSubject::Visitor {
            subject: token.subject,
            issuer: token.issuer,
            assertion_id: token.id,
            roles: token.roles,
        },
        family: None,
    };
    reply::tokens(call, request, &grant, Extras::default()).await
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

async fn code(call: &CellRequest, request: &Request) -> Result<Answer> {
    let unit = &call.call.unit;
    let text = request.form.get("code").unwrap_or_default();
    let opened = cell_token::open_as(unit, &call.context, text, LocalKind::GrantCode);
    let token = opened.map_err(|_| Code::CodeParse)?;
    let Some(schema) = &request.schema else {
        return Err(Code::ClientAuthRequired.into());
    };
    if request.form.is_true("p_owner") {
        return Err(Code::OwnerRefused.into());
    }
    if token.expired_at(unit.now_ms()) {
        return Err(Code::GrantTokenExpired.into());
    }
    if token.schema.as_deref().map(client::id_of) != Some(client::id_of(schema)) {
        return Err(Code::ClientMismatch.into());
    }
    if !bearer::is_still_valid(unit, &call.context, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    check_code_binding(&token, &request.form)?;
    let once = unit.settings().auth.single_use_codes;
    if once && !one_time_tokens::consume_code(unit, &call.context, text, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    let id_token = if token.scopes.iter().any(|s| s == scope::OPENID) {
        let claims = id_token::IdTokenClaims {
            account: &token.subject,
            audience: client::id_of(schema),
            nonce: token.extra.get(issue::NONCE_CLAIM).map(String::as_str),
        };
        Some(id_token::issue(unit, &call.context, &claims).await?)
    } else {
        None
    };
    let grant = Grant {
        schema: Some(schema.clone()),
        scopes: token.scopes.clone(),
        family: None,
        subject: holder(token),
    };
    let extras = Extras {
        history: None,
        id_token,
    };
    reply::tokens(call, request, &grant, extras).await
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
