//! The key pair a unit signs its trans-cell tokens with.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use x509_parser::pem::Pem;

use super::certificate::{Certificate, CertificateInfo, contains, ders_of_file};

/// A unit key or certificate that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an unencrypted RSA private key (PKCS#1 or PKCS#8, PEM or DER) of 2048 bits or more.
    #[error("the key file holds no usable RSA private key")]
    Key,
    /// Not an X.509 certificate with an RSA key.
    #[error("the certificate file holds no usable certificate")]
    Certificate,
    /// The certificate is for another key.
    #[error("the certificate does not belong to the key")]
    Mismatch,
    /// The cryptographic library refused to sign.
    #[error("cannot sign")]
    Signing,
}

/// The unit's private key and its certificate. Debug output shows the certificate's facts only.
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
    /// Reads both files, each PEM or DER, and checks that they belong together. Of several
    /// certificates in a PEM file the first counts. Validity in time is not looked at.
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

    /// Public facts of the certificate; its common name is the unit's host.
    pub fn certificate_info(&self) -> &CertificateInfo {
        &self.certificate.info
    }

    /// The certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate.der
    }

    /// RSA signature with PKCS#1 v1.5 padding over SHA-256 of the message.
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
