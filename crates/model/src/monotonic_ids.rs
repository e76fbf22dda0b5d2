//! Ids that order events by time.

use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_types::Random;

use crate::keys;

/// The bits of the counter that distinguish ids of one millisecond.
const NUMBER_BITS: u32 = 20;

/// Generates ids, each greater than the one before, also when the clock is set back.
#[derive(Debug)]
pub(crate) struct MonotonicIds {
    last: AtomicI64,
    process: u32,
}

impl MonotonicIds {
    /// A generator for the ids of one process.
    pub(crate) fn new(random: &dyn Random) -> Self {
        let [a, b, c, d, ..] = *random.uuid().as_bytes();
        Self {
            last: AtomicI64::new(0),
            process: u32::from_be_bytes([a, b, c, d]),
        }
    }

    /// The next id; see [`keys::monotonic_id`].
    pub(crate) fn next(&self, now_ms: i64) -> [u8; 16] {
        let now = now_ms << NUMBER_BITS;
        let after = |last: i64| now.max(last + 1);
        let last = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
                Some(after(last))
            });
        let id = after(last.unwrap_or_else(|last| last));
        let number = u32::try_from(id & ((1 << NUMBER_BITS) - 1)).unwrap_or_default();
        keys::monotonic_id(id >> NUMBER_BITS, number, self.process)
    }
}

/// A random id of 22 characters.
pub(crate) fn random_id(random: &dyn Random) -> String {
    URL_SAFE_NO_PAD.encode(random.uuid().as_bytes())
}

/// A new key of a request, in logs and events: 23 characters, the fifth is `_`.
#[must_use]
pub fn new_request_key(random: &dyn Random) -> String {
    let id = random_id(random);
    let (begin, end) = id.split_at_checked(4).unwrap_or((&id, ""));
    format!("{begin}_{end}")
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
mod tests {
    use personium_types::SystemRandom;

    use super::*;

    #[test]
    fn ids_increase_when_the_clock_is_set_back() {
        let ids = MonotonicIds::new(&SystemRandom::new());
        let times = [5, 5, 5, 3, 6, 6, 2];
        let generated: Vec<_> = times.iter().map(|now| ids.next(*now)).collect();
        assert!(
            generated.windows(2).all(|pair| pair[0] < pair[1]),
            "{generated:?}"
        );
    }

    #[test]
    fn random_id_has_22_characters() {
        assert_eq!(random_id(&SystemRandom::new()).len(), 22);
    }
}
