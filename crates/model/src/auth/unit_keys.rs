//! What a unit seals, signs, hashes and believes with.

use personium_token::local::LocalKeys;
use personium_token::password;
use personium_token::trust::{TrustRoots, UnitKey, generate_self_signed};
use personium_types::{Error, Result};

/// How long the certificate of [`Keys::self_signed`] is valid: ten years, in milliseconds.
const SELF_SIGNED_LIFE: i64 = 10 * 365 * 24 * 3_600_000;
/// How far its validity reaches back, for clocks that differ: one day, in milliseconds.
const SELF_SIGNED_LEAD: i64 = 24 * 3_600_000;

/// The secrets of a unit and what it trusts. Debug output shows no secret.
#[derive(Debug)]
pub struct UnitKeys {
    /// For tokens and cookies that only this unit reads.
    pub local_tokens: LocalKeys,
    /// For tokens that other units read.
    pub signing: UnitKey,
    /// Whose tokens are believed.
    pub trust_roots: TrustRoots,
    /// How passwords are hashed.
    pub password_hashing: password::Settings,
}

impl UnitKeys {
    /// Keys of a unit that trusts nobody but itself: a new key, whose self-signed certificate for `host` is the
    /// only root. `secret` is the unit secret, at least 16 bytes.
    ///
    /// # Errors
    /// If the secret is too short or `host` is no host name.
    pub fn self_signed(host: &str, secret: &str, now_ms: i64) -> Result<Self> {
        let made = generate_self_signed(host, now_ms - SELF_SIGNED_LEAD, now_ms + SELF_SIGNED_LIFE)
            .map_err(Error::internal)?;
        let (key, certificate) = (made.key_pem.as_bytes(), made.certificate_pem.as_bytes());
        Ok(Self {
            local_tokens: LocalKeys::new(secret).map_err(Error::internal)?,
            signing: UnitKey::load(key, certificate).map_err(Error::internal)?,
            trust_roots: TrustRoots::load(&[certificate], now_ms).map_err(Error::internal)?,
            password_hashing: password::Settings::default(),
        })
    }
}
