//! The ages of failed logins whose time lies in the future.
//!
//! The time of a failure is that of the clock of the node that stored it. If that clock is ahead of ours, or ours was set back,
//! we cannot tell from the time how long ago the failure was: then its age counts from when this process first saw it.

use std::time::{Duration, Instant};

use moka::sync::Cache;

/// The largest number of failures whose ages are remembered.
const CAPACITY: u64 = 10_000;

/// The identity of a failure: the account and address for which it counts, and the time and the number that are stored.
type FailureKey = (String, i64, u64);

/// When this process first saw failures whose time lies in the future.
pub struct FailureAges {
    first_seen: Cache<FailureKey, Instant>,
}

impl Default for FailureAges {
    fn default() -> Self {
        Self {
            first_seen: Cache::builder().max_capacity(CAPACITY).build(),
        }
    }
}

impl FailureAges {
    /// The time since this process first saw a failure whose time lies in the future. `last_ms` is its stored time, milliseconds
    /// since 1970; `now` is the monotonic time.
    pub(crate) fn since_first_seen(
        &self,
        scope: &str,
        (last_ms, count): (i64, u64),
        now: Instant,
    ) -> Duration {
        let key = (scope.to_owned(), last_ms, count);
        let first_seen = self.first_seen.get_with(key, || now);
        now.saturating_duration_since(first_seen)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use personium_types::{Clock, SystemClock};

    use super::*;

    #[test]
    fn age_counts_from_when_a_failure_was_first_seen() {
        let ages = FailureAges::default();
        let start = SystemClock::new().monotonic();
        let age_secs = |scope, count, secs| {
            let now = start + Duration::from_secs(secs);
            ages.since_first_seen(scope, (90_000, count), now).as_secs()
        };
        assert_eq!(age_secs("a", 1, 0), 0);
        assert_eq!(age_secs("a", 1, 20), 20);
        assert_eq!(age_secs("a", 2, 20), 0, "another failure");
        assert_eq!(age_secs("b", 1, 20), 0, "another account");
        assert_eq!(age_secs("a", 1, 30), 30);
    }
}
