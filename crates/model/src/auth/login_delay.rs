//! The delay after a failed login to one account from one address.
//!
//! It only slows guessing down, so it is in the cache: it may be lost. Failures of the cache count as no delay. The lock, which
//! limits the number of guesses, is in the records ([`super::lockout`]).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_types::hex;

use super::account::Account;
use crate::credentials::login_rate_limiter::address_key;
use crate::{CellContext, Unit};

/// The largest length of an unknown account name in a cache key.
const MAX_NAME_CHARS: usize = 128;

/// Whether a delay that ends at this time is over. A shared cache keeps values for up to two seconds longer than it was told to, so
/// the value is the end. The clock of the node that stored it may be another one: if it is behind, the delay may be over too early; if
/// it is ahead, the delay is over when the cache forgets it.
fn has_passed(end: &[u8], now_ms: i64) -> bool {
    let end_ms = std::str::from_utf8(end)
        .ok()
        .and_then(|end| end.parse().ok());
    end_ms.is_some_and(|end_ms: i64| now_ms >= end_ms)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The delay of one account, or of a name without an account, and one address.
#[derive(Clone)]
pub(super) struct LoginDelay {
    unit: Arc<Unit>,
    /// The account in this unit.
    account: String,
    /// The account and the address.
    source: String,
}

impl LoginDelay {
    /// The delay of an account, or of a name without an account. Such a name is client input, so only its beginning is used.
    pub fn new(
        unit: &Arc<Unit>,
        context: &CellContext,
        (name, account): (&str, Option<&Account>),
        client_address: Option<IpAddr>,
    ) -> Self {
        let cell = context.cell().id;
        let account = match account {
            Some(account) => format!("{cell}/{}", account.id),
            None => {
                let name: String = name.chars().take(MAX_NAME_CHARS).collect();
                format!("{cell}/?{}", hex::encode(name.as_bytes()))
            }
        };
        let source = format!("{account}/{}", address_key(client_address));
        Self {
            unit: Arc::clone(unit),
            account,
            source,
        }
    }

    /// A key that identifies the account in this unit.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// A key that identifies account and address in this unit.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn key(&self) -> String {
        format!("login-wait/{}", self.source)
    }

    fn duration(&self) -> Option<Duration> {
        let seconds = self.unit.settings().auth.retry_after_secs;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Whether the delay after a failed attempt has not passed yet.
    pub async fn is_running(&self) -> bool {
        if self.duration().is_none() {
            return false;
        }
        match self.unit.cache().get(&self.key()).await {
            Ok(found) => found.is_some_and(|end| !has_passed(&end, self.unit.now_ms())),
            Err(error) => {
                tracing::debug!(%error, "failed to read the delay of a login, none is assumed");
                false
            }
        }
    }

    /// Starts the delay, or starts it again.
    pub async fn start(&self) {
        let Some(duration) = self.duration() else {
            return;
        };
        let end_ms = self.unit.now_ms().saturating_add(millis(duration));
        let value = Bytes::from(end_ms.to_string());
        if let Err(error) = self.unit.cache().put(&self.key(), value, duration).await {
            tracing::debug!(%error, "failed to start the delay of a login");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_has_passed_at_its_end_and_not_before() {
        for (end, now_ms, expected) in [
            ("1000", 999, false),
            ("1000", 1_000, true),
            // What earlier versions stored.
            ("x", 1_000, false),
            ("", 1_000, false),
        ] {
            assert_eq!(
                has_passed(end.as_bytes(), now_ms),
                expected,
                "{end} {now_ms}"
            );
        }
    }
}
