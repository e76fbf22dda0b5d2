//! The secrets of a unit, and the certificates that it trusts.

use personium_token::local::LocalKeys;
use personium_token::password;
use personium_token::trust::{TrustRoots, UnitKey, generate_self_signed};
use personium_types::{Error, Result};

/// The validity of the certificate of [`UnitKeys::self_signed`]: ten years.
const SELF_SIGNED_VALIDITY_MS: i64 = 10 * 365 * 24 * 3_600_000;
/// The time by which its validity begins earlier, for clocks that differ: one day.
const SELF_SIGNED_BACKDATING_MS: i64 = 24 * 3_600_000;

/// The secrets of a unit and the certificates that it trusts. The debug output contains no secret.
#[derive(Debug)]
pub struct UnitKeys {
    /// The keys of local tokens and cookies, which only this unit reads.
    pub local_tokens: LocalKeys,
    /// The key that signs tokens for other units.
    pub signing: UnitKey,
    /// The root certificates of units whose tokens are accepted.
    pub trust_roots: TrustRoots,
    /// The settings of password hashing.
    pub password_hashing: password::HashSettings,
}

impl UnitKeys {
    /// Creates the keys of a unit that trusts only itself: a new key, whose self-signed certificate for `host` is the
    /// only root. `secret` is the unit secret, at least 16 bytes.
    ///
    /// # Errors
    /// [`Code::Unknown`](personium_types::Code::Unknown) if the secret is too short or `host` is not a host name.
    pub fn self_signed(host: &str, secret: &str, now_ms: i64) -> Result<Self> {
        let (from, to) = (
            now_ms - SELF_SIGNED_BACKDATING_MS,
            now_ms + SELF_SIGNED_VALIDITY_MS,
        );
        let generated = generate_self_signed(host, from, to).map_err(Error::internal)?;
        let (key, certificate) = (
            generated.key_pem.as_bytes(),
            generated.certificate_pem.as_bytes(),
        );
        Ok(Self {
            local_tokens: LocalKeys::new(secret).map_err(Error::internal)?,
            signing: UnitKey::load(key, certificate).map_err(Error::internal)?,
            trust_roots: TrustRoots::load(&[certificate], now_ms).map_err(Error::internal)?,
            password_hashing: password::HashSettings::default(),
        })
    }
}
