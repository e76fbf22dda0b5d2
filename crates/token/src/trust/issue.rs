//! Keys, requests and certificates that an operator makes: for a unit, for the TLS server in front of it, and for an authority
//! of several units.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RsaKeySize, SanType, SerialNumber,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use super::certificate::{
    Certificate, CertificateInfo, SignedBy, ders_of_file, rfc2253, single_common_name,
};
use super::self_signed::{certificate_time, is_host_name};

/// The largest length of a common name in characters (RFC 5280, appendix A).
const MAX_COMMON_NAME_CHARS: usize = 64;

/// Why a key, request or certificate cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuanceError {
    /// The name does not fit the purpose.
    #[error("the name must be a host name, or for an authority a text of 1 to 64 characters")]
    Name,
    /// The end is not after the start, or out of the range of certificates.
    #[error("the validity period is not valid")]
    Validity,
    /// The key is not an unencrypted RSA private key in PEM.
    #[error("the file contains no unencrypted RSA private key in PEM")]
    Key,
    /// The request cannot be read.
    #[error("the file contains no certificate signing request in PEM with one common name")]
    Request,
    /// The request is not signed by its own key, or asks for an extension that is not supported.
    #[error(
        "the request is not signed by its own key, or asks for extensions that are not supported"
    )]
    RequestSignature,
    /// The certificate of the authority cannot be used.
    #[error("the certificate is not that of an authority that may issue others now")]
    Authority,
    /// The key does not belong to the certificate of the authority.
    #[error("the key does not belong to the certificate of the authority")]
    AuthorityKey,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// The size of an RSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaBits {
    /// 2048 bits.
    Bits2048,
    /// 3072 bits.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

/// The purpose of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificatePurpose {
    /// A unit signs its tokens with the key. The common name is the host name of the unit.
    Unit,
    /// A TLS server proves its name: the host name of the unit, and all names directly below it.
    Server,
    /// An authority issues certificates.
    Authority,
}

/// A certificate that is to be made.
#[derive(Debug, Clone)]
pub struct CertificateSpec {
    /// The purpose.
    pub purpose: CertificatePurpose,
    /// The common name: a host name, or for an authority any text of up to 64 characters.
    pub name: String,
    /// The organization in the subject.
    pub organization: Option<String>,
    /// When it becomes valid, in milliseconds since 1970; rounded down to seconds.
    pub not_before_ms: i64,
    /// When it expires.
    pub not_after_ms: i64,
    /// The serial number: random bytes.
    pub serial: [u8; 16],
}

impl CertificateSpec {
    /// Checks name and validity before anything is made.
    ///
    /// # Errors
    /// [`IssuanceError::Name`], [`IssuanceError::Validity`].
    pub fn check(&self) -> Result<(), IssuanceError> {
        params(self, subject(self)?).map(drop)
    }
}

/// Generates an RSA key; returns it as PKCS#8 in PEM. The randomness comes from the generator of the cryptographic library.
///
/// # Errors
/// [`IssuanceError::Library`].
pub fn generate_rsa_key(bits: RsaBits) -> Result<String, IssuanceError> {
    let size = match bits {
        RsaBits::Bits2048 => RsaKeySize::_2048,
        RsaBits::Bits3072 => RsaKeySize::_3072,
        RsaBits::Bits4096 => RsaKeySize::_4096,
    };
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
    Ok(key.map_err(|_| IssuanceError::Library)?.serialize_pem())
}

/// Returns a certificate signing request (PKCS#10) in PEM for a key. Purpose and validity are up to the issuer.
///
/// # Errors
/// [`IssuanceError::Key`], [`IssuanceError::Name`], [`IssuanceError::Library`].
pub fn certificate_request(key_pem: &str, spec: &CertificateSpec) -> Result<String, IssuanceError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(spec)?;
    params.subject_alt_names = alternative_names(spec.purpose, &spec.name)?;
    let request = params.serialize_request(&read_key(key_pem)?);
    let request = request.map_err(|_| IssuanceError::Library)?;
    request.pem().map_err(|_| IssuanceError::Library)
}

