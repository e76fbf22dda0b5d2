//! Waiting for a condition.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The time after which a condition that does not come true fails the test.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for a condition; returns the time that it took. Fails with `what` after 60 seconds of the runtime's clock, which a
/// test may have paused.
pub async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    wait_until_within(LIMIT, what, condition).await
}

/// As [`wait_until`], for what may take longer.
pub async fn wait_until_within(
    limit: Duration,
    what: &str,
    condition: impl AsyncFn() -> bool,
) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < limit, "not in time: {what}");
        sleep(PAUSE).await;
    }
    start.elapsed()
}
