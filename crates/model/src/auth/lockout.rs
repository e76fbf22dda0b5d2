//! The delay and the lock after failed logins to one account. The state is in the cache that all nodes share.

use std::time::Duration;

use bytes::Bytes;
use personium_types::Result;
use personium_types::hex;

use super::account::Account;
use crate::records::store_error;
use crate::{CellContext, Unit};

/// The largest length of an unknown account name in a cache key.
const MAX_NAME_CHARS: usize = 128;

/// Tracks failed logins to one account.
pub(super) struct LockoutTracker<'a> {
    unit: &'a Unit,
    key: String,
}

impl<'a> LockoutTracker<'a> {
    /// Creates the tracker of an account, or of a name without an account. Such a name is client input, so only its
    /// beginning is used.
    pub fn new(
        unit: &'a Unit,
        context: &CellContext,
        name: &str,
        account: Option<&Account>,
    ) -> Self {
        let cell = context.cell().id;
        let key = match account {
            Some(account) => format!("{cell}/{}", account.id),
            None => {
                let name: String = name.chars().take(MAX_NAME_CHARS).collect();
                format!("{cell}/?{}", hex::encode(name.as_bytes()))
            }
        };
        Self { unit, key }
    }

    /// A key that identifies the account in this unit.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn delay_key(&self) -> String {
        format!("login-wait/{}", self.key)
    }

    fn count_key(&self) -> String {
        format!("login-failed/{}", self.key)
    }

    /// Whether the delay after a failed attempt has not passed yet.
    pub async fn is_delayed(&self) -> Result<bool> {
        if self.unit.settings().auth.retry_after_secs == 0 {
            return Ok(false);
        }
        let found = self.unit.cache().get(&self.delay_key()).await;
        Ok(found.map_err(store_error)?.is_some())
    }

    /// Starts the delay after a failed attempt.
    pub async fn start_delay(&self) -> Result<()> {
        let seconds = self.unit.settings().auth.retry_after_secs;
        if seconds == 0 {
            return Ok(());
        }
        let ttl = Duration::from_secs(seconds);
        let cache = self.unit.cache();
        cache
            .put(&self.delay_key(), Bytes::from_static(b"1"), ttl)
            .await
            .map_err(store_error)
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

    /// Whether the account is locked.
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

    /// Counts a failed attempt.
    pub async fn record_failure(&self) -> Result<()> {
        let Some((_, ttl)) = self.lock_rule() else {
            return Ok(());
        };
        let counted = self.unit.cache().increment(&self.count_key(), ttl).await;
        counted.map_err(store_error).map(|_| ())
    }

    /// Resets the count after a login.
    pub async fn reset(&self) -> Result<()> {
        if self.lock_rule().is_none() {
            return Ok(());
        }
        let removed = self.unit.cache().remove(&self.count_key()).await;
        removed.map_err(store_error)
    }
}
