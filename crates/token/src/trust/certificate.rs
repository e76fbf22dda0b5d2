//! The used parts of an X.509 certificate (RFC 5280).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use personium_types::hex;

/// The maximum length of a certificate in DER in bytes.
const MAX_DER_BYTES: usize = 64 * 1024;
/// The maximum number of host names of a certificate. Further names are ignored.
const MAX_NAMES: usize = 256;

const OID_RSA: &str = "1.2.840.113549.1.1.1";
const OID_EC: &str = "1.2.840.10045.2.1";
const OID_SHA256_RSA: &str = "1.2.840.113549.1.1.11";
const OID_SHA384_RSA: &str = "1.2.840.113549.1.1.12";
const OID_SHA512_RSA: &str = "1.2.840.113549.1.1.13";
const OID_ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const OID_ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

/// The public data of a certificate. Both ends of the validity period are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The subject name in the form of RFC 2253: `CN=unit.example,O=Example`.
    pub subject: String,
    /// The issuer name in the same form.
    pub issuer: String,
    /// The common name of the subject, if there is exactly one.
    pub common_name: Option<String>,
    /// The start of validity in milliseconds since 1970-01-01 UTC.
    pub not_before_ms: i64,
    /// The end of validity in milliseconds since 1970-01-01 UTC.
    pub not_after_ms: i64,
    /// Whether the basic constraints state a certificate authority.
    pub is_authority: bool,
}

impl CertificateInfo {
    /// Whether `now_ms` is in the validity period.
    pub fn is_valid_at(&self, now_ms: i64) -> bool {
        self.not_before_ms <= now_ms && now_ms <= self.not_after_ms
    }
}

/// A parsed certificate. Nothing of it is verified.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    pub(super) info: CertificateInfo,
    /// The common name and the alternative DNS names.
    pub(super) names: Vec<String>,
    pub(super) subject_der: Vec<u8>,
    pub(super) issuer_der: Vec<u8>,
    /// The public key in PKCS#1; `None` if it is not an RSA key.
    pub(super) rsa_key: Option<Vec<u8>>,
    /// Whether the key usage is absent or contains digitalSignature.
    pub(super) may_sign_messages: bool,
    /// Whether it is a CA certificate, and the key usage is absent or contains keyCertSign.
    pub(super) may_sign_certificates: bool,
    pub(super) has_name_constraints: bool,
    pub(super) has_unknown_critical: bool,
    key: PublicKey,
    signed: SignedPart,
}

/// The public key with the type of its algorithm identifier.
#[derive(Debug)]
enum PublicKey {
    Rsa(Vec<u8>),
    Ec(Vec<u8>),
    Other,
}

/// The signed part, its signature, and the object identifier of the signature algorithm.
#[derive(Debug)]
struct SignedPart {
    body: Vec<u8>,
    signature: Vec<u8>,
    algorithm: String,
}

/// The result of a signature verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignedBy {
    Yes,
    No,
}

impl Certificate {
    /// Parses DER. Returns `None` if it is not exactly one certificate.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        if der.len() > MAX_DER_BYTES {
            return None;
        }
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        // RFC 5280, section 4.1.1.2: both algorithm identifiers must be equal.
        if !rest.is_empty() || parsed.signature_algorithm != parsed.tbs_certificate.signature {
            return None;
        }
        let common_name = single_common_name(parsed.subject());
        let is_authority = parsed
            .basic_constraints()
            .ok()?
            .is_some_and(|constraints| constraints.value.ca);
        let usage = parsed.key_usage().ok()?;
        let key = key_of(parsed.public_key());
        let names = host_names(&parsed, common_name.as_deref())?;
        Some(Self {
            info: CertificateInfo {
                subject: rfc2253(parsed.subject()),
                issuer: rfc2253(parsed.issuer()),
                common_name,
                not_before_ms: milliseconds(parsed.validity().not_before),
                // The certificate is valid until the end of its last second.
                not_after_ms: milliseconds(parsed.validity().not_after).saturating_add(999),
                is_authority,
            },
            names,
            subject_der: parsed.subject().as_raw().to_vec(),
            issuer_der: parsed.issuer().as_raw().to_vec(),
            rsa_key: match &key {
                PublicKey::Rsa(bytes) => Some(bytes.clone()),
                PublicKey::Ec(_) | PublicKey::Other => None,
            },
            may_sign_messages: usage
                .as_ref()
                .is_none_or(|usage| usage.value.digital_signature()),
            may_sign_certificates: is_authority
                && usage
                    .as_ref()
                    .is_none_or(|usage| usage.value.key_cert_sign()),
            has_name_constraints: parsed.name_constraints().ok()?.is_some(),
            has_unknown_critical: parsed.extensions().iter().any(is_unknown_critical),
            key,
            signed: SignedPart {
                body: parsed.tbs_certificate.as_ref().to_vec(),
                signature: parsed.signature_value.data.to_vec(),
                algorithm: parsed.signature_algorithm.algorithm.to_id_string(),
            },
            der: der.to_vec(),
        })
    }

    /// Verifies the signature of this certificate with the key of `root`. SHA-1 and older digests are refused.
    pub(super) fn signed_by(&self, root: &Self) -> SignedBy {
        let algorithm: &'static dyn VerificationAlgorithm =
            match (&root.key, self.signed.algorithm.as_str()) {
                (PublicKey::Rsa(_), OID_SHA256_RSA) => &RSA_PKCS1_2048_8192_SHA256,
                (PublicKey::Rsa(_), OID_SHA384_RSA) => &RSA_PKCS1_2048_8192_SHA384,
                (PublicKey::Rsa(_), OID_SHA512_RSA) => &RSA_PKCS1_2048_8192_SHA512,
                (PublicKey::Ec(_), OID_ECDSA_SHA256) => &ECDSA_P256_SHA256_ASN1,
                (PublicKey::Ec(_), OID_ECDSA_SHA384) => &ECDSA_P384_SHA384_ASN1,
                _ => return SignedBy::No,
            };
        let (PublicKey::Rsa(key) | PublicKey::Ec(key)) = &root.key else {
            return SignedBy::No;
        };
        match UnparsedPublicKey::new(algorithm, key)
            .verify(&self.signed.body, &self.signed.signature)
        {
            Ok(()) => SignedBy::Yes,
            Err(_) => SignedBy::No,
        }
    }
}

