//! Errors of local tokens.

use personium_types::RandomError;

/// An error in the text of a local token or cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// The text is not a token or cookie of this module.
    #[error("not a local token")]
    Malformed,
    /// The token is of another kind.
    #[error("a local token of another kind")]
    WrongKind,
    /// The token was not sealed by this unit for this issuer (cookie: host), or it was altered.
    #[error("the token cannot be authenticated")]
    NotOurs,
}

/// An error while a token is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is longer than [`MAX_TEXT_BYTES`](super::MAX_TEXT_BYTES).
    #[error("the token is too large")]
    TooLarge,
    /// The kind does not have roles or an origin, or its origin is missing.
    #[error("the claims do not match the kind of the token")]
    Claims,
    /// The source of randomness failed.
    #[error("cannot generate a nonce")]
    Random(#[from] RandomError),
}

/// An error in the unit secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The secret has fewer than [`MIN_SECRET_BYTES`](super::MIN_SECRET_BYTES) bytes.
    #[error("the unit secret is shorter than 16 bytes")]
    TooShort,
    /// The cryptographic library failed.
    #[error("cannot derive keys from the unit secret")]
    Derivation,
}
