//! The order of events.

use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_types::Random;

use crate::keys;

/// Bits of a moment that tell apart what one process saw in one millisecond.
const NUMBER_BITS: u32 = 20;

/// Gives moments, each later than the one before, also when the clock goes back.
#[derive(Debug)]
pub(crate) struct MonotonicIds {
    last: AtomicI64,
    process: u32,
}

impl MonotonicIds {
    /// Creates the source of the ids of one process.
    pub(crate) fn new(random: &dyn Random) -> Self {
        let [a, b, c, d, ..] = *random.uuid().as_bytes();
        Self {
            last: AtomicI64::new(0),
            process: u32::from_be_bytes([a, b, c, d]),
        }
    }

    /// The next moment; see [`keys::moment`].
    pub(crate) fn next(&self, now_ms: i64) -> [u8; 16] {
        let now = now_ms << NUMBER_BITS;
        let after = |last: i64| now.max(last + 1);
        let step = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
                Some(after(last))
            });
        let moment = after(step.unwrap_or_else(|last| last));
        let number = u32::try_from(moment & ((1 << NUMBER_BITS) - 1)).unwrap_or_default();
        keys::moment(moment >> NUMBER_BITS, number, self.process)
    }
}

/// 22 characters that nobody can guess: the id of a chain of events.
pub(crate) fn random_text(random: &dyn Random) -> String {
    URL_SAFE_NO_PAD.encode(random.uuid().as_bytes())
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
    fn moments_only_go_up() {
        let moments = MonotonicIds::new(&SystemRandom::new());
        let times = [5, 5, 5, 3, 6, 6, 2];
        let given: Vec<_> = times.iter().map(|now| moments.next(*now)).collect();
        assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
        assert_eq!(random_text(&SystemRandom::new()).len(), 22);
    }
}
