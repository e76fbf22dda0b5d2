//! Logging in with a password.
//!
//! Attempts on one account are dealt with one after another, so that many at once cannot get past the wait that a
//! failed one starts. Whether an account exists shows neither in the answer nor in its time: where there is nothing
//! to compare, the same work is done for nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use personium_store::StoreError;
use personium_token::{hex, password};
use personium_types::{Code, Result};

use super::account::{self, Account, AccountStatus};
use super::ip_range;
use super::login_history::{self, LoginHistory};
use crate::records::store_error;
use crate::{CellContext, Unit};

/// Attempts on one account that wait for each other at most.
const MAX_WAITING_PER_ACCOUNT: usize = 1_024;

/// One attempt to log in.
#[derive(Debug)]
pub struct LoginRequest<'a> {
    /// The account name as given.
    pub name: &'a str,
    /// The password as given.
    pub password: &'a str,
    /// Where it comes from.
    pub client_address: Option<IpAddr>,
    /// By which way.
    pub channel: LoginChannel,
}

/// By which way somebody logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginChannel {
    /// The token endpoint: only for accounts of the type `basic`.
    Grant,
    /// The login form.
    Form,
}

/// What an attempt led to.
#[derive(Debug)]
pub enum LoginOutcome {
    /// The account may come in.
    Authenticated(Login),
    /// The password is right, but must be changed first.
    PasswordChangeRequired(Login),
    /// No; why is nobody's business.
    Refused,
}

/// An account that proved itself.
#[derive(Debug)]
pub struct Login {
    /// The account.
    pub account: Account,
    /// Its history before; empty if it is not kept.
    pub history: LoginHistory,
}

/// AccountLocks of attempts, one an account.
#[derive(Default)]
pub struct AccountLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

struct AccountLock<'a> {
    turns: &'a AccountLocks,
    key: String,
    lock: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl AccountLocks {
    async fn lock(&self, key: String) -> Result<AccountLock<'_>> {
        let lock = {
            let mut queues = self.0.lock();
            let lock = queues.entry(key.clone()).or_default();
            if Arc::strong_count(lock) > MAX_WAITING_PER_ACCOUNT {
                return Err(Code::ServerBusy.into());
            }
            Arc::clone(lock)
        };
        let mut turn = AccountLock {
            turns: self,
            key,
            lock: None,
        };
        turn.lock = Some(lock.lock_owned().await);
        Ok(turn)
    }
}

impl Drop for AccountLock<'_> {
    fn drop(&mut self) {
        self.lock = None;
        let mut queues = self.turns.0.lock();
        if queues
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            queues.remove(&self.key);
        }
    }
}

/// Logs in by name and password.
///
/// # Errors
/// 429 if too many logins from that address failed lately; 503 if too much is being hashed; failures of store and cache.
/// A refusal is no error.
pub async fn login(
    unit: &Arc<Unit>,
    context: &CellContext,
    attempt: &LoginRequest<'_>,
) -> Result<LoginOutcome> {
    let paced = unit
        .login_rate_limiter()
        .begin(attempt.client_address, unit.now_ms())?;
    let outcome = authenticate(unit, context, attempt).await;
    if !matches!(outcome, Ok(LoginOutcome::Refused)) {
        paced.succeed();
    }
    outcome
}

async fn authenticate(
    unit: &Arc<Unit>,
    context: &CellContext,
    attempt: &LoginRequest<'_>,
) -> Result<LoginOutcome> {
    let known = account::find(context, attempt.name).await?;
    let guard = LockoutTracker::of(unit, context, attempt.name, known.as_ref());
    let may = |known: &Account| attempt.channel == LoginChannel::Form || known.has_type("basic");
    let Some(known) = known.filter(may) else {
        if !guard.is_delayed().await? {
            verify_password(unit, context, None, attempt.password).await?;
        }
        guard.start_delay().await?;
        return Ok(LoginOutcome::Refused);
    };
    let _turn = unit.account_locks().lock(guard.key.clone()).await?;
    let recorded = login_history::is_recorded(context, &known.name).await?;
    let passed = !guard.is_delayed().await?
        && credentials_valid(unit, context, &guard, &known, attempt).await?;
    if !passed {
        guard.start_delay().await?;
        guard.record_failure().await?;
        if recorded {
            login_history::record_failure(context, &known.id).await?;
        }
        return Ok(LoginOutcome::Refused);
    }
    guard.reset().await?;
    let must_change = known.status == AccountStatus::PasswordChangeRequired;
    let history = match (recorded, must_change) {
        (false, _) => LoginHistory::default(),
        (true, true) => login_history::find(context, &known.id).await?,
        (true, false) => login_history::record_success(context, &known.id, unit.now_ms()).await?,
    };
    rehash_if_outdated(unit, context, &known, attempt.password).await;
    let login = Login {
        account: known,
        history,
    };
    Ok(if must_change {
        LoginOutcome::PasswordChangeRequired(login)
    } else {
        LoginOutcome::Authenticated(login)
    })
}

/// Every check but the wait; the password is compared in any case, so that the time does not tell which one failed.
async fn credentials_valid(
    unit: &Arc<Unit>,
    context: &CellContext,
    guard: &LockoutTracker<'_>,
    known: &Account,
    attempt: &LoginRequest<'_>,
) -> Result<bool> {
    let locked = guard.is_locked().await?;
    let right = verify_password(unit, context, Some(known), attempt.password).await?;
    Ok(right
        && !locked
        && ip_range::allows(known.ip_range.as_deref(), attempt.client_address)
        && known.status != AccountStatus::Deactivated)
}

