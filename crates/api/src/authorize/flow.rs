//! The steps of a login in a browser.

use http::header;
use personium_model::auth::account;
use personium_model::auth::grant::Grant;
use personium_model::auth::login::{self, LoginChannel, LoginOutcome, LoginRequest};
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::auth::{bearer, cell_token};
use personium_model::{Access, Identity};
use personium_token::local::LocalKind;
use personium_types::{Code, Result};

use super::cookie_login::{self, CookieLogin};
use super::form_texts::FormKind;
use super::logged_in_account::LoggedInAccount;
use super::notice::{self, Notice};
use super::redirect_response::{finish, is_installed};
use super::request::{AuthorizationRequest, Prompt};
use super::{form_page, form_redirect, see_other};
use crate::browser_request;
use crate::request_context::CellRequest;
use crate::response::Response;

/// Answers GET: the form, or at once the redirect to the application for an account that is logged in. Any web page can lead
/// a browser here, so an application without a box in this cell always gets the form.
///
/// # Errors
/// An error of the server.
pub async fn get(request: &CellRequest, authorization: &AuthorizationRequest) -> Result<Response> {
    if authorization.form.is_true("password_change_required") {
        return form_or_refusal(request, authorization, FormKind::PasswordChange).await;
    }
    // Where all cells have one origin, a page of another cell could read the response, or a frame that shows it.
    let in_window = request.unit.urls().path_based();
    let may_log_in = authorization.prompt != Prompt::Login
        && browser_request::is_navigation(&request.headers, in_window);
    let login = match may_log_in {
        true => cookie_login::log_in(request).await?,
        false => CookieLogin::NoCookie,
    };
    match login {
        CookieLogin::LoggedIn(account)
            if is_installed(request, &authorization.client_id).await? =>
        {
            finish(request, authorization, &account).await
        }
        CookieLogin::LoggedIn(_) if authorization.prompt == Prompt::None => Ok(see_other(
            &authorization.target.refusal_url(Code::InteractionRequired),
        )),
        _ => form_or_refusal(request, authorization, FormKind::Login).await,
    }
}

/// A form; where the application forbids all of them, the error that says which is needed (OpenID Connect Core 1.0 section
/// 3.1.2.6).
async fn form_or_refusal(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    kind: FormKind,
) -> Result<Response> {
    if authorization.prompt != Prompt::None {
        return form_page::show(request, authorization, kind).await;
    }
    let code = match kind {
        FormKind::Login => Code::LoginRequired,
        FormKind::PasswordChange => Code::InteractionRequired,
    };
    Ok(see_other(&authorization.target.refusal_url(code)))
}

/// Answers POST: a password change, a login, or the redirect to the application for an account that is logged in.
///
/// # Errors
/// An error of the server.
pub async fn post(request: &CellRequest, authorization: &AuthorizationRequest) -> Result<Response> {
    let form = &authorization.form;
    let kind = match form.get("access_token") {
        Some(_) => FormKind::PasswordChange,
        None => FormKind::Login,
    };
    if is_foreign_form(request, kind).await? {
        return Ok(show_notice(request, authorization, &notice::LOG_IN));
    }
    if let Some(token) = form.get("access_token") {
        return change_password(request, authorization, token).await;
    }
    if form.raw("username").is_some() || form.raw("password").is_some() {
        return match (form.get("username"), form.get("password")) {
            (Some(name), Some(password)) => log_in(request, authorization, name, password).await,
            _ => Ok(show_notice(request, authorization, &notice::INCOMPLETE)),
        };
    }
    let login = match may_use_cookie(request) && authorization.prompt != Prompt::Login {
        true => cookie_login::log_in(request).await?,
        false => CookieLogin::Invalid(&notice::LOG_IN),
    };
    match login {
        CookieLogin::LoggedIn(account) => finish(request, authorization, &account).await,
        CookieLogin::Invalid(notice) => Ok(show_notice(request, authorization, notice)),
        CookieLogin::NoCookie => Ok(show_notice(request, authorization, &notice::INCOMPLETE)),
    }
}

