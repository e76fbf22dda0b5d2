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
            Ok(found) => found.is_some(),
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
        let value = Bytes::from_static(b"1");
        if let Err(error) = self.unit.cache().put(&self.key(), value, duration).await {
            tracing::debug!(%error, "failed to start the delay of a login");
        }
    }
}
