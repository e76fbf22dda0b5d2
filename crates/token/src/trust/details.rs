//! The parts of a certificate that an operator wants to see.

use aws_lc_rs::digest;
use personium_types::hex;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as ParsedKey;

use super::certificate::{Certificate, CertificateInfo, ders_of_file};

/// The largest number of alternative names that are read.
const MAX_NAMES: usize = 256;

/// A certificate as an operator sees it. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDetails {
    /// Names and validity.
    pub info: CertificateInfo,
    /// The organization in the subject, if there is exactly one.
    pub organization: Option<String>,
    /// The alternative names: host names, and addresses as text.
    pub alternative_names: Vec<String>,
    /// The kind and size of the key: `RSA 2048`, `EC 256`.
    pub key: String,
    /// The SHA-256 digest of the certificate in hex digits.
    pub sha256: String,
    /// Whether the extended key usage is that of a TLS server.
    pub is_for_servers: bool,
    /// Whether the issuer is the subject.
    pub is_self_issued: bool,
}

impl CertificateDetails {
    /// Reads a certificate in DER; `None` if it is not exactly one.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der)?;
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let alternatives = parsed.subject_alternative_name().ok()?;
        let alternatives = alternatives.map(|found| &found.value.general_names);
        let names = alternatives
            .into_iter()
            .flatten()
            .filter_map(|name| match name {
                GeneralName::DNSName(host) => Some((*host).to_owned()),
                GeneralName::IPAddress(bytes) => address_text(bytes),
                _ => None,
            });
        let mut organizations = parsed.subject().iter_organization();
        let organization = match (organizations.next(), organizations.next()) {
            (Some(only), None) => only.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let usage = parsed.extended_key_usage().ok()?;
        Some(Self {
            alternative_names: names.take(MAX_NAMES).collect(),
            organization,
            key: key_text(&parsed),
            sha256: hex::encode(digest::digest(&digest::SHA256, der).as_ref()),
            is_for_servers: usage.is_some_and(|usage| usage.value.server_auth),
            is_self_issued: certificate.subject_der == certificate.issuer_der,
            info: certificate.info,
        })
    }

    /// Reads a file: PEM with one or more certificates, or one in DER. `None` if one of them cannot be read.
    pub fn list_of_file(bytes: &[u8]) -> Option<Vec<Self>> {
        let ders = ders_of_file(bytes).filter(|ders| !ders.is_empty())?;
        ders.iter().map(|der| Self::from_der(der)).collect()
    }
}

fn key_text(parsed: &X509Certificate<'_>) -> String {
    match parsed.public_key().parsed() {
        Ok(ParsedKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(ParsedKey::EC(key)) => format!("EC {}", key.key_size()),
        Ok(_) | Err(_) => "other".to_owned(),
    }
}

fn address_text(bytes: &[u8]) -> Option<String> {
    let four: Result<[u8; 4], _> = bytes.try_into();
    let sixteen: Result<[u8; 16], _> = bytes.try_into();
    four.map(|bytes| std::net::Ipv4Addr::from(bytes).to_string())
        .or_else(|_| sixteen.map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()))
        .ok()
}
