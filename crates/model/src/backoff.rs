//! The time between attempts to reach another server.

use std::time::{Duration, Instant};

use crate::Unit;

/// The time between the first attempt and the second, milliseconds. It doubles with each attempt.
const FIRST_DELAY_MS: i64 = 2_000;
/// The longest such time, before up to a quarter is added, milliseconds.
const MAX_DELAY_MS: i64 = 3_600_000;
/// More than the longest time between two attempts, milliseconds.
pub const LONGEST_DELAY_MS: i64 = 2 * MAX_DELAY_MS;

/// The time of the monotonic clock at which something is due that is due at this wall time, milliseconds since 1970.
#[must_use]
pub fn monotonic_of(unit: &Unit, due_ms: i64) -> Instant {
    let wait = due_ms
        .saturating_sub(unit.now_ms())
        .clamp(0, LONGEST_DELAY_MS);
    unit.monotonic() + Duration::from_millis(wait.unsigned_abs())
}

/// When the next attempt is due after so many, milliseconds since 1970.
#[must_use]
pub fn next_attempt_ms(unit: &Unit, attempts: u32) -> i64 {
    unit.now_ms().saturating_add(delay_ms(unit, attempts))
}

/// The time from an attempt to the next one, milliseconds: twice as long after each, and up to a quarter longer, so that what failed
/// at once is not tried again at once.
fn delay_ms(unit: &Unit, attempts: u32) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    let delay = (FIRST_DELAY_MS << doublings).min(MAX_DELAY_MS);
    let [byte, ..] = unit.random().uuid().into_bytes();
    delay + delay / 1024 * i64::from(byte)
}
