//! The delay and the lock after failed logins to one account. The state is in the cache that all nodes share.
//!
//! Addresses that an account has logged in from lately are known to it. The delay counts for one account and one address. The
//! lock counts the failures of each known address, and those of all strangers together. So nobody else can keep a person out who
//! comes from a known address, and many addresses have no more attempts before the lock than one.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use personium_types::Result;
use personium_types::hex;

use super::account::Account;
use crate::credentials::account_locks::AccountLock;
use crate::credentials::login_rate_limiter::address_key;
use crate::records::store_error;
use crate::{CellContext, Unit};

/// The largest length of an unknown account name in a cache key.
const MAX_NAME_CHARS: usize = 128;
/// The time for which an address stays known after a login.
const KNOWN_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Tracks failed logins to one account from one address.
pub(super) struct LockoutTracker<'a> {
    unit: &'a Unit,
    /// The account in this unit.
    account: String,
    /// The account and the address.
    source: String,
    is_known: bool,
}

impl<'a> LockoutTracker<'a> {
    /// Finds the tracker of an account, or of a name without an account. Such a name is client input, so only its
    /// beginning is used.
    pub async fn find(
        unit: &'a Unit,
        context: &CellContext,
        (name, account): (&str, Option<&Account>),
        client_address: Option<IpAddr>,
    ) -> Result<Self> {
        let cell = context.cell().id;
        let account = match account {
            Some(account) => format!("{cell}/{}", account.id),
            None => {
                let name: String = name.chars().take(MAX_NAME_CHARS).collect();
                format!("{cell}/?{}", hex::encode(name.as_bytes()))
            }
        };
        let source = format!("{account}/{}", address_key(client_address));
        let mut tracker = Self {
            unit,
            account,
            source,
            is_known: false,
        };
        let known = unit.cache().get(&tracker.known_key()).await;
        tracker.is_known = known.map_err(store_error)?.is_some();
        Ok(tracker)
    }

    /// A key that identifies the account in this unit.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether the account has logged in from the address lately.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Waits until no other attempt runs that shares delay or lock with this one.
    pub async fn wait_for_turn(&self) -> Result<AccountLock<'a>> {
        let shares_lock = self.lock_rule().is_some();
        let key = if shares_lock {
            self.lock_scope()
        } else {
            &self.source
        };
        self.unit
            .credentials()
            .account_locks
            .lock(key.to_owned())
            .await
    }

    /// The key of the failures that are counted together.
    fn lock_scope(&self) -> &str {
        if self.is_known {
            &self.source
        } else {
            &self.account
        }
    }

    fn known_key(&self) -> String {
        format!("login-known/{}", self.source)
    }

    fn delay_key(&self) -> String {
        format!("login-wait/{}", self.source)
    }

    fn count_key(&self) -> String {
        format!("login-failed/{}", self.lock_scope())
    }

    /// Whether the delay after a failed attempt has not passed yet.
    pub async fn is_delayed(&self) -> Result<bool> {
        if self.unit.settings().auth.retry_after_secs == 0 {
            return Ok(false);
        }
        let found = self.unit.cache().get(&self.delay_key()).await;
        Ok(found.map_err(store_error)?.is_some())
    }

    /// Counts an attempt as failed, before its password is compared: starts the delay, and counts towards the lock.
    pub async fn record_failure(&self) -> Result<()> {
        let cache = self.unit.cache();
        let seconds = self.unit.settings().auth.retry_after_secs;
        if seconds > 0 {
            let (value, ttl) = (Bytes::from_static(b"1"), Duration::from_secs(seconds));
            let put = cache.put(&self.delay_key(), value, ttl).await;
            put.map_err(store_error)?;
        }
        if let Some((_, ttl)) = self.lock_rule() {
            let counted = cache.increment(&self.count_key(), ttl).await;
            counted.map_err(store_error)?;
        }
        Ok(())
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

    /// Whether the account is locked for this address.
    pub async fn is_locked(&self) -> Result<bool> {
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

    /// Forgets delay and count after a login, and remembers the address.
    pub async fn record_success(&self) -> Result<()> {
        let cache = self.unit.cache();
        if self.unit.settings().auth.retry_after_secs > 0 {
            let removed = cache.remove(&self.delay_key()).await;
            removed.map_err(store_error)?;
        }
        if self.lock_rule().is_some() {
            let removed = cache.remove(&self.count_key()).await;
            removed.map_err(store_error)?;
        }
        let known = Bytes::from_static(b"1");
        let put = cache.put(&self.known_key(), known, KNOWN_TTL).await;
        put.map_err(store_error)
    }
}