/// Returns the certificate, signed by its own key, in PEM.
///
/// # Errors
/// [`IssuanceError::Key`], [`IssuanceError::Name`], [`IssuanceError::Validity`], [`IssuanceError::Library`].
pub fn self_signed_certificate(
    key_pem: &str,
    spec: &CertificateSpec,
) -> Result<String, IssuanceError> {
    let mut params = params(spec, subject(spec)?)?;
    if spec.purpose == CertificatePurpose::Unit {
        // Others list it as a root.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }
    let certificate = params.self_signed(&read_key(key_pem)?);
    Ok(certificate.map_err(|_| IssuanceError::Library)?.pem())
}

/// An authority that issues certificates.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate.info)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the key and the certificate of an authority.
    ///
    /// # Errors
    /// [`IssuanceError::Key`], [`IssuanceError::AuthorityKey`] if they do not belong together, [`IssuanceError::Authority`] if the
    /// certificate is not that of an authority or not valid at `now_ms`.
    pub fn load(key_pem: &str, certificate: &[u8], now_ms: i64) -> Result<Self, IssuanceError> {
        let key = read_key(key_pem)?;
        let certificate = ders_of_file(certificate)
            .and_then(|ders| Certificate::from_der(ders.first()?))
            .ok_or(IssuanceError::Authority)?;
        if certificate.rsa_key.as_deref() != Some(key.public_key_raw()) {
            return Err(IssuanceError::AuthorityKey);
        }
        if !certificate.may_sign_certificates || !certificate.info.is_valid_at(now_ms) {
            return Err(IssuanceError::Authority);
        }
        Ok(Self { certificate, key })
    }

    /// The public data of its certificate.
    pub fn certificate_info(&self) -> &CertificateInfo {
        &self.certificate.info
    }

    /// Issues a certificate for the key of a request, with the subject of the request. The extensions that the request asks for
    /// are not used: the purpose decides. The name of `spec` must be the common name of the request. The certificate expires
    /// with the authority at the latest.
    ///
    /// # Errors
    /// [`IssuanceError::Request`], [`IssuanceError::RequestSignature`], [`IssuanceError::Name`], [`IssuanceError::Validity`],
    /// [`IssuanceError::Authority`] if the name of the authority cannot be written as it is.
    pub fn sign_request(
        &self,
        request_pem: &str,
        spec: &CertificateSpec,
    ) -> Result<String, IssuanceError> {
        if RequestedSubject::read(request_pem)?.common_name != spec.name {
            return Err(IssuanceError::Name);
        }
        let request = CertificateSigningRequestParams::from_pem(request_pem);
        let request = request.map_err(|_| IssuanceError::RequestSignature)?;
        let params = self.params(spec, request.params.distinguished_name.clone())?;
        let signed = CertificateSigningRequestParams {
            params,
            public_key: request.public_key,
        }
        .signed_by(&self.issuer()?);
        self.checked(signed.map_err(|_| IssuanceError::Library)?)
    }

    /// Issues a certificate for a key. It expires with the authority at the latest.
    ///
    /// # Errors
    /// [`IssuanceError::Key`], [`IssuanceError::Name`], [`IssuanceError::Validity`], [`IssuanceError::Authority`].
    pub fn sign_key(&self, key_pem: &str, spec: &CertificateSpec) -> Result<String, IssuanceError> {
        let params = self.params(spec, subject(spec)?)?;
        let signed = params.signed_by(&read_key(key_pem)?, &self.issuer()?);
        self.checked(signed.map_err(|_| IssuanceError::Library)?)
    }

    fn params(
        &self,
        spec: &CertificateSpec,
        subject: DistinguishedName,
    ) -> Result<CertificateParams, IssuanceError> {
        let limited = CertificateSpec {
            not_after_ms: spec.not_after_ms.min(self.certificate.info.not_after_ms),
            ..spec.clone()
        };
        let mut params = params(&limited, subject)?;
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, IssuanceError> {
        let der = self.certificate.der.clone().into();
        Issuer::from_ca_cert_der(&der, &self.key).map_err(|_| IssuanceError::Authority)
    }

    /// Returns the certificate if it names this authority byte for byte, as those who verify it require.
    fn checked(&self, issued: rcgen::Certificate) -> Result<String, IssuanceError> {
        let read = Certificate::from_der(issued.der()).ok_or(IssuanceError::Library)?;
        let is_ours = read.issuer_der == self.certificate.subject_der
            && read.signed_by(&self.certificate) == SignedBy::Yes;
        is_ours
            .then(|| issued.pem())
            .ok_or(IssuanceError::Authority)
    }
}

/// The subject of a certificate signing request. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedSubject {
    /// The whole name in the form of RFC 2253.
    pub subject: String,
    /// The common name.
    pub common_name: String,
}

