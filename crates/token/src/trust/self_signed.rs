//! A key and certificate for a unit that has none.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    SanType,
};
use x509_parser::time::ASN1Time;

use super::host;

/// Why no certificate was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Not a host name.
    #[error("the common name is not a host name")]
    Name,
    /// The end is not after the start, or outside of what certificates can state.
    #[error("the certificate would never be valid")]
    Validity,
    /// The cryptographic library failed.
    #[error("cannot make a key and certificate")]
    Library,
}

/// A new key with its certificate, both PEM.
pub struct SelfSigned {
    /// Private key, PKCS#8 (`BEGIN PRIVATE KEY`). A secret.
    pub key_pem: String,
    /// Certificate.
    pub certificate_pem: String,
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned")
            .field("key_pem", &"***")
            .field("certificate_pem", &self.certificate_pem)
            .finish()
    }
}

/// Makes an RSA-2048 key and a self-signed certificate authority certificate for `host`, which
/// becomes common name and alternative DNS name. Times in epoch milliseconds, cut to seconds.
/// The key comes from the cryptographic library's own generator.
pub fn generate_self_signed(
    host: &str,
    not_before: i64,
    not_after: i64,
) -> Result<SelfSigned, GenerateError> {
    if host::of_url(&format!("https://{host}/")).as_deref()
        != Some(host.to_ascii_lowercase().as_str())
    {
        return Err(GenerateError::Name);
    }
    if not_after <= not_before {
        return Err(GenerateError::Validity);
    }
    let at = |millis: i64| {
        ASN1Time::from_timestamp(millis.div_euclid(1000))
            .map(|time| time.to_datetime())
            .ok()
            .filter(|time| (1950..=9999).contains(&time.year()))
            .ok_or(GenerateError::Validity)
    };
    let mut params = CertificateParams::default();
    params.not_before = at(not_before)?;
    params.not_after = at(not_after)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, host.to_owned());
    params.subject_alt_names = match host.parse() {
        Ok(address) => vec![SanType::IpAddress(address)],
        Err(_) => vec![SanType::DnsName(
            host.to_owned()
                .try_into()
                .map_err(|_| GenerateError::Name)?,
        )],
    };
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
    ];
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|_| GenerateError::Library)?;
    let certificate = params
        .self_signed(&key)
        .map_err(|_| GenerateError::Library)?;
    Ok(SelfSigned {
        key_pem: key.serialize_pem(),
        certificate_pem: certificate.pem(),
    })
}
