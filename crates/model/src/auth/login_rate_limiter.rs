//! How fast failed logins may follow each other from one address, whatever the accounts and cells.
//!
//! A bucket for each address, kept as the one time at which it will be full again (the generic cell rate algorithm), so
//! that it costs a number and no timer. In this process only, for a bounded number of addresses: it slows down
//! guessing, and nothing stored depends on it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use personium_types::{Code, Error, Result};

use crate::settings::LoginRateLimit;

/// Addresses that are remembered at most.
const MAX_ADDRESSES: u64 = 100_000;
/// A minute, in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// The buckets of all addresses.
#[derive(Debug)]
pub struct LoginRateLimiter {
    /// Milliseconds in which one failed login is forgiven; `None` if any number may fail.
    interval: Option<i64>,
    /// Milliseconds that may be owed.
    most: i64,
    buckets: Cache<IpAddr, Arc<AtomicI64>>,
}

/// An attempt that counts as failed unless it succeeds.
#[derive(Debug)]
pub struct LoginAttempt<'a> {
    bucket: Option<(&'a LoginRateLimiter, Arc<AtomicI64>)>,
}

impl LoginRateLimiter {
    pub(crate) fn new(rule: &LoginRateLimit) -> Self {
        let per_minute = i64::try_from(rule.per_minute).unwrap_or(i64::MAX).max(1);
        let interval_ms = (MINUTE_MS / per_minute).max(1);
        let burst = i64::try_from(rule.burst).unwrap_or(i64::MAX);
        let max_debt_ms = interval_ms.saturating_mul(burst);
        Self {
            interval: (burst > 0).then_some(interval_ms),
            most: max_debt_ms,
            buckets: Cache::builder()
                .max_capacity(MAX_ADDRESSES)
                .time_to_idle(Duration::from_millis(max_debt_ms.unsigned_abs()))
                .build(),
        }
    }

    /// Lets an attempt begin. Attempts whose address is not known, or was not given in a form that can be read, share
    /// one bucket.
    ///
    /// # Errors
    /// 429 with the seconds to wait, if too many failed from there lately.
    pub(crate) fn begin(&self, from: Option<IpAddr>, now_ms: i64) -> Result<LoginAttempt<'_>> {
        let Some(interval) = self.interval else {
            return Ok(LoginAttempt { bucket: None });
        };
        let bucket = self.buckets.get_with(rate_limit_key(from), Arc::default);
        let mut full_at = bucket.load(Ordering::Acquire);
        loop {
            let next = full_at.max(now_ms).saturating_add(interval);
            let too_much = next.saturating_sub(now_ms).saturating_sub(self.most);
            if too_much > 0 {
                let seconds = too_much.saturating_add(999) / 1_000;
                return Err(Error::new(Code::LoginsTooMany).with(seconds.to_string()));
            }
            match bucket.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    return Ok(LoginAttempt {
                        bucket: Some((self, bucket)),
                    });
                }
                Err(changed) => full_at = changed,
            }
        }
    }
}

impl LoginAttempt<'_> {
    /// The attempt did not fail, so it does not count.
    pub(crate) fn succeed(self) {
        if let Some((pace, bucket)) = self.bucket {
            bucket.fetch_sub(pace.interval.unwrap_or(0), Ordering::AcqRel);
        }
    }
}

/// The addresses that are taken for one: an address of version 6 stands for the network that one customer gets.
fn rate_limit_key(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(v6)) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn pace(burst: u64, per_minute: u64) -> LoginRateLimiter {
        LoginRateLimiter::new(&LoginRateLimit { burst, per_minute })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_burst_may_fail_and_then_one_each_interval() {
        let pace = pace(3, 60);
        let from = address("192.0.2.1");
        for _ in 0..3 {
            assert!(pace.begin(from, NOW).is_ok());
        }
        let refused = pace.begin(from, NOW).unwrap_err();
        assert_eq!(refused.code(), Code::LoginsTooMany);
        assert_eq!(refused.params(), ["1"]);
        assert!(pace.begin(from, NOW + 999).is_err());
        assert!(pace.begin(from, NOW + 1_000).is_ok());
        assert!(pace.begin(from, NOW + 1_000).is_err());
        // Refused attempts cost nothing, and after a while everything is forgiven, but not more.
        for _ in 0..3 {
            assert!(pace.begin(from, NOW + 1_000_000).is_ok());
        }
        assert!(pace.begin(from, NOW + 1_000_000).is_err());
    }

    #[test]
    fn what_succeeds_does_not_count() {
        let pace = pace(1, 1);
        for _ in 0..100 {
            pace.begin(None, NOW).unwrap().succeed();
        }
        let running = pace.begin(None, NOW).unwrap();
        assert!(
            pace.begin(None, NOW).is_err(),
            "many at once cannot get past it"
        );
        drop(running);
        assert!(pace.begin(None, NOW).is_err());
    }

    #[test]
    fn addresses_do_not_slow_each_other_but_one_network_does() {
        let pace = pace(1, 1);
        let refused = |text| pace.begin(address(text), NOW).is_err();
        assert!(!refused("192.0.2.1"));
        assert!(refused("192.0.2.1") && refused("::ffff:192.0.2.1"));
        assert!(!refused("192.0.2.2"));
        assert!(!refused("2001:db8:1:2::1"));
        assert!(refused("2001:db8:1:2:ffff::9"));
        assert!(!refused("2001:db8:1:3::1"));
        assert!(pace.begin(None, NOW).is_ok());
    }

    #[test]
    fn nothing_is_limited_where_that_is_set() {
        let pace = pace(0, 1);
        for _ in 0..1_000 {
            assert!(pace.begin(None, NOW).is_ok());
        }
    }
}