impl RequestedSubject {
    /// Reads it from a request in PEM.
    ///
    /// # Errors
    /// [`IssuanceError::Request`], also if there is no common name or more than one.
    pub fn read(request_pem: &str) -> Result<Self, IssuanceError> {
        let block = Pem::iter_from_buffer(request_pem.as_bytes()).next();
        let block = block.and_then(Result::ok).ok_or(IssuanceError::Request)?;
        let (_, request) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|_| IssuanceError::Request)?;
        let subject = &request.certification_request_info.subject;
        Ok(Self {
            subject: rfc2253(subject),
            common_name: single_common_name(subject).ok_or(IssuanceError::Request)?,
        })
    }
}

fn read_key(pem: &str) -> Result<KeyPair, IssuanceError> {
    KeyPair::from_pem_and_sign_algo(pem, &PKCS_RSA_SHA256).map_err(|_| IssuanceError::Key)
}

fn subject(spec: &CertificateSpec) -> Result<DistinguishedName, IssuanceError> {
    let is_permitted = match spec.purpose {
        CertificatePurpose::Authority => {
            (1..=MAX_COMMON_NAME_CHARS).contains(&spec.name.chars().count())
                && !spec.name.chars().any(char::is_control)
        }
        CertificatePurpose::Unit | CertificatePurpose::Server => is_host_name(&spec.name),
    };
    if !is_permitted {
        return Err(IssuanceError::Name);
    }
    let mut name = DistinguishedName::new();
    if let Some(organization) = &spec.organization {
        name.push(DnType::OrganizationName, organization.clone());
    }
    name.push(DnType::CommonName, spec.name.clone());
    Ok(name)
}

fn alternative_names(
    purpose: CertificatePurpose,
    name: &str,
) -> Result<Vec<SanType>, IssuanceError> {
    let dns = |name: String| -> Result<SanType, IssuanceError> {
        let name = name.try_into().map_err(|_| IssuanceError::Name)?;
        Ok(SanType::DnsName(name))
    };
    match (purpose, name.parse()) {
        (CertificatePurpose::Authority, _) => Ok(Vec::new()),
        (_, Ok(address)) => Ok(vec![SanType::IpAddress(address)]),
        (CertificatePurpose::Unit, Err(_)) => Ok(vec![dns(name.to_owned())?]),
        (CertificatePurpose::Server, Err(_)) => {
            Ok(vec![dns(name.to_owned())?, dns(format!("*.{name}"))?])
        }
    }
}

fn params(
    spec: &CertificateSpec,
    subject: DistinguishedName,
) -> Result<CertificateParams, IssuanceError> {
    if spec.not_after_ms <= spec.not_before_ms {
        return Err(IssuanceError::Validity);
    }
    if spec.purpose != CertificatePurpose::Authority && !is_host_name(&spec.name) {
        return Err(IssuanceError::Name);
    }
    let mut params = CertificateParams::default();
    let at = |ms: i64| certificate_time(ms).ok_or(IssuanceError::Validity);
    params.not_before = at(spec.not_before_ms)?.to_datetime();
    params.not_after = at(spec.not_after_ms)?.to_datetime();
    params.distinguished_name = subject;
    params.subject_alt_names = alternative_names(spec.purpose, &spec.name)?;
    // A serial number is positive (RFC 5280, section 4.1.2.2).
    let mut serial = spec.serial;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    match spec.purpose {
        CertificatePurpose::Unit => params.is_ca = IsCa::ExplicitNoCa,
        CertificatePurpose::Server => {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }
        CertificatePurpose::Authority => {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
    }
    Ok(params)
}
