//! The certificate that answers a challenge of an authority (RFC 8737).

use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::issue::IssuanceError;

/// A certificate in DER with its key.
pub struct ChallengeCertificate {
    /// The certificate.
    pub certificate_der: Vec<u8>,
    /// The private key in PKCS#8.
    pub key_der: Vec<u8>,
}

impl ChallengeCertificate {
    /// Makes the certificate that proves control over `name` (RFC 8737, section 3). `digest` is the SHA-256 digest of the key
    /// authorization.
    ///
    /// # Errors
    /// [`IssuanceError::Name`] if the name is no host name, [`IssuanceError::Library`].
    pub fn new(name: &str, digest: &[u8; 32]) -> Result<Self, IssuanceError> {
        let params = CertificateParams::new(vec![name.to_owned()]);
        let mut params = params.map_err(|_| IssuanceError::Name)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate().map_err(|_| IssuanceError::Library)?;
        let certificate = params.self_signed(&key);
        let certificate = certificate.map_err(|_| IssuanceError::Library)?;
        Ok(Self {
            certificate_der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        })
    }
}
