//! Work that threads repeat.

use std::time::{Duration, Instant};

use crate::BenchResult;

/// Repeats work in several threads for a time. Returns how often it was done per second.
///
/// # Errors
/// The first failure of the work, or a message if a thread panicked.
pub(super) fn repeated_per_second(
    threads: u64,
    duration: Duration,
    work: impl Fn() -> BenchResult + Clone + Send + 'static,
) -> BenchResult<f64> {
    let start = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let work = work.clone();
            std::thread::spawn(move || {
                let mut count = 0_u32;
                while start.elapsed() < duration {
                    work()?;
                    count += 1;
                }
                Ok::<u32, String>(count)
            })
        })
        .collect();
    let mut count = 0;
    for thread in threads {
        count += thread
            .join()
            .map_err(|_| "a thread panicked".to_owned())??;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
