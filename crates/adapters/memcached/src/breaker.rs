//! Skips a server that failed, for a while that doubles with each failure in a row.

use std::time::{Duration, Instant};

/// The time for which a server is skipped after its first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest time for which a server is skipped.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The number of failures in a row after which the time does not double any more.
const MAX_DOUBLINGS: u32 = 6;

/// The state of a server.
#[derive(Debug, Default)]
pub(crate) struct CircuitBreaker {
    /// The number of failures in a row.
    failures: u32,
    /// The time until which it is skipped.
    skipped_until: Option<Instant>,
}

impl CircuitBreaker {
    /// Whether the server is skipped now.
    pub fn is_open(&self, now: Instant) -> bool {
        self.skipped_until.is_some_and(|until| now < until)
    }

    /// Whether a call may try the server. After a pause one call tries; the others are skipped for another pause, unless it
    /// succeeds.
    pub fn permits(&mut self, now: Instant) -> bool {
        if self.is_open(now) {
            return false;
        }
        if self.skipped_until.is_some() {
            self.skipped_until = now.checked_add(self.pause());
        }
        true
    }

    /// The server has answered. Returns whether it had failed before.
    pub fn succeed(&mut self) -> bool {
        let had_failed = self.skipped_until.is_some();
        *self = Self::default();
        had_failed
    }

    /// A call that began at `begun` has failed. Calls that run at the same time count as one failure. Returns whether it is
    /// the first failure in a row.
    pub fn fail(&mut self, begun: Instant, now: Instant) -> bool {
        let is_first = self.skipped_until.is_none();
        let is_counted = match self.skipped_until {
            None => true,
            // The trial after a pause has begun when the pause was over.
            Some(until) => until
                .checked_sub(self.pause())
                .is_none_or(|from| begun >= from),
        };
        if is_counted {
            self.failures = self.failures.saturating_add(1);
            self.skipped_until = now.checked_add(self.pause());
        }
        is_first
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(MAX_DOUBLINGS);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use personium_types::{Clock, SystemClock};

    use super::*;

    #[test]
    fn failing_server_is_tried_by_one_call_after_each_pause_and_pauses_double() {
        let start = SystemClock::new().monotonic();
        let at = |ms| start + Duration::from_millis(ms);
        let mut breaker = CircuitBreaker::default();
        assert!(breaker.permits(at(0)) && breaker.permits(at(0)));
        assert!(breaker.fail(at(0), at(10)));
        assert!(!breaker.fail(at(0), at(11)), "it ran at the same time");
        assert!(!breaker.permits(at(259)) && breaker.is_open(at(259)));
        assert!(breaker.permits(at(260)), "one call tries");
        assert!(!breaker.permits(at(261)), "the others are skipped");
        assert!(!breaker.fail(at(260), at(300)));
        assert!(!breaker.permits(at(799)) && breaker.permits(at(800)));
        assert!(breaker.succeed());
        assert!(!breaker.succeed());
        assert!(breaker.permits(at(801)) && breaker.permits(at(801)));
    }

    #[test]
    fn pause_is_bounded() {
        let start = SystemClock::new().monotonic();
        let mut breaker = CircuitBreaker::default();
        let mut now = start;
        for _ in 0..50 {
            assert!(breaker.permits(now));
            breaker.fail(now, now);
            now += LONGEST_PAUSE;
        }
        assert!(breaker.permits(now));
    }
}
