//! Time as an argument: milliseconds since 1970-01-01 UTC, read from a [`Clock`].

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time. Tests bring their own.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
    }
}

/// A time as documents and logs show it, `2024-01-31T09:15:30.123Z`. `ms` counts from 1970-01-01 UTC; a time that no
/// calendar has is shown as the beginning of 1970.
#[must_use]
pub fn iso_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string()
}
