//! The delay and the lock after failed logins to one account.
//!
//! Addresses that an account has logged in from lately are known to it. The delay counts for one account and one address. The
//! lock counts the failures of each known address, and those of all strangers together. So nobody else can keep a person out who
//! comes from a known address, and many addresses have no more attempts before the lock than one.
//!
//! What locks an account is a record of its cell, so it holds on all nodes and after a restart. An attempt is concluded by one
//! batch: a failed one counts, and a right password is accepted only if the account is not locked at that moment. Whatever
//! is tried at the same time, on one node or on several, no more answers tell whether a password is right than the lock permits.
//! A failed attempt costs one commit, whether the account exists or not, so that the time does not show it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use personium_store::{Batch, CommitSeq, Expect, Key};
use personium_types::{Error, Result};

use super::account::Account;
use super::failed_logins::{FailedLogins, FailureCount, address_digest};
use super::login_delay::LoginDelay;
use super::login_history::{self, LoginHistory};
use crate::credentials::account_locks::AccountLock;
use crate::keys::{self, ControlSet, SetKey};
use crate::records::{self, Records};
use crate::{CellContext, Unit};

/// The part of logins that is stored in the history of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HistoryUse {
    /// Nothing.
    Off,
    /// Failed attempts.
    Failures,
    /// Failed attempts and logins.
    All,
}

/// The target of an attempt to log in.
pub(super) struct AttemptTarget<'a> {
    /// The account name as the client sent it.
    pub name: &'a str,
    /// The account of this name.
    pub account: Option<&'a Account>,
    /// The use of its history; `None` if its failed attempts are not counted.
    pub counted: Option<HistoryUse>,
}

/// An account with failed logins to count.
#[derive(Clone)]
struct TrackedAccount {
    id: String,
    /// The digest of the client address.
    address: String,
    history: HistoryUse,
    /// The failed logins as they were last read.
    logins: FailedLogins,
}

/// Tracks failed logins to one account, or to a name without an account, from one address.
#[derive(Clone)]
pub(super) struct LockoutTracker {
    unit: Arc<Unit>,
    records: Records,
    delay: LoginDelay,
    account: Option<TrackedAccount>,
}

impl LockoutTracker {
    /// Finds the tracker of an account, or of a name without an account.
    pub async fn find(
        unit: &Arc<Unit>,
        context: &CellContext,
        target: &AttemptTarget<'_>,
        client_address: Option<IpAddr>,
    ) -> Result<Self> {
        let named = (target.name, target.account);
        let counted = target.account.zip(target.counted);
        let mut tracker = Self {
            unit: Arc::clone(unit),
            records: context.records().clone(),
            delay: LoginDelay::new(unit, context, named, client_address),
            account: counted.map(|(account, history)| TrackedAccount {
                id: account.id.clone(),
                address: address_digest(&account.id, client_address),
                history,
                logins: FailedLogins::default(),
            }),
        };
        tracker.read_again().await?;
        Ok(tracker)
    }

    /// Reads the failed logins as they are stored now.
    async fn read_again(&mut self) -> Result<()> {
        if let Some(account) = &mut self.account {
            account.logins = read(&self.records, &account.id).await?.0;
        }
        Ok(())
    }

    /// A key that identifies the account in this unit.
    pub fn account(&self) -> &str {
        self.delay.account()
    }

    /// Whether the account has logged in from the address lately.
    pub fn is_known(&self) -> bool {
        let now_ms = self.unit.now_ms();
        let account = self.account.as_ref();
        account.is_some_and(|account| account.logins.is_known(&account.address, now_ms))
    }

