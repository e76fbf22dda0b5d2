//! The certificate of the TLS port, which may be replaced while the unit runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use personium_token::trust::CertificateDetails;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::challenges::{ACME_ALPN, Challenges};
use crate::config::Config;

/// The largest size of a file with a key or certificates.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The protocols over TLS (RFC 7301), in the order of preference.
const PROTOCOLS: [&[u8]; 3] = [HTTP2_ALPN, b"http/1.1", ACME_ALPN];

/// The protocol name of HTTP/2 (RFC 9113, section 3.2).
pub(crate) const HTTP2_ALPN: &[u8] = b"h2";

/// A certificate with its key and the certificates of intermediate authorities.
#[derive(Debug, Clone)]
pub(crate) struct ServerCertificate {
    key: Arc<CertifiedKey>,
    /// The certificate as an operator sees it.
    pub(crate) details: Arc<CertificateDetails>,
}

impl ServerCertificate {
    /// Reads a certificate and its key in PEM. `subject` names their source in errors.
    ///
    /// # Errors
    /// [`TlsError::Content`] if they cannot be read, or do not belong together.
    pub(crate) fn read(certificates: &[u8], key: &[u8], subject: &str) -> Result<Self, TlsError> {
        let failed = |reason: String| TlsError::Content {
            subject: subject.to_owned(),
            reason,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|error| failed(format!("no certificates in PEM: {error}")))?;
        let first = chain
            .first()
            .ok_or_else(|| failed("it contains no certificate in PEM".to_owned()))?;
        let details = CertificateDetails::from_der(first)
            .ok_or_else(|| failed("the first certificate cannot be read".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| failed(format!("no unencrypted private key in PEM: {error}")))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| failed(format!("key and certificate cannot be used: {error}")))?;
        Ok(Self {
            key: Arc::new(key),
            details: Arc::new(details),
        })
    }

    /// Reads the files that the settings name; `None` if they name none.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn of_settings(config: &Config) -> Result<Option<Self>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
            return Ok(None);
        };
        let subject = format!("{} and {}", certificate.display(), key.display());
        Self::read(&read_file(certificate)?, &read_file(key)?, &subject).map(Some)
    }

    /// Whether it is for this name, which may begin with `*.`.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let mut names = self.details.alternative_names.iter();
        names.any(|own| {
            let is_wildcard = own.strip_prefix("*.").is_some_and(|below| {
                parent.is_some_and(|parent| parent.eq_ignore_ascii_case(below))
            });
            own.eq_ignore_ascii_case(name) || is_wildcard
        })
    }
}

/// Reads a file of at most 4 MiB.
///
/// # Errors
/// [`TlsError::File`].
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        if fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        fs::read(path)
    };
    read().map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

/// The certificate in use. Connections that are made later have the one that replaces it.
#[derive(Debug)]
pub(crate) struct ServerCertificates {
    current: RwLock<Option<ServerCertificate>>,
    challenges: Arc<Challenges>,
}

impl ServerCertificates {
    /// No certificate yet: handshakes are refused.
    pub(super) fn new(challenges: Arc<Challenges>) -> Self {
        Self {
            current: RwLock::new(None),
            challenges,
        }
    }

    /// The certificate in use, if there is one.
    pub(crate) fn current(&self) -> Option<ServerCertificate> {
        self.current.read().clone()
    }

    /// Puts a certificate in force.
    pub(crate) fn replace(&self, certificate: ServerCertificate) {
        *self.current.write() = Some(certificate);
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = hello
            .alpn()
            .is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_ALPN));
        if is_challenge {
            return self.challenges.certificate(hello.server_name()?);
        }
        self.current
            .read()
            .as_ref()
            .map(|found| Arc::clone(&found.key))
    }
}

/// The TLS of a server with these certificates: TLS 1.2 and 1.3.
///
/// # Errors
/// [`TlsError::Content`] if the library has no cipher suites, which does not happen.
pub(super) fn server_config(
    certificates: &Arc<ServerCertificates>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Content {
            subject: "TLS".to_owned(),
            reason: error.to_string(),
        })?;
    let resolver = Arc::clone(certificates);
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
