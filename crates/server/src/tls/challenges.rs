//! The answers to the challenges of an authority that are pending. They are in memory only, and found by equality: no path of a
//! file is made of what a client sends.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;

/// The protocol name of the challenge tls-alpn-01 (RFC 8737, section 6.2).
pub(crate) const ACME_ALPN: &[u8] = b"acme-tls/1";

/// The answers that are pending. An order has one for each name.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    tokens: RwLock<Vec<TokenChallenge>>,
    certificates: RwLock<Vec<(String, Arc<CertifiedKey>)>>,
}

/// A challenge http-01.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenChallenge {
    /// The name that is verified.
    pub(crate) name: String,
    /// The last segment of the URL.
    pub(crate) token: String,
    /// The content of the file.
    pub(crate) key_authorization: String,
}

impl Challenges {
    /// Adds a challenge http-01.
    pub(crate) fn add_token(&self, challenge: TokenChallenge) {
        self.tokens.write().push(challenge);
    }

    /// Adds a challenge tls-alpn-01.
    ///
    /// # Errors
    /// [`rustls::Error`] if the key cannot be used.
    pub(crate) fn add_certificate(
        &self,
        name: &str,
        certificate_der: Vec<u8>,
        key_der: Vec<u8>,
    ) -> Result<(), rustls::Error> {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key_der);
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(key.into())?;
        // The certificate has a critical extension that only the authority knows.
        let key = CertifiedKey::new(vec![certificate_der.into()], key);
        let mut certificates = self.certificates.write();
        certificates.push((name.to_owned(), Arc::new(key)));
        Ok(())
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.tokens.write().clear();
        self.certificates.write().clear();
    }

    /// The content of the file with this token at this host, which is without a port.
    pub(super) fn key_authorization(&self, host: &str, token: &str) -> Option<String> {
        let tokens = self.tokens.read();
        let found = tokens.iter().find(|challenge| {
            challenge.token == token && challenge.name.eq_ignore_ascii_case(host)
        });
        found.map(|challenge| challenge.key_authorization.clone())
    }

    /// The certificate for a name.
    pub(super) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.read();
        let found = certificates
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, key)| Arc::clone(key))
    }
}
