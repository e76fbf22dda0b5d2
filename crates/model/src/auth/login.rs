//! Logins with name and password.
//!
//! Attempts on one account are serialized, so that concurrent ones cannot bypass the delay after a failed attempt.
//! Neither the result nor its time shows whether an account exists: where there is nothing to compare, the same work
//! is done for nothing.

use std::net::IpAddr;
use std::sync::Arc;

use personium_token::password;
use personium_types::{Code, Result};

use super::account::{self, Account, AccountStatus};
use super::ip_range;
use super::lockout::LockoutTracker;
use super::login_history::{self, LoginHistory};
use super::login_refusal::LoginRefusal;
use crate::{CellContext, Unit};

/// A request to log in.
#[derive(Debug)]
pub struct LoginRequest<'a> {
    /// The account name as given.
    pub name: &'a str,
    /// The password as given.
    pub password: &'a str,
    /// The address of the client.
    pub client_address: Option<IpAddr>,
    /// The endpoint.
    pub channel: LoginChannel,
}

/// The endpoint through which an account logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginChannel {
    /// The token endpoint: only for accounts of the type `basic`.
    Grant,
    /// The login form.
    Form,
}

/// The result of a login.
#[derive(Debug)]
pub enum LoginOutcome {
    /// The account is authenticated.
    Authenticated(Login),
    /// The password is right, but must be changed first.
    PasswordChangeRequired(Login),
    /// The login is refused; the reason is not disclosed.
    Refused,
}

/// An authenticated account.
#[derive(Debug)]
pub struct Login {
    /// The account.
    pub account: Account,
    /// Its history before this login; empty if it is not recorded.
    pub history: LoginHistory,
}

/// Logs an account in. A refused login is not an error.
///
/// # Errors
/// [`Code::LoginsTooMany`] if too many logins from this address failed lately; [`Code::ServerBusy`] if the hashing
/// queue is full or too many attempts on the account wait; failures of store and cache.
pub async fn login(
    unit: &Arc<Unit>,
    context: &CellContext,
    request: &LoginRequest<'_>,
) -> Result<LoginOutcome> {
    let (name, client_address) = (request.name, request.client_address);
    let refused = |reason: LoginRefusal| reason.log(context, name, client_address);
    let attempt = unit
        .credentials()
        .login_rate_limiter
        .begin(client_address, unit.now_ms())
        .inspect_err(|_| refused(LoginRefusal::TooManyFailures))?;
    let outcome = authenticate(unit, context, request).await;
    if !matches!(outcome, Ok(Err(_))) {
        attempt.succeed();
    }
    Ok(outcome?.unwrap_or_else(|reason| {
        refused(reason);
        LoginOutcome::Refused
    }))
}

/// Logs an account in; the inner error is the reason of a refusal.
async fn authenticate(
    unit: &Arc<Unit>,
    context: &CellContext,
    request: &LoginRequest<'_>,
) -> Result<Result<LoginOutcome, LoginRefusal>> {
    let account = account::find(context, request.name).await?;
    let lockout = LockoutTracker::new(unit, context, request.name, account.as_ref());
    let is_allowed =
        |account: &Account| request.channel == LoginChannel::Form || account.has_type("basic");
    let absent = match &account {
        None => LoginRefusal::NoAccount,
        Some(_) => LoginRefusal::TypeNotAllowed,
    };
    let Some(account) = account.filter(is_allowed) else {
        if !lockout.is_delayed().await? {
            verify_password(unit, context, None, request.password).await?;
        }
        lockout.start_delay().await?;
        return Ok(Err(absent));
    };
    let _lock = unit
        .credentials()
        .account_locks
        .lock(lockout.key().to_owned())
        .await?;
    let is_recorded = login_history::is_recorded(context, &account.name).await?;
    let refusal = match lockout.is_delayed().await? {
        true => Some(LoginRefusal::TooSoon),
        false => check_credentials(unit, context, &lockout, &account, request).await?,
    };
    if let Some(refusal) = refusal {
        lockout.start_delay().await?;
        lockout.record_failure().await?;
        if is_recorded {
            login_history::record_failure(context, &account.id).await?;
        }
        return Ok(Err(refusal));
    }
    lockout.reset().await?;
    let must_change = account.status == AccountStatus::PasswordChangeRequired;
    let history = match (is_recorded, must_change) {
        (false, _) => LoginHistory::default(),
        (true, true) => login_history::find(context, &account.id).await?,
        (true, false) => login_history::record_success(context, &account.id, unit.now_ms()).await?,
    };
    rehash_if_outdated(unit, context, &account, request.password).await;
    let login = Login { account, history };
    Ok(Ok(if must_change {
        LoginOutcome::PasswordChangeRequired(login)
    } else {
        LoginOutcome::Authenticated(login)
    }))
}

