//! From a login to the answer that the application gets.

use std::collections::BTreeMap;

use http::header;
use personium_model::Access;
use personium_model::auth::account::{self, AccountStatus};
use personium_model::auth::grant::{Grant, TokenSubject};
use personium_model::auth::login::{self, LoginChannel, LoginOutcome, LoginRequest};
use personium_model::auth::login_history::LoginHistory;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::auth::{bearer, cell_token, claims, id_token, scope};
use personium_token::local::{LocalKind, LocalToken};
use personium_types::{Code, Result};

use super::page::{self, Kind, Notice};
use super::redirect;
use super::request::{AuthorizationRequest, ResponseType};
use super::see_other;
use crate::access::{self, COOKIE};
use crate::request_context::CellRequest;
use crate::response::Response;

/// Life of a code, in milliseconds.
const CODE_LIFE: i64 = 600_000;

/// Somebody who is logged in.
struct User {
    /// The entity id of the account.
    id: String,
    account: String,
    token_generation: Option<String>,
    /// What is told after a login with a password.
    history: Option<LoginHistory>,
    /// The scopes of the token in the cookie that this login comes of.
    most: Option<Vec<String>>,
}

/// Answers GET: a form, or at once the answer for who is logged in already. Any page of the web can lead a browser here, so
/// an application that the cell has no box of gets the form.
pub async fn get(request: &CellRequest, authorization: &AuthorizationRequest) -> Result<Response> {
    if authorization.form.is_true("password_change_required") {
        return page::show(request, authorization, Kind::Change).await;
    }
    match by_cookie(request).await? {
        Some(Ok(user)) if is_installed(request, &authorization.client_id).await? => {
            finish(request, authorization, &user).await
        }
        _ => page::show(request, authorization, Kind::Login).await,
    }
}

/// Answers POST: a new password, a login, or the answer for who is logged in already.
pub async fn post(request: &CellRequest, authorization: &AuthorizationRequest) -> Result<Response> {
    if is_from_elsewhere(request) {
        return Ok(again(request, authorization, None, &page::LOG_IN));
    }
    if let Some(token) = authorization.form.get("access_token") {
        return change(request, authorization, token).await;
    }
    if authorization.form.raw("username").is_some() || authorization.form.raw("password").is_some()
    {
        let (Some(name), Some(password)) = (
            authorization.form.get("username"),
            authorization.form.get("password"),
        ) else {
            return Ok(again(request, authorization, None, &page::INCOMPLETE));
        };
        return log_in(request, authorization, name, password).await;
    }
    match by_cookie(request).await? {
        Some(Ok(user)) => finish(request, authorization, &user).await,
        Some(Err(notice)) => Ok(again(request, authorization, None, notice)),
        None => Ok(again(request, authorization, None, &page::INCOMPLETE)),
    }
}

/// Whether the form was sent by a page of another site. Clients that are no browsers do not tell.
fn is_from_elsewhere(request: &CellRequest) -> bool {
    let Some(origin) = request.headers.get(header::ORIGIN) else {
        return false;
    };
    let own = url::Url::parse(&request.cell_url()).map(|url| url.origin().ascii_serialization());
    own.ok().as_deref().map(str::as_bytes) != Some(origin.as_bytes())
}

fn again(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    change: Option<&str>,
    notice: &Notice,
) -> Response {
    see_other(&redirect::form_url(
        &request.cell_url(),
        authorization,
        change,
        notice,
    ))
}

/// Who the cookie says is logged in; `None` without one. A token that an application got logs nobody in: it could turn it into
/// one of another application, or one with more scopes.
async fn by_cookie(request: &CellRequest) -> Result<Option<Result<User, &'static Notice>>> {
    let unit = &request.unit;
    let Some(value) = access::cookie(request, COOKIE) else {
        return Ok(None);
    };
    let cookie = unit
        .keys()
        .local_tokens
        .open_cookie(&value, &access::host_of(&request.cell_url()));
    let token = cookie.ok().and_then(|cookie| {
        cell_token::open_as(
            unit,
            &request.context,
            &cookie.token,
            LocalKind::ResidentAccess,
        )
        .ok()
    });
    let of_no_app = |token: &LocalToken| token.schema.as_deref().is_none_or(str::is_empty);
    let Some(token) = token.filter(of_no_app) else {
        return Ok(Some(Err(&page::LOG_IN)));
    };
    if token.is_expired_at(unit.now_ms()) {
        return Ok(Some(Err(&page::EXPIRED)));
    }
    let counts = bearer::is_still_valid(unit, &request.context, &token).await?;
    let known = account::find(&request.context, &token.subject).await?;
    let known = known.filter(|known| counts && known.status == AccountStatus::Active);
    Ok(Some(known.ok_or(&page::LOG_IN).map(|known| User {
        id: known.id,
        account: known.name,
        token_generation: known.token_generation,
        history: None,
        most: Some(token.scopes),
    })))
}