    /// Waits until no other attempt runs in this process that shares delay or lock with this one, then reads the failed logins.
    pub async fn wait_for_turn<'u>(&mut self, unit: &'u Unit) -> Result<AccountLock<'u>> {
        let shares_lock = self.lock_rule().is_some();
        let key = if shares_lock {
            self.lock_scope()
        } else {
            self.delay.source()
        };
        let turn = unit.credentials().account_locks.lock(key.to_owned());
        let turn = turn.await?;
        self.read_again().await?;
        Ok(turn)
    }

    /// The key of the failures that are counted together.
    fn lock_scope(&self) -> &str {
        if self.is_known() {
            self.delay.source()
        } else {
            self.delay.account()
        }
    }

    /// Whether the delay after a failed attempt has not passed yet.
    pub async fn is_delayed(&self) -> bool {
        self.delay.is_running().await
    }

    /// Whether the account was locked for this address when its failed logins were last read.
    pub fn is_locked(&self) -> bool {
        let account = self.account.as_ref();
        account.is_some_and(|account| self.locks(account, &account.logins))
    }

    /// The number of failures that lock an account, and for how long; `None` if accounts are never locked.
    fn lock_rule(&self) -> Option<(u64, Duration)> {
        let rules = &self.unit.settings().auth;
        (rules.lock_after_failures > 0 && rules.lock_secs > 0).then(|| {
            (
                rules.lock_after_failures,
                Duration::from_secs(rules.lock_secs),
            )
        })
    }

    /// Whether these failed logins lock the account for this address.
    fn locks(&self, account: &TrackedAccount, logins: &FailedLogins) -> bool {
        let Some((limit, duration)) = self.lock_rule() else {
            return false;
        };
        let failures = logins.of(&account.address, self.unit.now_ms());
        failures.count >= limit && !self.is_over(failures, duration)
    }

    /// Whether failures are too long ago to count. The clock of the node that stored them may be ahead of ours.
    fn is_over(&self, failures: FailureCount, duration: Duration) -> bool {
        let elapsed_ms = self.unit.now_ms().saturating_sub(failures.last_ms);
        let age = match u64::try_from(elapsed_ms) {
            Ok(elapsed_ms) => Duration::from_millis(elapsed_ms),
            Err(_) => {
                let ages = &self.unit.credentials().failure_ages;
                let last = (failures.last_ms, failures.count);
                ages.since_first_seen(self.lock_scope(), last, self.unit.monotonic())
            }
        };
        age >= duration
    }

    /// Counts a failed attempt, even if the caller is cancelled meanwhile: starts the delay, and counts towards the lock and in the
    /// history. Returns whether the account was locked before.
    pub async fn record_failure(&self) -> Result<bool> {
        let tracker = self.clone();
        let recorded = tokio::spawn(async move { tracker.count_failure().await });
        recorded.await.map_err(Error::internal)?
    }

    async fn count_failure(&self) -> Result<bool> {
        self.delay.start().await;
        self.records
            .transact(|| async {
                let mut batch = Batch::new();
                batch.add(keys::failed_logins(), 1);
                let Some(account) = &self.account else {
                    return Ok((batch, false));
                };
                if !assert_present(&self.records, &account.id, &mut batch).await? {
                    return Ok((batch, false));
                }
                if account.history != HistoryUse::Off {
                    login_history::add_failure(&self.records, &account.id, &mut batch).await?;
                }
                let Some((_, duration)) = self.lock_rule() else {
                    return Ok((batch, false));
                };
                let (mut logins, version) = read(&self.records, &account.id).await?;
                let was_locked = self.locks(account, &logins);
                let now_ms = self.unit.now_ms();
                let is_over = self.is_over(logins.of(&account.address, now_ms), duration);
                logins.add(&account.address, now_ms, is_over);
                // From now on it is seen, in case that its time lies in the future.
                self.is_over(logins.of(&account.address, now_ms), duration);
                put(&mut batch, &account.id, version, &logins)?;
                Ok((batch, was_locked))
            })
            .await
    }

    /// Concludes an attempt with the right password: forgets the failures, remembers the address, and records the login in the
    /// history. Returns the history before it; `None` if the account is locked now. It costs a commit only if that changes
    /// something.
    pub async fn record_success(&self) -> Result<Option<LoginHistory>> {
        let Some(account) = &self.account else {
            return Ok(None);
        };
        self.records
            .transact(|| async {
                let mut batch = Batch::new();
                let (mut logins, version) = read(&self.records, &account.id).await?;
                if self.locks(account, &logins) {
                    return Ok((batch, None));
                }
                let now_ms = self.unit.now_ms();
                if logins.succeed(&account.address, now_ms) {
                    put(&mut batch, &account.id, version, &logins)?;
                }
                let id = &account.id;
                let history = match account.history {
                    HistoryUse::Off => LoginHistory::default(),
                    HistoryUse::Failures => login_history::find(&self.records, id).await?,
                    HistoryUse::All => {
                        login_history::add_login(&self.records, id, now_ms, &mut batch).await?
                    }
                };
                // An account that was deleted meanwhile leaves no records behind.
                if !batch.is_empty() && !assert_present(&self.records, id, &mut batch).await? {
                    return Ok((Batch::new(), Some(history)));
                }
                Ok((batch, Some(history)))
            })
            .await
    }
}

/// The failed logins to an account as they are stored, with the version to assert.
async fn read(records: &Records, account: &str) -> Result<(FailedLogins, Option<CommitSeq>)> {
    let found = records
        .find::<FailedLogins>(&keys::failed_logins_of(account))
        .await?;
    let version = found.as_ref().map(|found| found.version);
    Ok((found.map(|found| found.value).unwrap_or_default(), version))
}

fn put(
    batch: &mut Batch,
    account: &str,
    version: Option<CommitSeq>,
    logins: &FailedLogins,
) -> Result<()> {
    records::put_checked(batch, keys::failed_logins_of(account), version, logins)
}

/// Asserts that an account exists. Returns whether it does.
async fn assert_present(records: &Records, account: &str, batch: &mut Batch) -> Result<bool> {
    let key: Key = keys::entity(&SetKey::control(ControlSet::Account), account);
    let is_present = records.find_version(&key).await?.is_some();
    if is_present {
        batch.assert(key, Expect::Present);
    }
    Ok(is_present)
}

/// Counts an attempt as failed if the client goes away while its password is compared.
pub(super) struct CountedIfCancelled(Option<LockoutTracker>);

impl CountedIfCancelled {
    pub fn new(tracker: &LockoutTracker) -> Self {
        Self(Some(tracker.clone()))
    }

    /// The comparison has ended.
    pub fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for CountedIfCancelled {
    fn drop(&mut self) {
        let (Some(tracker), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = tracker.count_failure().await {
                tracing::warn!(%error, "failed to count a cancelled login");
            }
        });
    }
}
