//! JSON Web Signatures (RFC 7515): made with a cell's own RSA key, and those of outside OpenID
//! providers checked with their published keys (RFC 7517).

mod sign;
mod verify;

pub use sign::{CellKey, CellKeyError};
pub use verify::{JwkSet, JwtError, VerifyKey, read_kid};

use serde::{Deserialize, Serialize};

/// Longest compact JWS that is looked at, in bytes.
pub const MAX_JWS_BYTES: usize = 64 * 1024;

/// A public key as JSON (RFC 7517). Members of other key types and unknown members are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `RSA` or `EC`.
    pub kty: String,
    /// The one algorithm this key is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// `sig` or `enc`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// Key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// RSA modulus, big-endian, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent, big-endian, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Name of an elliptic curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// First coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}
