//! A generated key and certificate for a unit without configured ones.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    SanType,
};
use x509_parser::time::ASN1Time;

use super::host;

/// An error while a certificate is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The name is not a host name.
    #[error("the common name is not a host name")]
    Name,
    /// The end is not after the start, or out of the range of certificates.
    #[error("the validity period is not valid")]
    Validity,
    /// The cryptographic library failed.
    #[error("cannot generate a key and certificate")]
    Library,
}

/// A generated key with its certificate in PEM.
pub struct SelfSigned {
    /// The private key in PKCS#8 (`BEGIN PRIVATE KEY`). It is a secret.
    pub key_pem: String,
    /// The certificate.
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

/// Generates an RSA-2048 key and a self-signed CA certificate. Its common name and its alternative name are `host`.
///
/// The times are rounded down to seconds. The randomness comes from the generator of the cryptographic library.
///
/// # Errors
/// [`GenerateError::Name`], [`GenerateError::Validity`], [`GenerateError::Library`].
pub fn generate_self_signed(
    host: &str,
    not_before_ms: i64,
    not_after_ms: i64,
) -> Result<SelfSigned, GenerateError> {
    let params = certificate_params(host, not_before_ms, not_after_ms)?;
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|_| GenerateError::Library)?;
    let certificate = params
        .self_signed(&key)
        .map_err(|_| GenerateError::Library)?;
    Ok(SelfSigned {
        key_pem: key.serialize_pem(),
        certificate_pem: certificate.pem(),
    })
}

/// Issues another self-signed CA certificate for an RSA key in PEM. Returns it in PEM.
///
/// # Errors
/// As [`generate_self_signed`]; [`GenerateError::Library`] also if the key cannot be read.
pub fn reissue_self_signed(
    key_pem: &str,
    host: &str,
    not_before_ms: i64,
    not_after_ms: i64,
) -> Result<String, GenerateError> {
    let params = certificate_params(host, not_before_ms, not_after_ms)?;
    let key = KeyPair::from_pem_and_sign_algo(key_pem, &PKCS_RSA_SHA256)
        .map_err(|_| GenerateError::Library)?;
    let certificate = params
        .self_signed(&key)
        .map_err(|_| GenerateError::Library)?;
    Ok(certificate.pem())
}

/// Whether a text is a plain host name or address.
pub(super) fn is_host_name(text: &str) -> bool {
    host::of_url(&format!("https://{text}/")).as_deref() == Some(text.to_ascii_lowercase().as_str())
}

/// A time in milliseconds since 1970 as that of a certificate; `None` if certificates cannot have it.
pub(super) fn certificate_time(ms: i64) -> Option<ASN1Time> {
    ASN1Time::from_timestamp(ms.div_euclid(1000))
        .ok()
        .filter(|time| (1950..=9999).contains(&time.to_datetime().year()))
}

fn certificate_params(
    host: &str,
    not_before_ms: i64,
    not_after_ms: i64,
) -> Result<CertificateParams, GenerateError> {
    if !is_host_name(host) {
        return Err(GenerateError::Name);
    }
    if not_after_ms <= not_before_ms {
        return Err(GenerateError::Validity);
    }
    let at = |ms: i64| certificate_time(ms).ok_or(GenerateError::Validity);
    let mut params = CertificateParams::default();
    params.not_before = at(not_before_ms)?.to_datetime();
    params.not_after = at(not_after_ms)?.to_datetime();
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
    Ok(params)
}
