//! The kinds of grants.

use personium_model::auth::account::Account;
use personium_model::auth::grant::Grant;
use personium_model::auth::grants::{self, CodeBinding, TokenExchange};
use personium_model::auth::login::{self, LoginChannel, LoginOutcome, LoginRequest};
use personium_model::auth::scope;
use personium_model::cell::{OAuthPolicy, policy_enabled};
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
    let (unit, wanted) = (&request.unit, wanted_scopes(token_request));
    let allowed = &unit.settings().auth.scope_ropc;
    scope::grant(unit.urls(), &request.context, &wanted, allowed).await
}

async fn password(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    if policy_enabled(&request.context, OAuthPolicy::RefusesPassword).await? {
        return Err(Code::GrantType.into());
    }
    let form = &token_request.form;
    let attempt = LoginRequest {
        name: form.required("username")?,
        password: form.required("password")?,
        client_address: request.client_address,
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
        subject: account.into(),
        schema: token_request.schema.clone(),
        scopes,
        family: None,
    }
}

/// The parameters of the grants that exchange a token, which is in the field `name`.
fn exchange<'a>(token_request: &'a TokenRequest, name: &str) -> TokenExchange<'a> {
    TokenExchange {
        token: token_request.form.get(name).unwrap_or_default(),
        schema: token_request.schema.as_deref(),
        as_owner: token_request.form.is_true("p_owner"),
    }
}

async fn refresh(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let exchange = exchange(token_request, "refresh_token");
    let grant = grants::refresh_token_grant(&request.unit, &request.context, exchange).await?;
    response::tokens(request, token_request, &grant, TokenExtras::default()).await
}

async fn assertion(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let exchange = exchange(token_request, "assertion");
    let grant = grants::assertion_grant(&request.unit, &request.context, exchange).await?;
    response::tokens(request, token_request, &grant, TokenExtras::default()).await
}

async fn code(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let exchange = exchange(token_request, "code");
    let binding = CodeBinding {
        redirect_uri: token_request.form.get("redirect_uri"),
        code_verifier: token_request.form.get("code_verifier"),
    };
    let (grant, id_token) =
        grants::code_grant(&request.unit, &request.context, exchange, binding).await?;
    let extras = TokenExtras {
        history: None,
        id_token,
    };
    response::tokens(request, token_request, &grant, extras).await
}
