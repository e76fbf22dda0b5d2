//! Times to live as memcached wants them: in seconds, or as a time in seconds since 1970 if they are longer than thirty days.

use std::time::Duration;

/// The longest time to live that memcached takes as a duration.
const LONGEST_RELATIVE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns the expiry of a value that is to live at least `ttl`. `now_ms` is the present time, milliseconds since 1970.
///
/// memcached counts in whole seconds of its own, so a second is added: values live up to two seconds longer.
pub(crate) fn expiry(ttl: Duration, now_ms: i64) -> u64 {
    let rounds_up = u64::from(ttl.subsec_nanos() > 0);
    let seconds = ttl.as_secs().saturating_add(rounds_up).saturating_add(1);
    if seconds <= LONGEST_RELATIVE.as_secs() {
        return seconds;
    }
    match u64::try_from(now_ms / 1_000) {
        Ok(now) if now > LONGEST_RELATIVE.as_secs() => now.saturating_add(seconds),
        // A clock that stands at the beginning of 1970.
        _ => LONGEST_RELATIVE.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_live_is_rounded_up_and_absolute_beyond_thirty_days() {
        const NOW_MS: i64 = 1_700_000_000_000;
        const DAY: u64 = 86_400;
        for (ttl, now_ms, expected) in [
            (Duration::ZERO, NOW_MS, 1),
            (Duration::from_millis(1), NOW_MS, 2),
            (Duration::from_secs(1), NOW_MS, 2),
            (Duration::from_millis(1_500), NOW_MS, 3),
            (Duration::from_secs(30 * DAY - 1), NOW_MS, 30 * DAY),
            (
                Duration::from_secs(30 * DAY),
                NOW_MS,
                1_700_000_000 + 30 * DAY + 1,
            ),
            (Duration::from_secs(31 * DAY), 5_000, 30 * DAY),
            (Duration::MAX, NOW_MS, u64::MAX),
        ] {
            assert_eq!(expiry(ttl, now_ms), expected, "{ttl:?} {now_ms}");
        }
    }
}
