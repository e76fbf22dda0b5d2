//! The secrets of a unit, and the certificates that it trusts.

use std::sync::Arc;

use parking_lot::RwLock;
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
    /// The settings of password hashing.
    pub password_hashing: password::HashSettings,
    certificates: RwLock<Arc<UnitCertificates>>,
}

/// The certificate of a unit and those that it trusts. They can be replaced while the unit runs.
#[derive(Debug)]
pub struct UnitCertificates {
    /// The key that signs tokens for other units.
    pub signing: UnitKey,
    /// The root certificates of units whose tokens are accepted.
    pub trust_roots: TrustRoots,
}

impl UnitKeys {
    /// The keys of a unit.
    #[must_use]
    pub fn new(
        local_tokens: LocalKeys,
        certificates: UnitCertificates,
        password_hashing: password::HashSettings,
    ) -> Self {
        Self {
            local_tokens,
            password_hashing,
            certificates: RwLock::new(Arc::new(certificates)),
        }
    }

    /// The certificates in use.
    #[must_use]
    pub fn certificates(&self) -> Arc<UnitCertificates> {
        Arc::clone(&self.certificates.read())
    }

    /// Replaces the certificates. Requests that already have the old ones finish with them.
    pub fn replace_certificates(&self, certificates: impl Into<Arc<UnitCertificates>>) {
        *self.certificates.write() = certificates.into();
    }

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
        let certificates = UnitCertificates {
            signing: UnitKey::load(key, certificate).map_err(Error::internal)?,
            trust_roots: TrustRoots::load(&[certificate], now_ms).map_err(Error::internal)?,
        };
        Ok(Self::new(
            LocalKeys::new(secret).map_err(Error::internal)?,
            certificates,
            password::HashSettings::default(),
        ))
    }
}
