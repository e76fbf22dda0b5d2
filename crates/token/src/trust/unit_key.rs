//! The key pair with which a unit signs trans-cell tokens.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use personium_types::hex;
use x509_parser::pem::Pem;

use super::certificate::{Certificate, CertificateInfo, SignedBy, contains, ders_of_file};
use super::host;

/// An error in the key or certificate of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file is not an unencrypted RSA private key (PKCS#1 or PKCS#8, PEM or DER) of 2048 bits or more.
    #[error("the key file contains no unencrypted RSA private key of 2048 bits or more")]
    Key,
    /// The file is not an X.509 certificate with an RSA key.
    #[error("the certificate file contains no certificate with an RSA key")]
    Certificate,
    /// The certificate belongs to another key.
    #[error("the certificate does not belong to the key")]
    Mismatch,
    /// The cryptographic library failed.
    #[error("cannot sign")]
    Signing,
}

/// The private key and the certificate of a unit. Debug output shows only public data of the certificate.
pub struct UnitKey {
    pair: KeyPair,
    certificate: Certificate,
}

impl std::fmt::Debug for UnitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnitKey")
            .field("certificate", &self.certificate.info)
            .finish_non_exhaustive()
    }
}

impl UnitKey {
    /// Parses key and certificate, each in PEM or DER. The first certificate of a PEM file is used. Its validity period is
    /// not checked.
    ///
    /// # Errors
    /// [`KeyError::Key`], [`KeyError::Certificate`], [`KeyError::Mismatch`] if they do not belong together.
    pub fn load(key: &[u8], certificate: &[u8]) -> Result<Self, KeyError> {
        let pair = read_key(key).ok_or(KeyError::Key)?;
        let der = ders_of_file(certificate)
            .and_then(|list| list.into_iter().next())
            .ok_or(KeyError::Certificate)?;
        let certificate = Certificate::from_der(&der).ok_or(KeyError::Certificate)?;
        let stated = certificate
            .rsa_key
            .as_deref()
            .ok_or(KeyError::Certificate)?;
        if stated != pair.public_key().as_ref() {
            return Err(KeyError::Mismatch);
        }
        Ok(Self { pair, certificate })
    }

    /// The public data of the certificate. Its common name is the host of the unit.
    pub fn certificate_info(&self) -> &CertificateInfo {
        &self.certificate.info
    }

    /// Whether the certificate is for this host.
    pub fn is_for_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.certificate
            .names
            .iter()
            .any(|name| host::covers(name, &host))
    }

    /// Whether the certificate is issued by its own subject.
    pub fn is_self_signed(&self) -> bool {
        self.certificate.subject_der == self.certificate.issuer_der
    }

    /// Whether the certificate is as its own key has signed it. One that another key has signed is not looked at.
    pub fn has_whole_certificate(&self) -> bool {
        !self.is_self_signed() || self.certificate.signed_by(&self.certificate) == SignedBy::Yes
    }

    /// A digest of the public key: 32 hexadecimal digits, the same for all certificates of the key.
    pub fn key_digest(&self) -> String {
        let digest = digest(&SHA256, self.pair.public_key().as_ref());
        hex::encode(digest.as_ref().get(..16).unwrap_or_default())
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate.der
    }

    /// Signs the SHA-256 digest of the message with RSA and PKCS#1 v1.5 padding.
    #[expect(
        clippy::disallowed_methods,
        reason = "the library asks for it; this padding uses no randomness"
    )]
    pub(crate) fn sign_sha256(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| KeyError::Signing)?;
        Ok(signature)
    }
}

fn read_key(bytes: &[u8]) -> Option<KeyPair> {
    if !contains(bytes, b"-----BEGIN ") {
        return KeyPair::from_pkcs8(bytes)
            .or_else(|_| KeyPair::from_der(bytes))
            .ok();
    }
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.ok()?;
        match block.label.as_str() {
            "RSA PRIVATE KEY" => return KeyPair::from_der(&block.contents).ok(),
            "PRIVATE KEY" => return KeyPair::from_pkcs8(&block.contents).ok(),
            _ => {}
        }
    }
    None
}
