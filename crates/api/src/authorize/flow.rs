//! From a login to the answer that the application gets.

use std::collections::BTreeMap;

use http::header;
use personium_model::Access;
use personium_model::auth::account::{self, AccountStatus};
use personium_model::auth::issue::{self, Grant, TokenSubject};
use personium_model::auth::login::{self, LoginChannel, LoginOutcome, LoginRequest};
use personium_model::auth::login_history::LoginHistory;
use personium_model::auth::{bearer, cell_token, id_token, scope};
use personium_token::local::{LocalKind, LocalToken};
use personium_types::{Code, Result};

use super::page::{self, Kind, Notice};
use super::redirect;
use super::request::{Request, Wanted};
use super::see_other;
use crate::access::{self, COOKIE};
use crate::answer::Answer;
use crate::request_context::CellRequest;

/// Life of a code, in milliseconds.
const CODE_LIFE: i64 = 600_000;

/// Somebody who is logged in.
struct User {
    /// The entity id of the account.
    id: String,
    account: String,
    epoch: Option<String>,
    /// What is told after a login with a password.
    history: Option<LoginHistory>,
    /// The scopes of the token in the cookie that this login comes of.
    most: Option<Vec<String>>,
}

/// Answers GET: a form, or at once the answer for who is logged in already. Any page of the web can lead a browser here, so
/// an application that the cell has no box of gets the form.
pub async fn get(call: &CellRequest, request: &Request) -> Result<Answer> {
    if request.form.is_true("password_change_required") {
        return page::show(call, request, Kind::Change).await;
    }
    match by_cookie(call).await? {
        Some(Ok(user)) if is_installed(call, &request.client_id).await? => {
            finish(call, request, &user).await
        }
        _ => page::show(call, request, Kind::Login).await,
    }
}

/// Answers POST: a new password, a login, or the answer for who is logged in already.
pub async fn post(call: &CellRequest, request: &Request) -> Result<Answer> {
    if is_from_elsewhere(call) {
        return Ok(again(call, request, None, &page::LOG_IN));
    }
    if let Some(token) = request.form.get("access_token") {
        return change(call, request, token).await;
    }
    if request.form.raw("username").is_some() || request.form.raw("password").is_some() {
        let (Some(name), Some(password)) =
            (request.form.get("username"), request.form.get("password"))
        else {
            return Ok(again(call, request, None, &page::INCOMPLETE));
        };
        return log_in(call, request, name, password).await;
    }
    match by_cookie(call).await? {
        Some(Ok(user)) => finish(call, request, &user).await,
        Some(Err(notice)) => Ok(again(call, request, None, notice)),
        None => Ok(again(call, request, None, &page::INCOMPLETE)),
    }
}

/// Whether the form was sent by a page of another site. Clients that are no browsers do not tell.
fn is_from_elsewhere(call: &CellRequest) -> bool {
    let Some(origin) = call.call.headers.get(header::ORIGIN) else {
        return false;
    };
    let own = url::Url::parse(&call.cell_url()).map(|url| url.origin().ascii_serialization());
    own.ok().as_deref().map(str::as_bytes) != Some(origin.as_bytes())
}

fn again(call: &CellRequest, request: &Request, change: Option<&str>, notice: &Notice) -> Answer {
    see_other(&redirect::form_url(
        &call.cell_url(),
        request,
        change,
        notice,
    ))
}

/// Who the cookie says is logged in; `None` without one. A token that an application got logs nobody in: it could turn it into
/// one of another application, or one with more scopes.
async fn by_cookie(call: &CellRequest) -> Result<Option<Result<User, &'static Notice>>> {
    let unit = &call.call.unit;
    let Some(value) = access::cookie(&call.call, COOKIE) else {
        return Ok(None);
    };
    let cookie = unit
        .keys()
        .local_tokens
        .open_cookie(&value, &access::host_of(&call.cell_url()));
    let token = cookie.ok().and_then(|cookie| {
        cell_token::open_as(
            unit,
            &call.context,
            &cookie.token,
            LocalKind::ResidentAccess,
        )
        .ok()
    });
    let of_no_app = |token: &LocalToken| token.schema.as_deref().is_none_or(str::is_empty);
    let Some(token) = token.filter(of_no_app) else {
        return Ok(Some(Err(&page::LOG_IN)));
    };
    if token.expired_at(unit.now_ms()) {
        return Ok(Some(Err(&page::EXPIRED)));
    }
    let counts = bearer::is_still_valid(unit, &call.context, &token).await?;
    let known = account::find(&call.context, &token.subject).await?;
    let known = known.filter(|known| counts && known.status == AccountStatus::Active);
    Ok(Some(known.ok_or(&page::LOG_IN).map(|known| User {
        id: known.id,
        account: known.name,
        epoch: known.token_generation,
        history: None,
        most: Some(token.scopes),
    })))
}