/// Makes all checks but that of the delay; returns the reason of a refusal. The password is compared in any case, so that
/// the time does not show which check failed.
async fn check_credentials(
    unit: &Arc<Unit>,
    context: &CellContext,
    lockout: &LockoutTracker<'_>,
    account: &Account,
    request: &LoginRequest<'_>,
) -> Result<Option<LoginRefusal>> {
    let is_locked = lockout.is_locked().await?;
    let is_right = verify_password(unit, context, Some(account), request.password).await?;
    Ok(if is_locked {
        Some(LoginRefusal::Locked)
    } else if !is_right {
        Some(LoginRefusal::WrongPassword)
    } else {
        account_refusal(account, request.client_address)
    })
}

/// The reason why an account may not log in from an address, whatever the password.
fn account_refusal(account: &Account, client_address: Option<IpAddr>) -> Option<LoginRefusal> {
    if !ip_range::allows(account.ip_range.as_deref(), client_address) {
        Some(LoginRefusal::AddressNotAllowed)
    } else if account.status == AccountStatus::Deactivated {
        Some(LoginRefusal::Deactivated)
    } else {
        None
    }
}

/// Authenticates one request with name and password (HTTP Basic). The inner error is the code with which an operation
/// that needs an account refuses the request.
///
/// # Errors
/// As [`login`].
pub async fn authenticate_basic(
    unit: &Arc<Unit>,
    context: &CellContext,
    name: &str,
    password: &str,
    client_address: Option<IpAddr>,
) -> Result<Result<Account, Code>> {
    let refused = |reason: LoginRefusal| reason.log(context, name, client_address);
    let attempt = unit
        .credentials()
        .login_rate_limiter
        .begin(client_address, unit.now_ms())
        .inspect_err(|_| refused(LoginRefusal::TooManyFailures))?;
    let account = account::find(context, name).await?;
    let lockout = LockoutTracker::new(unit, context, name, account.as_ref());
    let Some(account) = account else {
        verify_password(unit, context, None, password).await?;
        lockout.start_delay().await?;
        refused(LoginRefusal::NoAccount);
        return Ok(Err(Code::BasicRefused));
    };
    if lockout.is_locked().await? {
        lockout.start_delay().await?;
        refused(LoginRefusal::Locked);
        return Ok(Err(Code::AccountLocked));
    }
    let cache = &unit.credentials().verified_passwords;
    let digest = account
        .hash
        .as_ref()
        .and_then(|stored| cache.digest(&account.id, stored, password));
    let is_allowed = account.status == AccountStatus::Active
        && account.has_type("basic")
        && ip_range::allows(account.ip_range.as_deref(), client_address);
    if is_allowed && digest.is_some_and(|digest| cache.contains(digest)) {
        attempt.succeed();
        return Ok(Ok(account));
    }
    let is_right = verify_password(unit, context, Some(&account), password).await?;
    if !is_right || !is_allowed {
        lockout.start_delay().await?;
        lockout.record_failure().await?;
        refused(if is_right {
            account_refusal(&account, client_address).unwrap_or_else(|| basic_refusal(&account))
        } else {
            LoginRefusal::WrongPassword
        });
        return Ok(Err(Code::BasicRefused));
    }
    attempt.succeed();
    if let Some(digest) = digest {
        cache.insert(digest);
    }
    Ok(Ok(account))
}

/// The reason why Basic authentication is refused to an account that may log in otherwise.
fn basic_refusal(account: &Account) -> LoginRefusal {
    if account.status == AccountStatus::PasswordChangeRequired {
        LoginRefusal::PasswordChangeRequired
    } else {
        LoginRefusal::TypeNotAllowed
    }
}

/// Whether the password is that of the account. Without an account the same time is spent.
async fn verify_password(
    unit: &Arc<Unit>,
    context: &CellContext,
    account: Option<&Account>,
    password: &str,
) -> Result<bool> {
    let stored = account.and_then(|a| a.hash.clone());
    let (keys, password) = (Arc::clone(unit.keys()), password.to_owned());
    let cell = context.cell().id;
    unit.credentials()
        .hashing
        .run(cell, move || match &stored {
            Some(stored) => {
                let verified = password::verify(&keys.password_hashing, stored, &password);
                verified.unwrap_or_else(|error| {
                    tracing::warn!(cell.id = %cell, %error, "stored password hash is not usable");
                    false
                })
            }
            None => {
                password::dummy_verify(&keys.password_hashing, &password);
                false
            }
        })
        .await
}

/// Hashes the password again if the unit's hash settings changed since it was stored. A failure is only logged: the
/// next login tries again.
async fn rehash_if_outdated(
    unit: &Arc<Unit>,
    context: &CellContext,
    account: &Account,
    password: &str,
) {
    let Some(stored) = &account.hash else { return };
    if !password::needs_rehash(&unit.keys().password_hashing, stored) {
        return;
    }
    let done = account::rehash(unit, context, account, stored, password.to_owned()).await;
    if let Err(error) = done {
        let cell = context.cell().id;
        tracing::info!(cell.id = %cell, %error, "failed to rehash a password, next login retries");
    }
}
