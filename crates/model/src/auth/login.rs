//! Logins with name and password.
//!
//! Attempts on one account from one address are serialized, so that concurrent ones cannot bypass the delay after a failed
//! attempt; where accounts are locked, so are all attempts that count towards one lock.
//! Neither the result nor its time shows whether an account exists: where there is nothing to compare, the same work
//! is done for nothing.

use std::net::IpAddr;
use std::sync::Arc;

use personium_token::password;
use personium_types::{Code, Result};

use super::account::{self, Account, AccountStatus};
use super::ip_range;
use super::lockout::{AttemptTarget, CountedIfCancelled, HistoryUse, LockoutTracker};
use super::login_history::{self, LoginHistory};
use super::login_refusal::{LoginOrigin, LoginRefusal};
use crate::credentials::verified_passwords::PasswordDigest;
use crate::{CellContext, Unit};

/// A request to log in.
#[derive(Debug)]
pub struct LoginRequest<'a> {
    /// The account name as given.
    pub name: &'a str,
    /// The password as given.
    pub password: &'a str,
    /// Where it comes from.
    pub origin: LoginOrigin<'a>,
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
/// [`Code::LoginsTooMany`] if too many logins from this address failed lately, or too many to this account from unknown
/// addresses; [`Code::ServerBusy`] if the hashing queue is full or too many attempts on the account wait; failures of store and
/// cache.
pub async fn login(
    unit: &Arc<Unit>,
    context: &CellContext,
    request: &LoginRequest<'_>,
) -> Result<LoginOutcome> {
    let (name, origin) = (request.name, request.origin);
    let refused = |reason: LoginRefusal| reason.log(context, name, origin);
    let attempt = unit
        .credentials()
        .login_rate_limiter
        .begin(origin.client_address, unit.monotonic())
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
    let (name, client_address) = (request.name, request.origin.client_address);
    let found = account::find(context, name).await?;
    let is_allowed =
        |account: &&Account| request.channel == LoginChannel::Form || account.has_type("basic");
    let absent = match &found {
        None => LoginRefusal::NoAccount,
        Some(_) => LoginRefusal::TypeNotAllowed,
    };
    let Some(account) = found.as_ref().filter(is_allowed).cloned() else {
        let target = AttemptTarget {
            name,
            account: found.as_ref(),
            counted: None,
        };
        refuse_unknown(unit, context, &target, request).await?;
        return Ok(Err(absent));
    };
    let must_change = account.status == AccountStatus::PasswordChangeRequired;
    let is_recorded = login_history::is_recorded(context, &account.name).await?;
    let history = match (is_recorded, must_change) {
        (false, _) => HistoryUse::Off,
        (true, true) => HistoryUse::Failures,
        (true, false) => HistoryUse::All,
    };
    let target = AttemptTarget {
        name,
        account: Some(&account),
        counted: Some(history),
    };
    let mut lockout = LockoutTracker::find(unit, context, &target, client_address).await?;
    let _turn = lockout.wait_for_turn(unit).await?;
    let attempt = PasswordAttempt {
        account: &account,
        password: request.password,
        account_refusal: account_refusal(&account, client_address),
    };
    let history = match attempt.check(unit, context, &lockout).await? {
        Ok(history) => history,
        Err(refusal) => return Ok(Err(refusal)),
    };
    rehash_if_outdated(unit, context, &account, request.password).await;
    let login = Login { account, history };
    Ok(Ok(if must_change {
        LoginOutcome::PasswordChangeRequired(login)
    } else {
        LoginOutcome::Authenticated(login)
    }))
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

/// Refuses an attempt on a name without an account, or without one that may log in, with the same delays, limits and work as one
/// on an account.
async fn refuse_unknown(
    unit: &Arc<Unit>,
    context: &CellContext,
    target: &AttemptTarget<'_>,
    request: &LoginRequest<'_>,
) -> Result<()> {
    let lockout =
        LockoutTracker::find(unit, context, target, request.origin.client_address).await?;
    if !lockout.is_delayed().await {
        let counted = CountedIfCancelled::new(&lockout);
        let limiter = &unit.credentials().login_rate_limiter;
        let compared =
            match limiter.begin_on_account(lockout.account().to_owned(), unit.monotonic()) {
                Ok(_) => verify_password(unit, context, None, request.password).await,
                Err(refused) => Err(refused),
            };
        counted.end();
        compared?;
    }
    lockout.record_failure().await.map(drop)
}

/// A password that is given for an account.
struct PasswordAttempt<'a> {
    account: &'a Account,
    password: &'a str,
    /// The reason why the account may not log in, whatever the password.
    account_refusal: Option<LoginRefusal>,
}

