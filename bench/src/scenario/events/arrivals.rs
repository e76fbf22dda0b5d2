//! The events that have arrived behind a broker.

use std::time::{Duration, Instant};

use crate::BenchResult;

/// The time within which everything must have arrived.
const LIMIT: Duration = Duration::from_secs(300);
/// The fewest events of which a rate is known.
const FEWEST: f64 = 32.0;

/// A subscriber that counts.
pub(super) trait ArrivedEvents {
    /// The number of events until now.
    fn count(&self) -> f64;

    /// Whether nothing more can come.
    fn is_over(&self) -> bool;
}

/// Waits until so many have come. Returns their number per second since the first one.
pub(super) async fn rate(arrivals: &impl ArrivedEvents, due: f64) -> BenchResult<f64> {
    let (begin, first) = wait_until_more(arrivals, 0.0).await?;
    let (end, count) = wait_until_more(arrivals, due.max(first + FEWEST)).await?;
    Ok(count / end.duration_since(begin).as_secs_f64())
}

/// Waits until more have come than these. Returns the time, and their number.
pub(super) async fn wait_until_more(
    arrivals: &impl ArrivedEvents,
    than: f64,
) -> BenchResult<(Instant, f64)> {
    let start = Instant::now();
    loop {
        let (now, count) = (Instant::now(), arrivals.count());
        if count > than {
            return Ok((now, count));
        }
        if arrivals.is_over() {
            return Err("the subscriber lost its connection".to_owned());
        }
        if now.duration_since(start) > LIMIT {
            return Err(format!("only {count} events have passed the broker"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
