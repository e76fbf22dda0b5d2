//! Bounds the warnings and errors of the log: clients can cause many of them, and a log that fills its disk ends the unit.
//!
//! Of the lines that one place in the source writes, so many are written in each interval. The others are counted, and one line
//! says at the end of the interval how many there were.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_types::Clock;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The interval.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// The number of lines of one place in an interval.
const LINES_MAX: u64 = 100;

/// The target of lines that say only that the unit is busy. One in an interval is enough.
const OVERLOAD_TARGET: &str = "personium::overload";

/// The lines of one place in the current interval.
#[derive(Debug)]
struct Lines {
    metadata: &'static Metadata<'static>,
    since: Instant,
    written: u64,
    left_out: u64,
}

/// The lines of all places.
#[derive(Debug)]
pub(super) struct LineLimits {
    clock: Arc<dyn Clock>,
    places: Mutex<HashMap<Identifier, Lines>>,
}

/// The lines of one place that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The module, and the number of the line in its file.
    pub(super) place: String,
    pub(super) level: Level,
    pub(super) lines: u64,
}

impl LineLimits {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            places: Mutex::default(),
        }
    }

    /// Counts a line. Returns whether it is written.
    fn admit(&self, metadata: &'static Metadata<'static>) -> bool {
        if *metadata.level() > Level::WARN {
            return true;
        }
        let max = match metadata.target() == OVERLOAD_TARGET {
            true => 1,
            false => LINES_MAX,
        };
        let now = self.clock.monotonic();
        let mut places = self.places.lock();
        let lines = places.entry(metadata.callsite()).or_insert(Lines {
            metadata,
            since: now,
            written: 0,
            left_out: 0,
        });
        // Lines that were left out are reported first: then the place is forgotten.
        if lines.left_out == 0 && now.saturating_duration_since(lines.since) >= INTERVAL {
            (lines.since, lines.written) = (now, 0);
        }
        let is_written = lines.written < max;
        match is_written {
            true => lines.written += 1,
            false => lines.left_out += 1,
        }
        is_written
    }

    /// Ends the intervals that are over; all of them with `at_once`. Returns what was left out in them.
    pub(super) fn end_intervals(&self, at_once: bool) -> Vec<LeftOut> {
        let now = self.clock.monotonic();
        let mut left_out = Vec::new();
        self.places.lock().retain(|_, lines| {
            if !at_once && now.saturating_duration_since(lines.since) < INTERVAL {
                return true;
            }
            if lines.left_out > 0 {
                let line = lines.metadata.line().unwrap_or_default();
                let module = lines.metadata.module_path().unwrap_or_default();
                left_out.push(LeftOut {
                    place: format!("{module}:{line}"),
                    level: *lines.metadata.level(),
                    lines: lines.left_out,
                });
            }
            false
        });
        left_out
    }
}

/// The layer of the log that leaves lines out.
pub(super) struct BoundedLines(pub(super) Arc<LineLimits>);

impl<S: Subscriber> Layer<S> for BoundedLines {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admit(event.metadata())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that a test sets.
    #[derive(Debug)]
    struct SetClock(Instant, AtomicU64);

    impl Clock for SetClock {
        fn now_ms(&self) -> i64 {
            0
        }

        fn monotonic(&self) -> Instant {
            self.0 + Duration::from_secs(self.1.load(Ordering::Relaxed))
        }
    }

    /// Counts the lines that are written.
    #[derive(Default, Clone)]
    struct Count(Arc<AtomicU64>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the start of a clock that a test sets"
    )]
    fn set_clock() -> Arc<SetClock> {
        Arc::new(SetClock(Instant::now(), AtomicU64::new(0)))
    }

    #[test]
    fn lines_of_one_place_are_bounded_and_counted_and_others_are_written() {
        use tracing_subscriber::layer::SubscriberExt;

        let clock = set_clock();
        let limits = Arc::new(LineLimits::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let count = Count::default();
        let subscriber = tracing_subscriber::registry().with(BoundedLines(Arc::clone(&limits)));
        let written = || count.0.swap(0, Ordering::Relaxed);
        tracing::subscriber::with_default(subscriber.with(count.clone()), || {
            let flood = |lines: u64| {
                for number in 0..lines {
                    tracing::warn!(number, "a client can cause this");
                }
            };
            let busy = || tracing::warn!(target: OVERLOAD_TARGET, "busy");
            flood(LINES_MAX + 7);
            assert_eq!(written(), LINES_MAX);
            tracing::error!("another place");
            (0..3).for_each(|_| busy());
            assert_eq!(written(), 2);
            (0..2 * LINES_MAX).for_each(|_| tracing::info!("not bounded"));
            assert_eq!(written(), 2 * LINES_MAX);
            assert!(limits.end_intervals(false).is_empty());
            clock.1.store(INTERVAL.as_secs(), Ordering::Relaxed);
            let mut left_out: Vec<u64> = limits
                .end_intervals(false)
                .iter()
                .map(|l| l.lines)
                .collect();
            left_out.sort_unstable();
            assert_eq!(left_out, [2, 7]);
            flood(1);
            busy();
            assert_eq!(written(), 2);
            flood(LINES_MAX);
            let left_out = limits.end_intervals(true);
            assert_eq!((left_out.len(), left_out[0].lines), (1, 1));
            assert_eq!(left_out[0].level, Level::WARN);
        });
    }
}