async fn log_in(
    call: &CellRequest,
    request: &Request,
    name: &str,
    password: &str,
) -> Result<Answer> {
    let attempt = LoginRequest {
        name,
        password,
        client_address: call.call.client,
        channel: LoginChannel::Form,
    };
    let unit = &call.call.unit;
    let outcome = match login::login(unit, &call.context, &attempt).await {
        Err(refusal) if refusal.code() == Code::LoginsTooMany => LoginOutcome::Refused,
        outcome => outcome?,
    };
    match outcome {
        LoginOutcome::Refused => Ok(again(call, request, None, &page::REFUSED)),
        LoginOutcome::PasswordChangeRequired(login) => {
            let grant = Grant {
                subject: TokenSubject::Resident {
                    id: login.account.id,
                    account: login.account.name,
                    token_generation: login.account.token_generation,
                },
                schema: None,
                scopes: Vec::new(),
                family: None,
            };
            let token = grant.resident_token(
                unit,
                &call.context,
                LocalKind::PasswordChange,
                request.expires,
                BTreeMap::new(),
            )?;
            Ok(again(call, request, Some(&token), &page::MUST_CHANGE))
        }
        LoginOutcome::Authenticated(login) => {
            let user = User {
                id: login.account.id,
                account: login.account.name,
                epoch: login.account.token_generation,
                history: Some(login.history),
                most: None,
            };
            finish(call, request, &user).await
        }
    }
}

/// Sets the new password of who holds a token for that, and logs in with it.
async fn change(call: &CellRequest, request: &Request, token: &str) -> Result<Answer> {
    let unit = &call.call.unit;
    let opened = cell_token::open_as(unit, &call.context, token, LocalKind::PasswordChange);
    let Ok(opened) = opened else {
        return Ok(again(call, request, None, &page::LOG_IN));
    };
    if opened.expired_at(unit.now_ms()) {
        return Ok(again(call, request, None, &page::EXPIRED));
    }
    if !bearer::is_still_valid(unit, &call.context, &opened).await? {
        return Ok(again(call, request, None, &page::LOG_IN));
    }
    let Some(password) = request.form.get("password") else {
        return Ok(again(call, request, Some(token), &page::NO_NEW_PASSWORD));
    };
    let access = Access::of(personium_model::Identity::PasswordChange {
        account: opened.subject,
    });
    let (permit, name) = access.permit_own_password()?;
    let changed = account::change_password(unit, &call.context, &permit, &name, password).await;
    match changed {
        Ok(()) => {}
        Err(refusal) if refusal.code() == Code::PasswordFormat => {
            return Ok(again(call, request, Some(token), &page::BAD_NEW_PASSWORD));
        }
        Err(refusal) => return Err(refusal),
    }
    log_in(call, request, &name, password).await
}

/// Sends the user back to the application with what it wanted.
async fn finish(call: &CellRequest, request: &Request, user: &User) -> Result<Answer> {
    let (unit, context) = (&call.call.unit, &call.context);
    scope::check_role_urls(unit.urls(), context, &request.scopes).await?;
    let mut scopes = match request.wanted {
        Wanted::Code => request.scopes.clone(),
        Wanted::Token | Wanted::IdToken => Vec::new(),
    };
    if let Some(most) = &user.most {
        scope::retain_allowed(&mut scopes, most);
    }
    let grant = Grant {
        subject: TokenSubject::Resident {
            id: user.id.clone(),
            account: user.account.clone(),
            token_generation: user.epoch.clone(),
        },
        schema: Some(request.client_id.clone()),
        scopes,
        family: None,
    };
    let mut told: Vec<(&str, String)> = Vec::new();
    if request.wanted == Wanted::Token {
        let token = grant.access_token(unit, context, request.expires).await?;
        told.push(("access_token", token));
    }
    if let Some(history) = &user.history {
        let last = history.last_authenticated;
        told.push((
            "last_authenticated",
            last.map_or_else(|| "null".to_owned(), |ms| ms.to_string()),
        ));
    }
    if request.wanted == Wanted::Code {
        let bound = code_claims(request);
        let kind = LocalKind::GrantCode;
        told.push((
            "code",
            grant.resident_token(unit, context, kind, CODE_LIFE, bound)?,
        ));
    }
    if !is_installed(call, &request.client_id).await? {
        told.push(("box_not_installed", "true".to_owned()));
    }
    if request.wanted == Wanted::IdToken {
        let nonce = request.form.get("nonce");
        let claims = id_token::IdTokenClaims {
            account: &user.account,
            audience: &request.client_id,
            nonce,
        };
        told.push(("id_token", id_token::issue(unit, context, &claims).await?));
    }
    if let Some(history) = &user.history {
        told.push(("failed_count", history.failed_count.to_string()));
    }
    told.extend(request.back.state());
    if request.wanted == Wanted::Token {
        told.push(("token_type", "Bearer".to_owned()));
        told.push(("expires_in", (request.expires / 1_000).to_string()));
    }
    Ok(see_other(&request.back.with(&told)))
}

/// What a code is bound to.
fn code_claims(request: &Request) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([(
        issue::REDIRECT_CLAIM.to_owned(),
        request.redirect_uri.clone(),
    )]);
    for (name, claim) in [
        ("nonce", issue::NONCE_CLAIM),
        ("code_challenge", issue::CHALLENGE_CLAIM),
    ] {
        if let Some(value) = request.form.get(name) {
            out.insert(claim.to_owned(), value.to_owned());
        }
    }
    out
}

/// Whether the application has a box in this cell.
async fn is_installed(call: &CellRequest, client_id: &str) -> Result<bool> {
    let spellings = call.call.unit.urls().spellings(client_id);
    let boxes = call.context.boxes().await?;
    Ok(boxes
        .iter()
        .filter_map(|b| b.schema.as_ref())
        .any(|schema| spellings.contains(schema)))
}
