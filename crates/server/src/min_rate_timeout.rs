//! A time-out for data that must arrive at a minimum rate.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The usual minimum mean rate: bytes that a peer must send or receive for each second in which the unit waits for it.
///
/// A slow mobile connection transfers about 2,000 bytes per second, so eight transfers fit into it.
const MIN_BYTES_PER_SEC: u32 = 256;

/// A time-out that counts only the time spent waiting and that transferred bytes extend.
///
/// It starts with the whole limit. [`credit`](Self::credit) gives time back for transferred bytes, but never more than the
/// limit, so a peer that transfers a byte now and then times out as well as one that transfers nothing.
pub(crate) struct MinRateTimeout {
    limit: Duration,
    bytes_per_sec: u32,
    /// The time that is left when no wait is running.
    remaining: Duration,
    /// The timer of the running wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MinRateTimeout {
    /// Creates a time-out with the whole limit left.
    pub(crate) fn new(limit: Duration) -> Self {
        Self::with_rate(limit, MIN_BYTES_PER_SEC)
    }

    /// As [`Self::new`], with another minimum rate, which is not 0.
    pub(crate) fn with_rate(limit: Duration, bytes_per_sec: u32) -> Self {
        Self {
            limit,
            bytes_per_sec,
            remaining: limit,
            timer: None,
        }
    }

    /// Returns the limit that it was created with.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Is ready once the time-out has expired. To be polled whenever the peer makes no progress: the first poll after
    /// progress starts the timer.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let remaining = self.remaining;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(remaining)));
        timer.as_mut().poll(cx)
    }

    /// Stops the timer and restores the whole limit.
    pub(crate) fn reset(&mut self) {
        self.restart(self.limit);
    }

    /// Stops the timer; `remaining` is left.
    pub(crate) fn restart(&mut self, remaining: Duration) {
        self.timer = None;
        self.remaining = remaining;
    }

    /// Stops the timer and extends the remaining time by what `bytes` are worth at the minimum rate, up to the limit.
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of the timer, which tests can pause"
    )]
    pub(crate) fn credit(&mut self, bytes: usize) {
        if self.timer.is_none() && self.remaining == self.limit {
            return;
        }
        if let Some(timer) = self.timer.take() {
            self.remaining = timer.deadline().saturating_duration_since(Instant::now());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let credit = Duration::from_secs(1).saturating_mul(bytes) / self.bytes_per_sec;
        self.remaining = self.remaining.saturating_add(credit).min(self.limit);
    }
}

/// Returns the error of a transfer that timed out.
pub(crate) fn timed_out(transfer: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{transfer} timed out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Waits for the peer for at most `secs`; returns whether the time-out expired.
    async fn expires_within(timeout: &mut MinRateTimeout, secs: f32) -> bool {
        let expired = std::future::poll_fn(|cx| timeout.poll_expired(cx));
        tokio::time::timeout(Duration::from_secs_f32(secs), expired)
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn single_bytes_do_not_extend_the_timeout() {
        let mut timeout = MinRateTimeout::new(LIMIT);
        for _ in 0..5 {
            assert!(!expires_within(&mut timeout, 10.0).await);
            timeout.credit(1);
        }
        assert!(expires_within(&mut timeout, 10.1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_peer_above_the_minimum_rate_does_not_time_out() {
        let mut timeout = MinRateTimeout::new(LIMIT);
        for _ in 0..10 {
            assert!(!expires_within(&mut timeout, 58.0).await);
            // Two kilobytes each second for ten seconds.
            for _ in 0..10 {
                timeout.credit(2_000);
                assert!(!expires_within(&mut timeout, 1.0).await);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_a_wait_does_not_count() {
        let mut timeout = MinRateTimeout::new(LIMIT);
        for _ in 0..10 {
            assert!(!expires_within(&mut timeout, 5.0).await);
            timeout.credit(1);
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        assert!(!expires_within(&mut timeout, 9.0).await);
    }
}