impl PasswordAttempt<'_> {
    /// Makes all checks and records the outcome; returns the history before a login. The caller has waited for its turn. An attempt
    /// counts even if the client goes away meanwhile. The password is compared whether the account is locked or not, so that
    /// the time does not show which check failed.
    async fn check(
        &self,
        unit: &Arc<Unit>,
        context: &CellContext,
        lockout: &LockoutTracker,
    ) -> Result<Result<LoginHistory, LoginRefusal>> {
        let refusal = match self.find_refusal(unit, context, lockout).await? {
            Some(refusal) => refusal,
            None => match lockout.record_success().await? {
                Some(history) => return Ok(Ok(history)),
                None => LoginRefusal::Locked,
            },
        };
        let was_locked = lockout.record_failure().await?;
        Ok(Err(if was_locked || lockout.is_locked() {
            LoginRefusal::Locked
        } else {
            refusal
        }))
    }

    /// Compares the password, unless the attempt comes too soon. Returns the reason of a refusal.
    async fn find_refusal(
        &self,
        unit: &Arc<Unit>,
        context: &CellContext,
        lockout: &LockoutTracker,
    ) -> Result<Option<LoginRefusal>> {
        if lockout.is_delayed().await {
            return Ok(Some(LoginRefusal::TooSoon));
        }
        let limit = match lockout.is_known() {
            true => None,
            false => {
                let limiter = &unit.credentials().login_rate_limiter;
                let account = lockout.account().to_owned();
                Some(limiter.begin_on_account(account, unit.monotonic())?)
            }
        };
        let counted = CountedIfCancelled::new(lockout);
        let compared = verify_password(unit, context, Some(self.account), self.password).await;
        counted.end();
        let is_right = compared?;
        let refusal = if lockout.is_locked() {
            Some(LoginRefusal::Locked)
        } else if !is_right {
            Some(LoginRefusal::WrongPassword)
        } else {
            self.account_refusal
        };
        if let (None, Some(limit)) = (refusal, limit) {
            limit.succeed();
        }
        Ok(refusal)
    }

    /// The digest of the password for the cache of verified passwords; `None` if it cannot be cached.
    fn digest(&self, unit: &Unit) -> Option<PasswordDigest> {
        let cache = &unit.credentials().verified_passwords;
        let stored = self.account.hash.as_ref()?;
        cache.digest(&self.account.id, stored, self.password)
    }

    /// Whether the password was right lately, comes from a known address, and may be used to log in.
    async fn is_accepted(&self, unit: &Unit, lockout: &LockoutTracker) -> bool {
        let cache = &unit.credentials().verified_passwords;
        let is_cached = self
            .digest(unit)
            .is_some_and(|digest| cache.contains(digest));
        is_cached
            && self.account_refusal.is_none()
            && lockout.is_known()
            && !lockout.is_locked()
            && !lockout.is_delayed().await
    }

    /// As [`Self::check`], for clients that send the password with every request: a password that was right lately is not
    /// hashed again, if it comes from an address that the account has logged in from.
    async fn check_cached(
        &self,
        unit: &Arc<Unit>,
        context: &CellContext,
        lockout: &mut LockoutTracker,
    ) -> Result<Result<(), LoginRefusal>> {
        if self.is_accepted(unit, lockout).await {
            return Ok(Ok(()));
        }
        let _turn = lockout.wait_for_turn(unit).await?;
        if self.is_accepted(unit, lockout).await {
            return Ok(Ok(()));
        }
        let outcome = self.check(unit, context, lockout).await?.map(drop);
        if let (Ok(()), Some(digest)) = (outcome, self.digest(unit)) {
            unit.credentials().verified_passwords.insert(digest);
        }
        Ok(outcome)
    }
}

/// Authenticates one request with name and password (HTTP Basic). Lock and delay are those of [`login`]. The inner error is the
/// code with which an operation that needs an account refuses the request.
///
/// # Errors
/// As [`login`].
pub async fn authenticate_basic(
    unit: &Arc<Unit>,
    context: &CellContext,
    name: &str,
    password: &str,
    origin: LoginOrigin<'_>,
) -> Result<Result<Account, Code>> {
    let client_address = origin.client_address;
    let refused = |reason: LoginRefusal| reason.log(context, name, origin);
    let attempt = unit
        .credentials()
        .login_rate_limiter
        .begin(client_address, unit.monotonic())
        .inspect_err(|_| refused(LoginRefusal::TooManyFailures))?;
    let Some(account) = account::find(context, name).await? else {
        let request = LoginRequest {
            name,
            password,
            origin,
            channel: LoginChannel::Grant,
        };
        let target = AttemptTarget {
            name,
            account: None,
            counted: None,
        };
        refuse_unknown(unit, context, &target, &request).await?;
        refused(LoginRefusal::NoAccount);
        return Ok(Err(Code::BasicRefused));
    };
    let target = AttemptTarget {
        name,
        account: Some(&account),
        counted: Some(HistoryUse::Off),
    };
    let mut lockout = LockoutTracker::find(unit, context, &target, client_address).await?;
    let password_attempt = PasswordAttempt {
        account: &account,
        password,
        account_refusal: account_refusal(&account, client_address)
            .or_else(|| basic_refusal(&account)),
    };
    match password_attempt
        .check_cached(unit, context, &mut lockout)
        .await?
    {
        Ok(()) => {
            attempt.succeed();
            Ok(Ok(account))
        }
        Err(reason) => {
            refused(reason);
            Ok(Err(match reason {
                LoginRefusal::Locked => Code::AccountLocked,
                _ => Code::BasicRefused,
            }))
        }
    }
}

/// The reason why Basic authentication is refused to an account that may log in otherwise.
fn basic_refusal(account: &Account) -> Option<LoginRefusal> {
    if account.status == AccountStatus::PasswordChangeRequired {
        Some(LoginRefusal::PasswordChangeRequired)
    } else if !account.has_type("basic") {
        Some(LoginRefusal::TypeNotAllowed)
    } else {
        None
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
