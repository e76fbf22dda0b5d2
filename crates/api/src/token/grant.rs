//! The kinds of grants (RFC 6749 section 4, RFC 7522).

use personium_model::auth::login::{self, LoginChannel, LoginOutcome, LoginRequest};
use personium_model::auth::token_exchange::{self, CodeBinding};
use personium_model::cell_policy::{OAuthPolicy, policy_enabled};
use personium_types::{Code, Result};

use super::plugin;
use super::request::TokenRequest;
use super::response::{self, TokenExtras};
use crate::request_context::CellRequest;
use crate::response::Response;

/// Issues tokens by the grant that a request names.
///
/// # Errors
/// [`Code::GrantType`], or the refusal of the grant.
pub(super) async fn dispatch(
    request: &CellRequest,
    token_request: &TokenRequest,
) -> Result<Response> {
    match token_request.form.raw("grant_type").unwrap_or_default() {
        "password" => password(request, token_request).await,
        "refresh_token" => refresh_token(request, token_request).await,
        "urn:ietf:params:oauth:grant-type:saml2-bearer" => assertion(request, token_request).await,
        "authorization_code" => code(request, token_request).await,
        other => {
            let loaded = request.unit.plugins().current();
            let built_in = request.built_in_plugins.find(other);
            match built_in.or_else(|| loaded.find(other)) {
                Some(found) => plugin::handle(request, token_request, found).await,
                None => Err(Code::GrantType.into()),
            }
        }
    }
}

async fn password(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    if policy_enabled(&request.context, OAuthPolicy::RefusesPassword).await? {
        return Err(Code::GrantType.into());
    }
    let form = &token_request.form;
    let attempt = LoginRequest {
        name: form.required("username")?,
        password: form.required("password")?,
        origin: request.login_origin(),
        channel: LoginChannel::Grant,
    };
    if form.is_true("p_owner") {
        return Err(Code::OwnerNotAllowed.into());
    }
    match login::login(&request.unit, &request.context, &attempt).await? {
        LoginOutcome::Refused => Err(Code::AuthnFailed.into()),
        LoginOutcome::PasswordChangeRequired(login) => {
            let history = login.history;
            let grant = token_request.account_grant(login.account, token_request.scopes());
            response::password_change(request, token_request, &grant, Some(history))
        }
        LoginOutcome::Authenticated(login) => {
            let extras = TokenExtras {
                history: Some(login.history),
                id_token: None,
            };
            let scopes = token_request.ropc_scopes(request).await?;
            let grant = token_request.account_grant(login.account, scopes);
            response::tokens(request, token_request, &grant, extras).await
        }
    }
}

async fn refresh_token(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let exchange = token_request.exchange("refresh_token");
    let grant =
        token_exchange::refresh_token_grant(&request.unit, &request.context, exchange).await?;
    response::tokens(request, token_request, &grant, TokenExtras::default()).await
}

async fn assertion(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let exchange = token_request.exchange("assertion");
    let grant = token_exchange::assertion_grant(&request.unit, &request.context, exchange).await?;
    response::tokens(request, token_request, &grant, TokenExtras::default()).await
}

async fn code(request: &CellRequest, token_request: &TokenRequest) -> Result<Response> {
    let (unit, context) = (&request.unit, &request.context);
    let exchange = token_request.exchange("code");
    let binding = CodeBinding {
        redirect_uri: token_request.form.get("redirect_uri"),
        code_verifier: token_request.form.get("code_verifier"),
    };
    let (grant, id_token) = token_exchange::code_grant(unit, context, exchange, binding).await?;
    let extras = TokenExtras {
        history: None,
        id_token,
    };
    response::tokens(request, token_request, &grant, extras).await
}
