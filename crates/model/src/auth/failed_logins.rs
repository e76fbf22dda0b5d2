//! The record of failed logins to one account: it decides when the account is locked.
//!
//! It has a bounded size: the failures of each known address, and those of all strangers together. Addresses are stored as
//! digests.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::credentials::login_rate_limiter::address_key;

const DAY_MS: i64 = 86_400_000;
/// The time for which an address stays known after a login.
const KNOWN_MS: i64 = 30 * DAY_MS;
/// The age of the last stored login from an address from which on the next one is stored.
const RENEWED_AFTER_MS: i64 = DAY_MS;
/// The largest number of known addresses of an account; the one with the oldest login makes room for a new one.
const MAX_KNOWN: usize = 16;
/// The number of bytes of the digest that stands for an address.
const DIGEST_BYTES: usize = 12;

/// Failures that are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FailureCount {
    /// Their number.
    #[serde(rename = "n", default)]
    pub count: u64,
    /// The time of the last one, milliseconds since 1970.
    #[serde(rename = "t", default)]
    pub last_ms: i64,
}

impl FailureCount {
    fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Counts a failure. The time never goes back, so that of several clocks the fastest one counts.
    fn add(&mut self, now_ms: i64) {
        self.count = self.count.saturating_add(1);
        self.last_ms = self.last_ms.max(now_ms);
    }
}

/// An address that the account has logged in from lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownAddress {
    /// Its digest.
    #[serde(rename = "a")]
    address: String,
    /// The time of a login from it, milliseconds since 1970; later logins of the next day are not stored.
    #[serde(rename = "l")]
    login_ms: i64,
    #[serde(rename = "f", default, skip_serializing_if = "FailureCount::is_none")]
    failures: FailureCount,
}

impl KnownAddress {
    fn is_known(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.login_ms) < KNOWN_MS
    }
}

/// The failed logins to one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FailedLogins {
    /// The failures of all addresses that are not known.
    #[serde(rename = "s", default, skip_serializing_if = "FailureCount::is_none")]
    strangers: FailureCount,
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    known: Vec<KnownAddress>,
}

impl FailedLogins {
    /// Whether the account has logged in from this address lately.
    pub fn is_known(&self, address: &str, now_ms: i64) -> bool {
        self.find(address, now_ms).is_some()
    }

    fn find(&self, address: &str, now_ms: i64) -> Option<&KnownAddress> {
        let mut known = self.known.iter();
        known.find(|known| known.address == address && known.is_known(now_ms))
    }

    /// The failures that count for an address: its own if it is known, those of all strangers otherwise.
    pub fn of(&self, address: &str, now_ms: i64) -> FailureCount {
        let known = self.find(address, now_ms);
        known.map_or(self.strangers, |known| known.failures)
    }

    /// Counts a failure of an address. With `starts_anew` the former ones are over.
    pub fn add(&mut self, address: &str, now_ms: i64, starts_anew: bool) {
        let mut known = self.known.iter_mut();
        let known = known.find(|known| known.address == address && known.is_known(now_ms));
        let failures = known.map_or(&mut self.strangers, |known| &mut known.failures);
        if starts_anew {
            failures.count = 0;
        }
        failures.add(now_ms);
    }

    /// Forgets the failures that count for an address, which has logged in, and remembers the address. Returns whether that
    /// changes anything that must be stored.
    pub fn succeed(&mut self, address: &str, now_ms: i64) -> bool {
        let failures = self.of(address, now_ms);
        let login_ms = self.find(address, now_ms).map(|known| known.login_ms);
        let age_ms = login_ms.map(|login_ms| now_ms.saturating_sub(login_ms));
        if failures.is_none() && age_ms.is_some_and(|age_ms| age_ms < RENEWED_AFTER_MS) {
            return false;
        }
        if login_ms.is_none() {
            self.strangers = FailureCount::default();
        }
        self.known
            .retain(|known| known.address != address && known.is_known(now_ms));
        self.known.sort_by_key(|known| known.login_ms);
        let excess = (self.known.len() + 1).saturating_sub(MAX_KNOWN);
        self.known.drain(..excess);
        self.known.push(KnownAddress {
            address: address.to_owned(),
            login_ms: now_ms,
            failures: FailureCount::default(),
        });
        true
    }
}

/// The digest that stands for an address in the records of an account.
pub(super) fn address_digest(account: &str, client_address: Option<IpAddr>) -> String {
    let text = format!("{account}/{}", address_key(client_address));
    let digest = digest(&SHA256, text.as_bytes());
    let short = digest.as_ref().get(..DIGEST_BYTES).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    #[test]
    fn strangers_are_counted_together_and_each_known_address_for_itself() {
        let mut logins = FailedLogins::default();
        assert!(logins.succeed("home", NOW_MS));
        for stranger in ["a", "b", "c"] {
            logins.add(stranger, NOW_MS + 1, false);
        }
        logins.add("home", NOW_MS + 2, false);
        let counts = ["a", "d", "home"].map(|address| logins.of(address, NOW_MS).count);
        assert_eq!(counts, [3, 3, 1]);
        assert!(logins.succeed("home", NOW_MS + 3));
        let counts = ["a", "home"].map(|address| logins.of(address, NOW_MS).count);
        assert_eq!(counts, [3, 0], "only its own failures are forgotten");
        assert!(logins.succeed("a", NOW_MS + 4));
        assert_eq!(logins.of("b", NOW_MS).count, 0);
    }

    #[test]
    fn login_from_a_known_address_without_failures_changes_nothing_for_a_day() {
        let mut logins = FailedLogins::default();
        assert!(logins.succeed("home", NOW_MS));
        let before = logins.clone();
        assert!(!logins.succeed("home", NOW_MS + RENEWED_AFTER_MS - 1));
        assert_eq!(logins, before);
        assert!(logins.succeed("home", NOW_MS + RENEWED_AFTER_MS));
        assert!(logins.is_known("home", NOW_MS + RENEWED_AFTER_MS + KNOWN_MS - 1));
        assert!(!logins.is_known("home", NOW_MS + RENEWED_AFTER_MS + KNOWN_MS));
    }

    #[test]
    fn number_of_known_addresses_is_bounded() {
        let mut logins = FailedLogins::default();
        for n in 0..100 {
            assert!(logins.succeed(&n.to_string(), NOW_MS + n));
            assert!(logins.known.len() <= MAX_KNOWN);
        }
        assert!(logins.is_known("99", NOW_MS) && logins.is_known("84", NOW_MS));
        assert!(!logins.is_known("83", NOW_MS));
    }

    #[test]
    fn time_of_the_last_failure_never_goes_back() {
        let mut logins = FailedLogins::default();
        logins.add("a", NOW_MS + 3_600_000, false);
        logins.add("a", NOW_MS, false);
        let expected = FailureCount {
            count: 2,
            last_ms: NOW_MS + 3_600_000,
        };
        assert_eq!(logins.of("a", NOW_MS), expected);
        logins.add("a", NOW_MS + 7_200_000, true);
        assert_eq!(logins.of("a", NOW_MS).count, 1);
    }

    #[test]
    fn digest_of_an_address_depends_on_account_and_address() {
        let address = |text: &str| Some(text.parse().unwrap());
        let one = address_digest("a", address("192.0.2.1"));
        assert_eq!(one, address_digest("a", address("::ffff:192.0.2.1")));
        assert_ne!(one, address_digest("b", address("192.0.2.1")));
        assert_ne!(one, address_digest("a", address("192.0.2.2")));
        assert_ne!(one, address_digest("a", None));
    }
}
