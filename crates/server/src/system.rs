//! The clock and the source of randomness of this process.

use std::sync::Arc;

use personium_types::{Clock, Random, SystemClock, SystemRandom};

/// Returns the clock. Everything below `server` takes it as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "made here and passed to all others"
)]
#[must_use]
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Returns the source of randomness. Everything below `server` takes it as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "made here and passed to all others"
)]
#[must_use]
pub fn random() -> Arc<dyn Random> {
    Arc::new(SystemRandom::new())
}