/// Name and password of one request to a resource, by an account that may log in from this address. The code says what
/// to tell if something needs the account.
///
/// # Errors
/// As [`login`].
pub async fn authenticate_basic(
    unit: &Arc<Unit>,
    context: &CellContext,
    (name, password): (&str, &str),
    client: Option<IpAddr>,
) -> Result<Result<Account, Code>> {
    let paced = unit.login_rate_limiter().begin(client, unit.now_ms())?;
    let known = account::find(context, name).await?;
    let guard = LockoutTracker::of(unit, context, name, known.as_ref());
    let Some(known) = known else {
        verify_password(unit, context, None, password).await?;
        guard.start_delay().await?;
        return Ok(Err(Code::BasicRefused));
    };
    if guard.is_locked().await? {
        guard.start_delay().await?;
        return Ok(Err(Code::AccountLocked));
    }
    let mark = known.hash.as_ref().and_then(|stored| {
        unit.verified_passwords()
            .digest(&known.id, stored, password)
    });
    let may_log_in = known.status == AccountStatus::Active
        && known.has_type("basic")
        && ip_range::allows(known.ip_range.as_deref(), client);
    if may_log_in && mark.is_some_and(|mark| unit.verified_passwords().contains(mark)) {
        paced.succeed();
        return Ok(Ok(known));
    }
    if !verify_password(unit, context, Some(&known), password).await? || !may_log_in {
        guard.start_delay().await?;
        guard.record_failure().await?;
        return Ok(Err(Code::BasicRefused));
    }
    paced.succeed();
    if let Some(mark) = mark {
        unit.verified_passwords().insert(mark);
    }
    Ok(Ok(known))
}

/// Whether the password is that of the account; without one, the time that this takes.
async fn verify_password(
    unit: &Arc<Unit>,
    context: &CellContext,
    account: Option<&Account>,
    password: &str,
) -> Result<bool> {
    let stored = account.and_then(|a| a.hash.clone());
    let (keys, password) = (Arc::clone(unit.keys()), password.to_owned());
    unit.hashing()
        .run(context.cell().id, move || match &stored {
            Some(stored) => match password::verify(&keys.password_hashing, stored, &password) {
                Ok(right) => right,
                Err(failure) => {
                    tracing::warn!("a stored password hash cannot be used: {failure}");
                    false
                }
            },
            None => {
                password::dummy_verify(&keys.password_hashing, &password);
                false
            }
        })
        .await
}

/// Hashes the password anew if the unit's settings changed since. A failure only means that it is tried again.
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
    if let Err(failure) = done {
        tracing::info!("a password was not hashed anew: {failure}");
    }
}

/// What failed attempts on one account lead to, kept in the cache that all nodes share.
struct LockoutTracker<'a> {
    unit: &'a Unit,
    key: String,
}

impl<'a> LockoutTracker<'a> {
    /// For an account, or for a name without one. Such a name comes from anybody: only so much of it counts.
    fn of(unit: &'a Unit, context: &CellContext, name: &str, known: Option<&Account>) -> Self {
        let cell = context.cell().id;
        let key = match known {
            Some(known) => format!("{cell}/{}", known.id),
            None => {
                let name: String = name.chars().take(128).collect();
                format!("{cell}/?{}", hex::encode(name.as_bytes()))
            }
        };
        Self { unit, key }
    }

    fn wait_key(&self) -> String {
        format!("login-wait/{}", self.key)
    }

    fn count_key(&self) -> String {
        format!("login-failed/{}", self.key)
    }

    async fn is_delayed(&self) -> Result<bool> {
        if self.unit.settings().auth.interval_seconds == 0 {
            return Ok(false);
        }
        let found = self.unit.cache().get(&self.wait_key()).await;
        Ok(found.map_err(store_error)?.is_some())
    }

    async fn start_delay(&self) -> Result<()> {
        let seconds = self.unit.settings().auth.interval_seconds;
        if seconds == 0 {
            return Ok(());
        }
        let ttl = Duration::from_secs(seconds);
        let cache = self.unit.cache();
        cache
            .put(&self.wait_key(), Bytes::from_static(b"1"), ttl)
            .await
            .map_err(store_error)
    }

    /// How many failures lock an account and for how long; `None` if that is switched off.
    fn lock_rule(&self) -> Option<(u64, Duration)> {
        let rules = &self.unit.settings().auth;
        (rules.lock_count > 0 && rules.lock_seconds > 0)
            .then(|| (rules.lock_count, Duration::from_secs(rules.lock_seconds)))
    }

    async fn is_locked(&self) -> Result<bool> {
        let Some((limit, _)) = self.lock_rule() else {
            return Ok(false);
        };
        let found = self.unit.cache().get(&self.count_key()).await;
        let count = found.map_err(store_error)?.and_then(|digits| {
            std::str::from_utf8(&digits)
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        });
        Ok(count.unwrap_or(0) >= limit)
    }

    async fn record_failure(&self) -> Result<()> {
        let Some((_, ttl)) = self.lock_rule() else {
            return Ok(());
        };
        let counted = self.unit.cache().increment(&self.count_key(), ttl).await;
        counted.map_err(store_error).map(|_| ())
    }

    async fn reset(&self) -> Result<()> {
        if self.lock_rule().is_none() {
            return Ok(());
        }
        let removed: Result<(), StoreError> = self.unit.cache().remove(&self.count_key()).await;
        removed.map_err(store_error)
    }
}
