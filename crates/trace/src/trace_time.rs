//! The times of the spans of one process in one trace.

use std::time::Instant;

use personium_types::Clock;

/// A pair of the wall time and the monotonic time. All spans of a trace take their times from it, so that they fit together even if
/// the clock of the machine is set meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceTime {
    wall_ns: u64,
    monotonic: Instant,
}

impl TraceTime {
    /// The pair of now.
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        let ms = u64::try_from(clock.now_ms()).unwrap_or_default();
        Self {
            wall_ns: ms.saturating_mul(1_000_000),
            monotonic: clock.monotonic(),
        }
    }

    /// The nanoseconds from 1970 to a monotonic time.
    pub(crate) fn unix_ns(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.monotonic).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.wall_ns.saturating_add(elapsed)
    }
}
