//! JSON Web Signatures (RFC 7515): signing with the RSA key of a cell, and verification of ID tokens with the published
//! keys of OpenID providers (RFC 7517).

mod jwk;
mod sign;
mod verify;

pub use jwk::Jwk;
pub use sign::{CellKey, CellKeyError};
pub use verify::{JwkSet, JwtError, VerifyKey, read_kid};

/// The maximum length of a compact JWS in bytes.
pub const MAX_JWS_BYTES: usize = 64 * 1024;
