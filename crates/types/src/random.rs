//! Randomness as an argument, read from a [`Random`].

use std::fmt::Debug;
use std::sync::Arc;

use uuid::Uuid;

/// The source of randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes available")]
pub struct RandomError;

/// A source of unpredictable bytes. Tests may use a predictable one.
pub trait Random: Debug + Send + Sync {
    /// Fills all of `out`, for keys, salts and nonces.
    ///
    /// # Errors
    /// [`RandomError`] if the source fails. Then `out` must not be used.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError>;

    /// Returns a random (version 4) UUID, for ids. It costs no system call.
    fn uuid(&self) -> Uuid;
}

impl<R: Random + ?Sized> Random for Arc<R> {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        (**self).fill(out)
    }

    fn uuid(&self) -> Uuid {
        (**self).uuid()
    }
}

/// The generators of the operating system and of this process.
///
/// Made by the `server` crate and tests only; everything else takes a [`Random`].
#[derive(Debug, Clone, Copy)]
pub struct SystemRandom(());

impl SystemRandom {
    /// Creates the source.
    #[expect(
        clippy::new_without_default,
        reason = "`clippy.toml` forbids calls of `new`, not of `default`"
    )]
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl Random for SystemRandom {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the source that others take as an argument"
    )]
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(out).map_err(|_| RandomError)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the source that others take as an argument"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}