fn key_of(info: &SubjectPublicKeyInfo<'_>) -> PublicKey {
    let bytes = info.subject_public_key.data.to_vec();
    match info.algorithm.algorithm.to_id_string().as_str() {
        OID_RSA => PublicKey::Rsa(bytes),
        OID_EC => PublicKey::Ec(bytes),
        _ => PublicKey::Other,
    }
}

fn milliseconds(time: ASN1Time) -> i64 {
    time.timestamp().saturating_mul(1000)
}

/// Returns the common name and the alternative DNS names, or `None` if the extension is malformed.
fn host_names(parsed: &X509Certificate<'_>, common_name: Option<&str>) -> Option<Vec<String>> {
    let mut names: Vec<String> = common_name.map(str::to_owned).into_iter().collect();
    if let Some(alternatives) = parsed.subject_alternative_name().ok()? {
        let hosts = alternatives.value.general_names.iter();
        let hosts = hosts.filter_map(|name| match name {
            GeneralName::DNSName(host) => Some((*host).to_owned()),
            _ => None,
        });
        names.extend(hosts.take(MAX_NAMES));
    }
    Some(names)
}

fn is_unknown_critical(extension: &X509Extension<'_>) -> bool {
    extension.critical
        && !matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
        )
}

pub(super) fn single_common_name(name: &X509Name<'_>) -> Option<String> {
    let mut found = name.iter_common_name();
    let first = found.next()?.as_str().ok()?;
    match found.next() {
        None => Some(first.to_owned()),
        Some(_) => None,
    }
}

/// Returns the certificates in a file: all of a PEM file, or the one of a DER file.
pub(super) fn ders_of_file(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !contains(bytes, b"-----BEGIN ") {
        return Some(vec![bytes.to_vec()]);
    }
    let mut ders = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.ok()?;
        if block.label == "CERTIFICATE" || block.label == "X509 CERTIFICATE" {
            ders.push(block.contents);
        }
    }
    Some(ders)
}

pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Formats a distinguished name as a string (RFC 2253).
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            rdn.iter()
                .map(|attribute| {
                    let oid = attribute.attr_type().to_id_string();
                    match (short_name(&oid), attribute.as_str()) {
                        (Some(short), Ok(value)) => format!("{short}={}", escaped(value)),
                        _ => format!("{oid}=#{}", hex::encode(&der_of(attribute.attr_value()))),
                    }
                })
                .collect::<Vec<_>>()
                .join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// The short names of attribute types (RFC 2253, section 2.3).
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    })
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (at == 0 && c == '#')
            || ((at == 0 || at == last) && c == ' ');
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Encodes a value as DER.
fn der_of(value: &x509_parser::der_parser::asn1_rs::Any<'_>) -> Vec<u8> {
    use x509_parser::der_parser::asn1_rs::ToDer;
    value.to_der_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn special_characters_in_names_are_escaped() {
        assert_eq!(escaped("unit.example"), "unit.example");
        assert_eq!(escaped("a,b+c"), "a\\,b\\+c");
        assert_eq!(escaped("#1 "), "\\#1\\ ");
        assert_eq!(escaped(" a b "), "\\ a b\\ ");
    }
}
