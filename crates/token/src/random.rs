//! The source of randomness, as an argument.

/// The operating system could not give random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes available")]
pub struct RandomError;

/// Gives unpredictable bytes. Tests may give predictable ones.
pub trait Random {
    /// Fills all of `out`, or fails; on failure `out` must not be used.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(out).map_err(|_| RandomError)
    }
}