async fn log_in(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    name: &str,
    password: &str,
) -> Result<Response> {
    let attempt = LoginRequest {
        name,
        password,
        client_address: request.client_address,
        channel: LoginChannel::Form,
    };
    let unit = &request.unit;
    let outcome = match login::login(unit, &request.context, &attempt).await {
        Err(refusal) if refusal.code() == Code::LoginsTooMany => LoginOutcome::Refused,
        outcome => outcome?,
    };
    match outcome {
        LoginOutcome::Refused => Ok(again(request, authorization, None, &page::REFUSED)),
        LoginOutcome::PasswordChangeRequired(login) => {
            let grant = Grant {
                subject: login.account.into(),
                schema: None,
                scopes: Vec::new(),
                family: None,
            };
            let token = TokenIssuer::new(unit, &request.context)
                .password_change_token(&grant, authorization.expires)?;
            Ok(again(
                request,
                authorization,
                Some(&token),
                &page::MUST_CHANGE,
            ))
        }
        LoginOutcome::Authenticated(login) => {
            let user = User {
                id: login.account.id,
                account: login.account.name,
                token_generation: login.account.token_generation,
                history: Some(login.history),
                most: None,
            };
            finish(request, authorization, &user).await
        }
    }
}

/// Sets the new password of who holds a token for that, and logs in with it.
async fn change(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    token: &str,
) -> Result<Response> {
    let unit = &request.unit;
    let opened = cell_token::open_as(unit, &request.context, token, LocalKind::PasswordChange);
    let Ok(opened) = opened else {
        return Ok(again(request, authorization, None, &page::LOG_IN));
    };
    if opened.is_expired_at(unit.now_ms()) {
        return Ok(again(request, authorization, None, &page::EXPIRED));
    }
    if !bearer::is_still_valid(unit, &request.context, &opened).await? {
        return Ok(again(request, authorization, None, &page::LOG_IN));
    }
    let Some(password) = authorization.form.get("password") else {
        return Ok(again(
            request,
            authorization,
            Some(token),
            &page::NO_NEW_PASSWORD,
        ));
    };
    let access = Access::of(personium_model::Identity::PasswordChange {
        account: opened.subject,
    });
    let (permit, name) = access.permit_own_password(request.context.cell())?;
    let changed = account::change_password(unit, &request.context, &permit, &name, password).await;
    match changed {
        Ok(()) => {}
        Err(refusal) if refusal.code() == Code::PasswordFormat => {
            return Ok(again(
                request,
                authorization,
                Some(token),
                &page::BAD_NEW_PASSWORD,
            ));
        }
        Err(refusal) => return Err(refusal),
    }
    log_in(request, authorization, &name, password).await
}

/// Sends the user back to the application with what it wanted.
async fn finish(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    user: &User,
) -> Result<Response> {
    let (unit, context) = (&request.unit, &request.context);
    scope::check_role_urls(unit.urls(), context, &authorization.scopes).await?;
    let mut scopes = match authorization.wanted {
        ResponseType::Code => authorization.scopes.clone(),
        ResponseType::Token | ResponseType::IdToken => Vec::new(),
    };
    if let Some(most) = &user.most {
        scope::retain_allowed(&mut scopes, most);
    }
    let grant = Grant {
        subject: TokenSubject::Resident {
            id: user.id.clone(),
            account: user.account.clone(),
            token_generation: user.token_generation.clone(),
        },
        schema: Some(authorization.client_id.clone()),
        scopes,
        family: None,
    };
    let issuer = TokenIssuer::new(unit, context);
    let mut told: Vec<(&str, String)> = Vec::new();
    if authorization.wanted == ResponseType::Token {
        let token = issuer.access_token(&grant, authorization.expires).await?;
        told.push(("access_token", token));
    }
    if let Some(history) = &user.history {
        let last = history.last_authenticated;
        told.push((
            "last_authenticated",
            last.map_or_else(|| "null".to_owned(), |ms| ms.to_string()),
        ));
    }
    if authorization.wanted == ResponseType::Code {
        let bound = code_claims(authorization);
        told.push(("code", issuer.code(&grant, CODE_LIFE, bound)?));
    }
    if !is_installed(request, &authorization.client_id).await? {
        told.push(("box_not_installed", "true".to_owned()));
    }
    if authorization.wanted == ResponseType::IdToken {
        let nonce = authorization.form.get("nonce");
        let claims = id_token::IdTokenClaims {
            account: &user.account,
            audience: &authorization.client_id,
            nonce,
        };
        told.push(("id_token", id_token::issue(unit, context, &claims).await?));
    }
    if let Some(history) = &user.history {
        told.push(("failed_count", history.failed_count.to_string()));
    }
    told.extend(authorization.back.state());
    if authorization.wanted == ResponseType::Token {
        told.push(("token_type", "Bearer".to_owned()));
        told.push(("expires_in", (authorization.expires / 1_000).to_string()));
    }
    Ok(see_other(&authorization.back.with(&told)))
}

/// What a code is bound to.
fn code_claims(authorization: &AuthorizationRequest) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([(
        claims::REDIRECT_URI.to_owned(),
        authorization.redirect_uri.clone(),
    )]);
    for (name, claim) in [
        ("nonce", claims::NONCE),
        ("code_challenge", claims::CODE_CHALLENGE),
    ] {
        if let Some(value) = authorization.form.get(name) {
            out.insert(claim.to_owned(), value.to_owned());
        }
    }
    out
}

/// Whether the application has a box in this cell.
async fn is_installed(request: &CellRequest, client_id: &str) -> Result<bool> {
    let spellings = request.unit.urls().spellings(client_id);
    let boxes = request.context.boxes().await?;
    Ok(boxes
        .iter()
        .filter_map(|b| b.schema.as_ref())
        .any(|schema| spellings.contains(schema)))
}
