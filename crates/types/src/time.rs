//! Time as an argument, read from a [`Clock`].

use std::fmt::Debug;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of the current time. Tests use their own.
pub trait Clock: Debug + Send + Sync {
    /// Returns the wall time in milliseconds since 1970-01-01 UTC. It may go back.
    fn now_ms(&self) -> i64;

    /// Returns a time that never goes back, for durations and deadlines.
    fn monotonic(&self) -> Instant;
}

/// The clock of the operating system.
///
/// Made by the `server` crate and tests only; everything else takes a [`Clock`].
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(());

impl SystemClock {
    /// Creates the clock.
    #[expect(
        clippy::new_without_default,
        reason = "`clippy.toml` forbids calls of `new`, not of `default`"
    )]
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that others take as an argument"
    )]
    fn now_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that others take as an argument"
    )]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// Reads a time of HTTP in any of its three forms (RFC 9110, section 5.6.7). Returns the seconds since 1970; `None` for other
/// texts and for earlier times.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Reads a day such as `2024-01-31`, which begins at midnight UTC, or a time in the form of RFC 3339, such as `2024-01-31T09:15:30Z` or
/// `2024-01-31T10:15:30.123+01:00`. Returns the milliseconds since 1970; `None` for other texts.
#[must_use]
pub fn parse_iso_time(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let is_day = text.len() == "2024-01-31".len();
    let day: jiff::civil::Date = text.parse().ok().filter(|_| is_day)?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_millisecond())
}

/// Formats a time for documents and logs (RFC 3339): `2024-01-31T09:15:30.123Z`.
///
/// `ms` is in milliseconds since 1970-01-01 UTC. A time out of the range of the calendar is printed as
/// `1970-01-01T00:00:00.000Z`.
#[must_use]
pub fn iso_time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_times_are_read_again() {
        for ms in [0, 1_706_692_530_123, 1_706_692_530_000] {
            assert_eq!(parse_iso_time(&iso_time(ms)), Some(ms));
        }
        let whole = parse_iso_time("2024-01-31T09:15:30Z");
        assert_eq!(whole, Some(1_706_692_530_000));
        let day = parse_iso_time("2024-01-31");
        assert_eq!(day, Some(1_706_659_200_000));
        for text in ["", "now", "2024-01"] {
            assert_eq!(parse_iso_time(text), None, "{text}");
        }
    }
}