/// Whether a form with a password comes from another page than the form of this cell. Clients other than browsers do not send
/// `Origin`.
async fn is_foreign_form(request: &CellRequest, kind: FormKind) -> Result<bool> {
    let Some(origin) = request.headers.get(header::ORIGIN) else {
        return Ok(false);
    };
    let own = url::Url::parse(&request.cell_url()).map(|url| url.origin().ascii_serialization());
    if own.ok().as_deref().map(str::as_bytes) == Some(origin.as_bytes()) {
        return Ok(false);
    }
    Ok(origin != "null" || !form_page::has_no_origin(request, kind).await?)
}

/// Whether the cookie logs a form in. The origin of a form proves that a page of this cell sent it only if each cell has an
/// origin of its own.
fn may_use_cookie(request: &CellRequest) -> bool {
    !request.unit.urls().path_based() || !browser_request::is_of_browser(&request.headers)
}

/// A redirect to the login form.
fn show_notice(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    notice: &Notice,
) -> Response {
    if authorization.prompt == Prompt::None {
        return see_other(&authorization.target.refusal_url(Code::LoginRequired));
    }
    let url = form_redirect::url(&request.cell_url(), authorization, None, notice);
    see_other(&url)
}

/// A redirect to the form for a password change.
fn require_password_change(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    token: &str,
    notice: &Notice,
) -> Response {
    if authorization.prompt == Prompt::None {
        return see_other(&authorization.target.refusal_url(Code::InteractionRequired));
    }
    let url = form_redirect::url(&request.cell_url(), authorization, Some(token), notice);
    see_other(&url)
}

async fn log_in(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    name: &str,
    password: &str,
) -> Result<Response> {
    let (unit, context) = (&request.unit, &request.context);
    let attempt = LoginRequest {
        name,
        password,
        origin: request.login_origin(),
        channel: LoginChannel::Form,
    };
    let outcome = match login::login(unit, context, &attempt).await {
        Err(refusal) if refusal.code() == Code::LoginsTooMany => LoginOutcome::Refused,
        outcome => outcome?,
    };
    match outcome {
        LoginOutcome::Refused => Ok(show_notice(request, authorization, &notice::REFUSED)),
        LoginOutcome::PasswordChangeRequired(login) => {
            let grant = Grant {
                subject: login.account.into(),
                schema: None,
                scopes: Vec::new(),
                lineage: None,
            };
            let token = TokenIssuer::new(unit, context)
                .password_change_token(&grant, authorization.access_ttl_ms)?;
            let notice = &notice::MUST_CHANGE;
            Ok(require_password_change(
                request,
                authorization,
                &token,
                notice,
            ))
        }
        LoginOutcome::Authenticated(login) => {
            let account = LoggedInAccount::by_password(login.account, login.history);
            finish(request, authorization, &account).await
        }
    }
}

/// Changes the password of the account of a token that permits this only, and logs in with the new one.
async fn change_password(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    token: &str,
) -> Result<Response> {
    let (unit, context) = (&request.unit, &request.context);
    let Ok(opened) = cell_token::open_as(unit, context, token, LocalKind::PasswordChange) else {
        return Ok(show_notice(request, authorization, &notice::LOG_IN));
    };
    if opened.is_expired_at(unit.now_ms()) {
        return Ok(show_notice(request, authorization, &notice::EXPIRED));
    }
    if !bearer::is_still_valid(unit, context, &opened).await? {
        return Ok(show_notice(request, authorization, &notice::LOG_IN));
    }
    let again = |notice| require_password_change(request, authorization, token, notice);
    let Some(password) = authorization.form.get("password") else {
        return Ok(again(&notice::NO_NEW_PASSWORD));
    };
    let access = Access::of(Identity::PasswordChange {
        account: opened.subject,
    });
    let (permit, name) = access.permit_own_password(context.cell())?;
    match account::change_password(unit, context, &permit, &name, password).await {
        Ok(()) => log_in(request, authorization, &name, password).await,
        Err(refusal) if refusal.code() == Code::PasswordFormat => {
            Ok(again(&notice::BAD_NEW_PASSWORD))
        }
        Err(refusal) => Err(refusal),
    }
}
