//! The rate limits of failed logins: of each client address, whatever the accounts and cells, and of each account, from addresses
//! that it has not logged in from.
//!
//! Each of them has a bucket in the form of the generic cell rate algorithm (GCRA): the one time at which it will be
//! full again. It costs a number and no timer. The buckets exist in this process only and for a bounded number of
//! addresses and accounts: they slow down guessing, and nothing stored depends on them. Times are monotonic, so that a clock
//! that is set does not keep anybody out.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use personium_types::{Code, Error, Result};

/// The largest number of buckets of one kind.
const MAX_BUCKETS: u64 = 100_000;
/// A minute, in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// The settings of the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRateLimit {
    /// Failed logins in a burst; 0 switches the limit off.
    pub burst: u64,
    /// Failed logins per minute after that.
    pub per_minute: u64,
}

/// Limits failed logins per client address and per account.
pub struct LoginRateLimiter {
    addresses: RateLimiter<IpAddr>,
    accounts: RateLimiter<String>,
}

impl LoginRateLimiter {
    /// `start` is the present time.
    pub(crate) fn new(limit: &LoginRateLimit, start: Instant) -> Self {
        Self {
            addresses: RateLimiter::new(limit, start),
            accounts: RateLimiter::new(limit, start),
        }
    }

    /// Starts an attempt from a client address. Attempts from unknown addresses share one bucket.
    ///
    /// # Errors
    /// [`Code::LoginsTooMany`] with the seconds to wait, if too many logins from this address failed lately.
    pub(crate) fn begin(
        &self,
        client_address: Option<IpAddr>,
        now: Instant,
    ) -> Result<LoginAttempt> {
        self.addresses.begin(address_key(client_address), now)
    }

    /// Starts an attempt on an account from an address that it has not logged in from.
    ///
    /// # Errors
    /// [`Code::LoginsTooMany`] with the seconds to wait, if too many such attempts failed lately.
    pub(crate) fn begin_on_account(&self, account: String, now: Instant) -> Result<LoginAttempt> {
        self.accounts.begin(account, now)
    }
}

/// Limits failures per key.
struct RateLimiter<K> {
    /// Milliseconds after which one failed login is forgiven; `None` if the limit is switched off.
    interval_ms: Option<i64>,
    /// The largest time until a bucket is full again, in milliseconds.
    max_debt_ms: i64,
    /// The time from which times are counted.
    start: Instant,
    buckets: Cache<K, Arc<AtomicI64>>,
}

/// A login attempt. It counts as failed unless [`LoginAttempt::succeed`] is called.
#[derive(Debug)]
pub(crate) struct LoginAttempt {
    /// The milliseconds that it adds to the bucket; `None` if the limit is switched off.
    bucket: Option<(i64, Arc<AtomicI64>)>,
}

impl<K: Hash + Eq + Send + Sync + 'static> RateLimiter<K> {
    fn new(limit: &LoginRateLimit, start: Instant) -> Self {
        let per_minute = i64::try_from(limit.per_minute).unwrap_or(i64::MAX).max(1);
        let interval_ms = (MINUTE_MS / per_minute).max(1);
        let burst = i64::try_from(limit.burst).unwrap_or(i64::MAX);
        let max_debt_ms = interval_ms.saturating_mul(burst);
        Self {
            interval_ms: (burst > 0).then_some(interval_ms),
            max_debt_ms,
            start,
            buckets: Cache::builder()
                .max_capacity(MAX_BUCKETS)
                .time_to_idle(Duration::from_millis(max_debt_ms.unsigned_abs()))
                .build(),
        }
    }

    fn begin(&self, key: K, now: Instant) -> Result<LoginAttempt> {
        let Some(interval_ms) = self.interval_ms else {
            return Ok(LoginAttempt { bucket: None });
        };
        let elapsed_ms = now.saturating_duration_since(self.start).as_millis();
        let elapsed_ms = i64::try_from(elapsed_ms).unwrap_or(i64::MAX);
        let bucket = self.buckets.get_with(key, Arc::default);
        let mut full_at = bucket.load(Ordering::Acquire);
        loop {
            let next = full_at.max(elapsed_ms).saturating_add(interval_ms);
            let excess_ms = next
                .saturating_sub(elapsed_ms)
                .saturating_sub(self.max_debt_ms);
            if excess_ms > 0 {
                let seconds = excess_ms.saturating_add(999) / 1_000;
                return Err(Error::new(Code::LoginsTooMany).with(seconds.to_string()));
            }
            match bucket.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    return Ok(LoginAttempt {
                        bucket: Some((interval_ms, bucket)),
                    });
                }
                Err(changed) => full_at = changed,
            }
        }
    }
}

