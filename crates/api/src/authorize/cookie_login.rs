//! Logins by the cookie of an earlier login.

use personium_model::auth::account::{self, AccountStatus};
use personium_model::auth::{bearer, cell_token};
use personium_token::local::{LocalKind, LocalToken};
use personium_types::Result;

use super::logged_in_account::LoggedInAccount;
use super::notice::{EXPIRED, LOG_IN, Notice};
use crate::access::{self, COOKIE};
use crate::request_context::CellRequest;

/// The outcome of a login by cookie.
pub enum CookieLogin {
    /// The request has no cookie.
    NoCookie,
    /// The cookie is not valid.
    Invalid(&'static Notice),
    /// The account of the cookie is logged in.
    LoggedIn(LoggedInAccount),
}

/// Logs in by the cookie. Tokens that were issued to an application are not accepted: it could turn them into tokens of
/// another application or with more scopes.
///
/// # Errors
/// The error of the store.
pub async fn log_in(request: &CellRequest) -> Result<CookieLogin> {
    let (unit, context) = (&request.unit, &request.context);
    let Some(value) = access::cookie(request, COOKIE) else {
        return Ok(CookieLogin::NoCookie);
    };
    let host = access::host_of(&request.cell_url());
    let cookie = unit.keys().local_tokens.open_cookie(&value, &host);
    let token = cookie.ok().and_then(|cookie| {
        cell_token::open_as(unit, context, &cookie.token, LocalKind::ResidentAccess).ok()
    });
    let of_no_app = |token: &LocalToken| token.schema.as_deref().is_none_or(str::is_empty);
    let Some(token) = token.filter(of_no_app) else {
        return Ok(CookieLogin::Invalid(&LOG_IN));
    };
    if token.is_expired_at(unit.now_ms()) {
        return Ok(CookieLogin::Invalid(&EXPIRED));
    }
    let is_valid = bearer::is_login_still_valid(unit, context, &token).await?;
    let account = account::find(context, &token.subject).await?;
    Ok(match account {
        Some(account) if is_valid && account.status == AccountStatus::Active => {
            CookieLogin::LoggedIn(LoggedInAccount::by_cookie(account, token.scopes))
        }
        _ => CookieLogin::Invalid(&LOG_IN),
    })
}