impl LoginAttempt {
    /// Takes back the count of an attempt that did not fail.
    pub(crate) fn succeed(self) {
        if let Some((interval_ms, bucket)) = self.bucket {
            bucket.fetch_sub(interval_ms, Ordering::AcqRel);
        }
    }
}

/// The address that stands for a client: an IPv6 address stands for its /64 network, which one customer gets.
pub(crate) fn address_key(address: Option<IpAddr>) -> IpAddr {
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
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use personium_types::{Clock, SystemClock};

    use super::*;

    fn limiter(burst: u64, per_minute: u64) -> (LoginRateLimiter, Instant) {
        let start = SystemClock::new().monotonic();
        let limiter = LoginRateLimiter::new(&LoginRateLimit { burst, per_minute }, start);
        (limiter, start)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn login_rate_limit_allows_a_burst_and_then_one_failure_per_interval() {
        let (limiter, now) = limiter(3, 60);
        let client = address("192.0.2.1");
        for _ in 0..3 {
            assert!(limiter.begin(client, now).is_ok());
        }
        let refused = limiter.begin(client, now).unwrap_err();
        assert_eq!(refused.code(), Code::LoginsTooMany);
        assert_eq!(refused.params(), ["1"]);
        assert!(
            limiter
                .begin(client, now + Duration::from_millis(999))
                .is_err()
        );
        assert!(
            limiter
                .begin(client, now + Duration::from_millis(1_000))
                .is_ok()
        );
        assert!(
            limiter
                .begin(client, now + Duration::from_millis(1_000))
                .is_err()
        );
        // Refused attempts are not counted. After a while the whole burst is allowed again, but no more.
        for _ in 0..3 {
            assert!(
                limiter
                    .begin(client, now + Duration::from_millis(1_000_000))
                    .is_ok()
            );
        }
        assert!(
            limiter
                .begin(client, now + Duration::from_millis(1_000_000))
                .is_err()
        );
    }

    #[test]
    fn successful_logins_do_not_count_towards_the_rate_limit() {
        let (limiter, now) = limiter(1, 1);
        for _ in 0..100 {
            limiter.begin(None, now).unwrap().succeed();
        }
        let running = limiter.begin(None, now).unwrap();
        assert!(
            limiter.begin(None, now).is_err(),
            "concurrent attempts count before they end"
        );
        drop(running);
        assert!(limiter.begin(None, now).is_err());
    }

    #[test]
    fn login_rate_limit_is_per_client_address_and_per_ipv6_network() {
        let (limiter, now) = limiter(1, 1);
        let refused = |text| limiter.begin(address(text), now).is_err();
        assert!(!refused("192.0.2.1"));
        assert!(refused("192.0.2.1") && refused("::ffff:192.0.2.1"));
        assert!(!refused("192.0.2.2"));
        assert!(!refused("2001:db8:1:2::1"));
        assert!(refused("2001:db8:1:2:ffff::9"));
        assert!(!refused("2001:db8:1:3::1"));
        assert!(limiter.begin(None, now).is_ok());
    }

    #[test]
    fn login_rate_limit_with_burst_zero_is_off() {
        let (limiter, now) = limiter(0, 1);
        for _ in 0..1_000 {
            assert!(limiter.begin(None, now).is_ok());
        }
    }

    #[test]
    fn accounts_are_limited_whatever_the_addresses() {
        let (limiter, now) = limiter(1, 1);
        let begin = |account: &str| limiter.begin_on_account(account.to_owned(), now);
        assert!(begin("a").is_ok() && begin("a").is_err());
        assert!(begin("b").is_ok());
        assert!(limiter.begin(address("192.0.2.1"), now).is_ok());
    }
}
